package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// TestUpFromItsBuildToItsEnd is the one that builds: a run that does so announces itself to the doctor.
func TestUpFromItsBuildToItsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the services")
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	t.Setenv("ADDR", "nonsense") // of somebody's shell
	before := bin
	bin = ""
	r := up(t)
	bin = before
	if n := len(r.uservice3(t).Spans); n != 7 {
		t.Errorf("%d spans", n)
	}
	for _, url := range []string{r.urls.Explorer + "/", r.urls.Tempo + "/ready"} {
		if res := get(t, url, ""); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", url, res.Status)
		}
	}
	if !strings.Contains(r.stderr.String(), "uservice3 | {") {
		t.Errorf("logs: %s", &r.stderr)
	}
	var report, stderr bytes.Buffer
	if code := runHere(t.Context(), nil, &report, &stderr, "doctor", "-gateway="+r.urls.Gateway); code != 0 || !strings.Contains(report.String(), "\nNothing is broken") {
		t.Errorf("the doctor's exit code is %d: %s%s", code, &report, &stderr)
	}
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, &r.stderr)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	gone(t, tmp)
}

func TestServiceThatDiesMakesTheExitCodeOne(t *testing.T) {
	programs(t)
	r := up(t)
	for _, s := range r.uservice3(t).Spans {
		if pid, ok := s.Resource["process.pid"].(int64); ok && s.Service == "uservice4" {
			if p, err := os.FindProcess(int(pid)); err == nil {
				_ = p.Kill()
			}
		}
	}
	waitFor(t, "word of it", func() bool { return strings.Contains(r.stderr.String(), "uservice4 ended by itself: signal: killed") })
	if res := get(t, r.urls.Gateway+"/", "uservice3.localhost"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("uservice3 answers %s", res.Status)
	}
	if code := r.stop(); code != 1 {
		t.Errorf("exit code %d\n%s", code, &r.stderr)
	}
}

func TestDeathOfTheParentStopsEverything(t *testing.T) {
	bin := programs(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			parent, stdout, stderr := child(t, "parent", anywhere()...)
			if err := json.NewDecoder(stdout).Decode(&discover.URLs{}); err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}
			_ = parent.Process.Signal(sig)
			_, _ = io.Copy(io.Discard, stdout) // until all who could write have ended
			_ = parent.Wait()
			if !strings.Contains(stderr.String(), `"msg":"stopped"`) {
				t.Errorf("the services did not stop in order: %s", stderr)
			}
			gone(t, bin)
		})
	}
}

func TestAFaultInADemoThatSpeaksBothHeaders(t *testing.T) {
	programs(t)
	t.Setenv(propagatorsVariable, "tracecontext, jaeger")
	r := up(t, "-break=other-format")
	id := traceID(t, get(t, r.urls.Gateway+"/", "uservice3.localhost"))
	var answer ledger.Answer
	waitFor(t, "entry in the ledger", func() bool {
		res, err := localClient.Get(r.urls.Explorer + "/api/ledger?trace=" + id)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return json.NewDecoder(res.Body).Decode(&answer) == nil && len(answer.Requests) == 1 && len(answer.Requests[0].Hops) == 3
	})
	if hop := answer.Requests[0].Hops[2]; hop.To != "uservice4" || hop.Action != ledger.IgnoredFormat {
		t.Errorf("%+v", hop)
	}
	res, err := localClient.Post(r.urls.Explorer+"/api/faults", "application/json", strings.NewReader(`{"name":""}`))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("mended: %+v, %v", res, err)
	}
	res.Body.Close()
	before := len(r.stderr.String())
	if n := len(r.uservice3(t).Spans); n != 7 {
		t.Errorf("%d spans when it is mended", n)
	}
	_, line, _ := strings.Cut(r.stderr.String()[before:], `uservice4 | {`)
	if line, _, _ = strings.Cut(line, "\n"); !strings.Contains(line, `"traceparent":`) || !strings.Contains(line, `"uber-trace-id":`) {
		t.Errorf("uservice4 did not get both headers: %s", line)
	}
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, &r.stderr)
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

// outline writes what a request's hops say.
func outline(r ledger.Request) string {
	text := string(r.Outcome) + " " + r.Summary
	for _, h := range r.Hops {
		text += fmt.Sprintf("\n%s -> %s: %s %s", h.From, h.To, h.Action, h.Says)
	}
	return text
}

func TestMessagesNameEveryAddressAndWhatIsBroken(t *testing.T) {
	urls := discover.URLs{
		Gateway: "http://127.0.0.1:8000", Explorer: "http://127.0.0.1:3000", Tempo: "http://127.0.0.1:3200", OTLPGRPC: "127.0.0.1:4317",
		OTLPHTTP: "http://127.0.0.1:4318", Services: map[string]string{"uservice1": "http://127.0.0.1:8081", "uservice3": "http://127.0.0.1:8083"},
	}
	otherFormat, _ := lab.Named("other-format")
	for says, state := range map[string]lab.State{
		"it says why": {},
		"broken on purpose (other-format): uservice4 speaks another propagation format.": {Fault: &otherFormat},
		"-break random:7 hides": {Riddle: &lab.Riddle{}, Seed: 7},
	} {
		var b strings.Builder
		if err := printReady(&b, urls, state); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"http://uservice3.localhost:8000/", "http://127.0.0.1:8083", "http://127.0.0.1:3000", "http://127.0.0.1:3200", "127.0.0.1:4317", "127.0.0.1:4318",
			"curl -i -H 'Host: uservice3.localhost' http://127.0.0.1:8000/", says,
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %s in\n%s", want, b.String())
			}
		}
		if strings.Contains(b.String(), "it says why") && says != "it says why" {
			t.Errorf("it is broken, and promises what a trace says:\n%s", b.String())
		}
	}
}
