package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
)

func TestUpUntilInterrupted(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"up", "-json"}, anywhere()...)...)
	r := up(t, cmd, tmp)
	if n := len(r.uservice3(t).Spans); n != 7 {
		t.Errorf("%d spans", n)
	}
	if res := get(t, r.urls.Explorer+"/", ""); res.StatusCode != 200 {
		t.Errorf("explorer: %s", res.Status)
	}
	if res := get(t, r.urls.Tempo+"/ready", ""); res.StatusCode != 200 {
		t.Errorf("tempo: %s", res.Status)
	}
	if !strings.Contains(r.stderr.String(), "uservice3 | {") {
		t.Errorf("logs: %s", r.stderr)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	r.wait(t)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
}

func TestServiceThatDiesMakesTheExitCodeOne(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"-json"}, anywhere()...)...)
	r := up(t, cmd, tmp)
	for _, s := range r.uservice3(t).Spans {
		if pid, ok := s.Resource["process.pid"].(int64); ok && s.Service == "uservice4" {
			p, err := os.FindProcess(int(pid))
			if err == nil {
				err = p.Kill()
			}
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	waitFor(t, "word of it", func() bool { return strings.Contains(r.stderr.String(), "uservice4 ended by itself (signal: killed)") })
	if res := get(t, r.urls.Gateway+"/", "uservice3.localhost"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("uservice3 answers %s", res.Status)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	r.wait(t)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
}

func TestDeathOfTheParentStopsEverything(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			child, tmp := demo(t, append([]string{"up", "-json"}, anywhere()...)...)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			parent := exec.Command(self, child.Args...)
			parent.Env = append(child.Env, "DEMO_TEST_PARENT=1")
			r := up(t, parent, tmp)
			r.uservice3(t)
			_ = parent.Process.Signal(sig)
			r.wait(t)
			_ = parent.Wait()
			if !strings.Contains(r.stderr.String(), `"msg":"stopped"`) {
				t.Errorf("the services did not stop in order: %s", r.stderr)
			}
			gone(t, tmp)
		})
	}
}

// entry calls uservice3 and waits for its three hops in the ledger.
func (r *running) entry(t *testing.T) (id string, answer ledger.Answer) {
	t.Helper()
	id = traceID(t, get(t, r.urls.Gateway+"/", "uservice3.localhost"))
	waitFor(t, "entry in the ledger", func() bool {
		res, err := localClient.Get(r.urls.Explorer + "/api/ledger?trace=" + id)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&answer) == nil && len(answer.Requests) == 1 && len(answer.Requests[0].Hops) == 3
	})
	return id, answer
}

func TestOneVariableMakesTheDemoSpeakBothHeaders(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"up", "-json"}, anywhere()...)...)
	cmd.Env = append(cmd.Env, "OTEL_PROPAGATORS=tracecontext,jaeger")
	r := up(t, cmd, tmp)
	_, answer := r.entry(t)
	for _, h := range answer.Requests[0].Hops[1:] {
		headers := h.Arrived.Headers
		if len(headers) != 2 || headers[0].Name != header.UberTraceID || headers[1].Name != header.TraceParent || headers[0].SpanID != headers[1].SpanID {
			t.Errorf("%s -> %s: %+v", h.From, h.To, headers)
		}
		if want := h.To + " continued the trace: it made the span in uber-trace-id and traceparent the parent of its own."; h.Says != want {
			t.Errorf("says %q, want %q", h.Says, want)
		}
	}
	if n := len(r.uservice3(t).Spans); n != 7 {
		t.Errorf("%d spans", n)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	r.wait(t)
	_ = cmd.Wait()
	gone(t, tmp)
}

func TestUpWithAFaultAndItsLogAsALedger(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"up", "-json", "-break=other-format"}, anywhere()...)...)
	cmd.Env = append(cmd.Env, "OTEL_PROPAGATORS=tracecontext,jaeger") // a fault is one in any format
	r := up(t, cmd, tmp)
	id, answer := r.entry(t)
	if hop := answer.Requests[0].Hops[2]; hop.To != "uservice4" || hop.Action != ledger.IgnoredFormat {
		t.Errorf("%+v", hop)
	}
	faults := func() string {
		res, err := localClient.Get(r.urls.Explorer + "/api/faults")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	if got := faults(); !strings.Contains(got, `"active":"other-format"`) {
		t.Error(got)
	}
	res, err := localClient.Post(r.urls.Explorer+"/api/faults", "application/json", strings.NewReader(`{"name":""}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := faults(); res.StatusCode != 200 || !strings.Contains(got, `"active":""`) {
		t.Errorf("mended: %s %s", res.Status, got)
	}
	if n := len(r.uservice3(t).Spans); n != 7 {
		t.Errorf("%d spans when it is mended", n)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	r.wait(t)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
	if !strings.Contains(r.stderr.String(), "broken on purpose (other-format): uservice4 speaks another propagation format.") {
		t.Errorf("what is broken is not told: %s", r.stderr)
	}

	// The run's own log, read as one of compose would be, tells the same.
	var stdout, stderr bytes.Buffer
	code := runHere(t.Context(), strings.NewReader(r.stderr.String()), &stdout, &stderr, "ledger", "-json", "-trace", strings.TrimLeft(id, "0"))
	var fromLog ledger.Answer
	if code != 0 || json.Unmarshal(stdout.Bytes(), &fromLog) != nil || len(fromLog.Requests) != 1 {
		t.Fatalf("%d: %s%s", code, &stdout, &stderr)
	}
	if a, b := outline(fromLog.Requests[0]), outline(answer.Requests[0]); a != b {
		t.Errorf("from the log\n%s\nfrom the running demo\n%s", a, b)
	}
}

func TestUpWithASecretFaultDoesNotNameIt(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"up", "-json", "-break=random:7"}, anywhere()...)...)
	r := up(t, cmd, tmp)
	waitFor(t, "word of it", func() bool { return strings.Contains(r.stderr.String(), "-break random:7") })
	if !strings.Contains(r.stderr.String(), r.urls.Explorer) {
		t.Errorf("where to find it is not told: %s", r.stderr)
	}
	id := traceID(t, get(t, r.urls.Gateway+"/", "uservice3.localhost"))
	waitFor(t, "log lines of the call", func() bool { return strings.Count(r.stderr.String(), id) > 1 })
	told := r.stderr.String()
	for _, f := range lab.Faults() {
		for _, text := range append(f.Hints, f.Name, f.Title) {
			if strings.Contains(told, text) {
				t.Errorf("the terminal says %q:\n%s", text, told)
			}
		}
	}
	for _, body := range []string{`{"do":"give-up"}`, `{"do":"begin"}`} {
		res, err := localClient.Post(r.urls.Explorer+"/api/riddle", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	_ = cmd.Process.Signal(os.Interrupt)
	r.wait(t)
	if err := cmd.Wait(); err != nil || !strings.Contains(r.stderr.String(), "Faults: 0 of 1 found.") {
		t.Errorf("%v\n%s", err, r.stderr)
	}
	gone(t, tmp)
}

func TestBreakTakesAFaultOrASeed(t *testing.T) {
	for value, want := range map[string]string{
		"drop-header": "", "random": "", "random:7": "", "random:": "want a whole number from 1", "random:x": "want a whole number from 1",
		"random:0": "want a whole number from 1", "drop-header:7": "want drop-header,", "": "want drop-header,",
	} {
		if _, _, err := parseBreak(value); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// outline writes what a request's hops say.
func outline(r ledger.Request) string {
	text := string(r.Outcome) + " " + r.Summary
	for _, h := range r.Hops {
		text += fmt.Sprintf("\n%s -> %s: %s %s", h.From, h.To, h.Action, h.Says)
		for _, side := range []ledger.Side{h.Left, h.Arrived} {
			for _, header := range side.Headers {
				text += " " + string(side.Source) + " " + header.Value
			}
		}
	}
	return text
}

func TestTakenAddressThatWasAskedForIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd, tmp := demo(t, append(append([]string{"up"}, anywhere()...), "-uservice2-addr="+l.Addr().String())...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "uservice2 cannot listen on "+l.Addr().String()+": it is taken") {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "building") {
		t.Errorf("it built first: %s", out)
	}
	gone(t, tmp)
}

func TestMessagesNameEveryAddress(t *testing.T) {
	urls := discover.URLs{
		Gateway: "http://127.0.0.1:8000", Explorer: "http://127.0.0.1:3000", Tempo: "http://127.0.0.1:3200", OTLPGRPC: "127.0.0.1:4317",
		OTLPHTTP: "http://127.0.0.1:4318", Services: map[string]string{"uservice1": "http://127.0.0.1:8081", "uservice3": "http://127.0.0.1:8083"},
	}
	texts := map[bool]string{}
	for _, broken := range []bool{false, true} {
		var b strings.Builder
		if err := printReady(&b, urls, broken); err != nil {
			t.Fatal(err)
		}
		texts[broken] = b.String()
		for _, promise := range []string{"it says why", `"Break something"`} {
			if strings.Contains(b.String(), promise) == broken {
				t.Errorf("broken: %t, and %q is said or not:\n%s", broken, promise, b.String())
			}
		}
	}
	text := texts[false]
	for _, want := range []string{
		"http://uservice3.localhost:8000/", "http://127.0.0.1:8083", "http://127.0.0.1:3000", "http://127.0.0.1:3200", "127.0.0.1:4317", "127.0.0.1:4318",
		"curl -i -H 'Host: uservice3.localhost' http://127.0.0.1:8000/",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
