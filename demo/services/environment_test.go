package services

import (
	"slices"
	"testing"
)

func TestChildEnvKeepsTheShellOutButForItsGarbageCollection(t *testing.T) {
	got := Merge([]string{
		"PATH=/bin", "OTEL_SDK_DISABLED=true", "otel_traces_exporter=none", "ADDR=:1", "Upstream=x", "LOG_LEVEL=error", "DATABASE_MAX=2s",
		"TRACE_LINK=evil", "HOME=/h", "ADDRESS=mine", "GOGC=50",
	}, map[string]string{"UPSTREAM": "http://u", "OTEL_SERVICE_NAME": "uservice3", "GOGC": "400", "GOMEMLIMIT": "1GiB"})
	want := []string{"PATH=/bin", "DATABASE_MAX=2s", "HOME=/h", "ADDRESS=mine", "GOGC=50", "GOMEMLIMIT=1GiB", "OTEL_SERVICE_NAME=uservice3", "UPSTREAM=http://u"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
