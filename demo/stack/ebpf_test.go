package stack

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWhoMayNotWatchHearsWhy(t *testing.T) {
	want := "-ebpf needs Linux"
	if runtime.GOOS == "linux" {
		want = "-ebpf needs root's rights"
		if os.Geteuid() == 0 {
			want = "give the program obi"
		}
	}
	_, err := Start(t.Context(), Options{EBPF: filepath.Join(t.TempDir(), "obi")})
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want one line with %q", err, want)
	}
}

// TestWhoWatchesIsToldWhom runs a program in place of OBI, which shows its environment and ends when it
// is asked to.
func TestWhoWatchesIsToldWhom(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs Linux and root's rights")
	}
	program := filepath.Join(t.TempDir(), "obi")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv\ntrap 'exit 255' TERM\nwhile :; do sleep 0.1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o, logs, _ := options(t, "")
	o.EBPF = program
	s := start(t, o)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(logs.String(), "OTEL_EBPF_SHUTDOWN_TIMEOUT") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	for _, want := range []string{
		"OTEL_EBPF_AUTO_TARGET_EXE=" + s.o.Bin + "/{uservice1,uservice2}\n", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + s.URLs().OTLPGRPC + "\n",
	} {
		if !strings.Contains(logs.String(), "ebpf      | "+want) {
			t.Errorf("the log lacks %s:\n%s", want, logs.String())
		}
	}
	if _, body := get(t, s.URLs().Gateway, "uservice1.localhost"); !strings.Contains(body, "OTEL_SERVICE_NAME=uservice1 ") {
		t.Errorf("uservice1 has %s", body)
	}
	if p, err := gatewayPropagator(s.o); err != nil || !slices.Equal(slices.Sorted(slices.Values(p.Fields())), []string{"traceparent", "tracestate", "uber-trace-id"}) {
		t.Errorf("the gateway writes %v, %v", p.Fields(), err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("an OBI that ends badly when asked is no news: %v", err)
	}
}
