package stack

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestStackRunsAndLeavesNothing(t *testing.T) {
	s := start(t, options(t))
	u := s.URLs()
	env := s.environment(s.find("uservice3"), s.fault.Load())
	for variable, want := range map[string]string{
		"UPSTREAM": u.Services["uservice4"], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + u.OTLPGRPC, "OTEL_SERVICE_NAME": "uservice3",
		"TRACE_LINK": u.Explorer + "/trace/{trace_id}", "OTEL_PROPAGATORS": "jaeger",
	} {
		if env[variable] != want {
			t.Errorf("uservice3 has %s=%s, want %s", variable, env[variable], want)
		}
	}
	s.judge(t, []string{wholeTrace}, 0, wholeLedger, "")
	s.ask(t, "uservice1")
	client := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	defer client.CloseIdleConnections()
	if res, err := client.Get(u.Gateway); err != nil || res.ProtoMajor != 2 { // a host that the gateway does not know
		t.Errorf("HTTP/2 without TLS: %v, %v", res, err)
	}
	// Another site's host name that resolves to this machine (DNS rebinding): what package local says of the rest holds too.
	for address, want := range map[string]int{u.Gateway: 404, u.Explorer: 421, u.Tempo: 421, u.OTLPHTTP: 421, "http://" + u.OTLPGRPC: 421} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/ready", nil)
		req.Host = "evil.example"
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil || res.StatusCode != want || !strings.HasPrefix(address, "http://127.0.0.1:") {
			t.Errorf("%s answers to evil.example: %v, %v", address, res, err)
		}
		res.Body.Close()
	}
	if !strings.Contains(s.logs(), "gateway   | {") || !strings.Contains(s.logs(), "uservice2 | {") {
		t.Errorf("logs: %s", s.logs())
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

func TestWhatDoesNotStartOrStopIsToldAndGone(t *testing.T) {
	o := options(t)
	s := start(t, o)
	s.holdUservice4(t)
	hanging := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URLs().Gateway+"/?slow=database", nil)
		req.Host = "uservice3.localhost"
		_, err := http.DefaultTransport.RoundTrip(req)
		hanging <- err
	}()
	waitFor(t, "request", func() bool { return regexp.MustCompile(`(?m)^uservice3 .*"msg":"request"`).MatchString(s.logs()) })
	ctx, kill := context.WithCancelCause(context.Background())
	kill(errors.New("asked to stop at once"))
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "uservice4 was killed: asked to stop at once") {
		t.Errorf("one that does not stop: %v", err)
	}
	if <-hanging == nil {
		t.Error("the stop has waited for a request that hangs")
	}
	s.isGone(t)
	if _, err := Start(ctx, o); err == nil || !strings.Contains(err.Error(), "asked to stop at once") {
		t.Errorf("an interrupt during the start: %v", err)
	}
	o.program(t, "uservice4", false)
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "start uservice4") {
		t.Errorf("one that does not start: %v", err)
	}
}
