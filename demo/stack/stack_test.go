package stack

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestStackRunsAndLeavesNothing(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "true") // of the shell, not for the services
	o, logs, _ := options(t, "")
	s := start(t, o)
	u := s.URLs()

	body := s.ask(t, "uservice3").page
	for _, want := range []string{
		"UPSTREAM=" + u.Services["uservice4"], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + u.OTLPGRPC, "OTEL_SERVICE_NAME=uservice3",
		"TRACE_LINK=" + u.Explorer + "/trace/{trace_id}", "OTEL_PROPAGATORS=jaeger",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("uservice3's environment has no %s", want)
		}
	}
	if strings.Contains(body, "OTEL_SDK_DISABLED") {
		t.Error("the shell's OTEL_SDK_DISABLED reached uservice3")
	}
	if page := s.ask(t, "uservice1").page; strings.Contains(page, "OTEL_") || !strings.Contains(page, "UPSTREAM="+u.Services["uservice2"]) {
		t.Errorf("uservice1: %s", page)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(strings.Fields(body)[1], "trace="), ":")
	waitFor(t, "trace with the gateway's two spans", func() bool { return s.shape(t.Context(), id) == gatewaySpans })
	for path, want := range map[string]string{"/trace/" + id: "<html", "/api/ledger?trace=" + id: `"to":"gateway"`, "/api/faults": `"active":""`} {
		if page := get(t, u.Explorer+path, "").page; !strings.Contains(page, want) {
			t.Errorf("%s of the explorer: %s", path, page)
		}
	}
	if !strings.Contains(logs.String(), "gateway   | {") || !strings.Contains(logs.String(), "uservice2 | {") {
		t.Errorf("logs: %s", logs)
	}

	for range 2 { // the second is nothing new
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	s.isGone(t)
	select {
	case err := <-s.Deaths():
		t.Errorf("an orderly stop counts as a death: %v", err)
	default:
	}
}

func TestServicesThatMisbehaveAreToldAndGone(t *testing.T) {
	o, _, _ := options(t, "uservice4=die early")
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "uservice4 ended before it was ready: exit status 3: cannot go on") {
		t.Errorf("one that does not start: %v", err)
	}
	o, _, _ = options(t, "uservice1=ignore")
	s := start(t, o)
	ctx, kill := context.WithCancelCause(context.Background())
	kill(errors.New("asked to stop at once"))
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "uservice1 was killed: asked to stop at once") {
		t.Errorf("one that does not stop: %v", err)
	}
	s.isGone(t)
}

func TestInterruptDuringTheStart(t *testing.T) {
	o, _, _ := options(t, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := Start(ctx, o); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}
