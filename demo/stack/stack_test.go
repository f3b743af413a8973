package stack

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

func TestStackRunsAndLeavesNothing(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "true") // of the shell, not for the services
	o, logs, _ := options(t, "")
	s := start(t, o)
	u := s.URLs()

	status, body := get(t, u.Gateway, "uservice3.localhost")
	if status != 200 || !strings.HasPrefix(body, "uservice3 trace=") {
		t.Fatalf("%d %s", status, body)
	}
	for _, want := range []string{
		"UPSTREAM=" + u.Services["uservice4"], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + u.OTLPGRPC, "OTEL_SERVICE_NAME=uservice3",
		"TRACE_LINK=" + u.Explorer + "/trace/{trace_id}", "LOG_LEVEL=INFO", "OTEL_PROPAGATORS=jaeger",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("uservice3's environment has no %s", want)
		}
	}
	if strings.Contains(body, "OTEL_SDK_DISABLED") {
		t.Error("the shell's OTEL_SDK_DISABLED reached uservice3")
	}
	if _, body := get(t, u.Gateway, "uservice1.localhost"); strings.Contains(body, "OTEL_") || !strings.Contains(body, "UPSTREAM="+u.Services["uservice2"]) {
		t.Errorf("uservice1: %s", body)
	}

	// The gateway's spans reach the collector over OTLP, and the page shows them.
	id, _, _ := strings.Cut(strings.TrimPrefix(strings.Fields(body)[1], "trace="), ":")
	client := &tempo.Client{URL: u.Tempo}
	waitFor(t, "trace with the gateway's two spans", func() bool {
		tr, err := client.Trace(t.Context(), id)
		return err == nil && len(tr.Spans) == 2 && tr.Spans[0].Service == "gateway"
	})
	for path, want := range map[string]string{
		"/trace/" + id: "<html", "/tempo/api/v2/traces/" + id: "ReverseProxy", "/api/ledger?trace=" + id: `"to":"gateway"`, "/api/faults": `"active":""`,
	} {
		if status, page := get(t, u.Explorer+path, ""); status != 200 || !strings.Contains(page, want) {
			t.Errorf("%s of the explorer: %d %s", path, status, page)
		}
	}
	if !strings.Contains(logs.String(), "gateway   | {") || !strings.Contains(logs.String(), "uservice2 | {") {
		t.Errorf("logs: %s", logs)
	}

	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
	for _, url := range []string{u.Gateway, u.Explorer, u.Tempo, u.OTLPGRPC, u.OTLPHTTP, u.Services["uservice1"], u.Services["uservice4"]} {
		if !refused(url) {
			t.Errorf("%s still answers", url)
		}
	}
	select {
	case d := <-s.Deaths():
		t.Errorf("an orderly stop counts as a death: %+v", d)
	default:
	}
}

func TestServiceThatCannotStart(t *testing.T) {
	o, _, _ := options(t, "uservice4=die early")
	_, err := Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "uservice4 ended before it was ready: exit status 3: cannot go on") {
		t.Errorf("%v", err)
	}
}

func TestServiceThatDiesIsToldAndTheRestGoesOn(t *testing.T) {
	o, _, _ := options(t, "")
	s := start(t, o)
	if res, err := http.Get(s.URLs().Services["uservice4"] + "/die"); err == nil {
		res.Body.Close()
	}
	select {
	case d := <-s.Deaths():
		if d.Part != "uservice4" || d.How != "exit status 7" {
			t.Errorf("%+v", d)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed")
	}
	if status, _ := get(t, s.URLs().Gateway, "uservice3.localhost"); status != 200 {
		t.Errorf("uservice3 answers %d", status)
	}
	if status, _ := get(t, s.URLs().Gateway, "uservice4.localhost"); status != 502 {
		t.Errorf("uservice4's host answers %d", status)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestServiceThatEndsBadlyIsTold(t *testing.T) {
	o, _, _ := options(t, "uservice3=end badly")
	s := start(t, o)
	err := s.Stop(context.Background())
	if err == nil || !strings.Contains(err.Error(), "uservice3 did not stop well within 25s: exit status 4: lost something") {
		t.Errorf("%v", err)
	}
}

func TestServiceThatDoesNotStopIsKilledAndTold(t *testing.T) {
	o, _, _ := options(t, "uservice1=ignore")
	s := start(t, o)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("asked to stop at once"))
	err := s.Stop(ctx)
	if err == nil || !strings.Contains(err.Error(), "uservice1 was killed: asked to stop at once") {
		t.Errorf("%v", err)
	}
	if !refused(s.URLs().Services["uservice1"]) {
		t.Error("uservice1 still answers")
	}
}

func TestInterruptDuringTheStart(t *testing.T) {
	o, _, _ := options(t, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := Start(ctx, o); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}
