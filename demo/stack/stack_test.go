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
	id, _, _ := strings.Cut(strings.TrimPrefix(strings.Fields(body)[1], "trace="), ":")
	waitFor(t, "trace with the gateway's two spans", func() bool { return s.shape(t.Context(), id) == gatewaySpans })
	for path, want := range map[string]string{"/trace/" + id: "<html", "/api/ledger?trace=" + id: `"to":"gateway"`, "/api/faults": `"active":""`} {
		if status, page := get(t, u.Explorer+path, ""); status != 200 || !strings.Contains(page, want) {
			t.Errorf("%s of the explorer: %d %s", path, status, page)
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

func TestServicesThatMisbehaveAreTold(t *testing.T) {
	for _, tc := range []struct {
		name, way string
		impatient bool
		want      string
	}{
		{"it cannot start", "uservice4=die early", false, "uservice4 ended before it was ready: exit status 3: cannot go on"},
		{"it ends badly", "uservice3=end badly", false, "uservice3 did not stop well within 25s: exit status 4: lost something"},
		{"it does not stop", "uservice1=ignore", true, "uservice1 was killed: asked to stop at once"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, _, _ := options(t, tc.way)
			s, err := Start(t.Context(), o)
			if err == nil {
				ctx, cancel := context.WithCancelCause(context.Background())
				if tc.impatient {
					cancel(errors.New("asked to stop at once"))
				}
				err = s.Stop(ctx)
				for name, url := range s.URLs().Services {
					if !refused(url) {
						t.Errorf("%s still answers", name)
					}
				}
				cancel(nil)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
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
