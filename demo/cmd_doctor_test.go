package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/doctor"
)

func TestDoctorWithNothingRunningSaysHowToStart(t *testing.T) {
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	_, port, _ := strings.Cut(nobody.Listener.Addr().String(), ":")
	for _, variable := range []string{"TRAEFIK_PORT", "TEMPO_PORT", "GRAFANA_PORT"} {
		t.Setenv(variable, port)
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TMP", t.TempDir()) // Windows
	t.Chdir(t.TempDir())
	var stdout, stderr bytes.Buffer
	code := runHere(t.Context(), nil, &stdout, &stderr, "doctor", "-json")
	if code != 1 || stdout.Len() > 0 || strings.Contains(stderr.String(), "Usage") || !strings.Contains(stderr.String(), "\n  go run ./demo  ") {
		t.Errorf("exit code %d, printed %q and %q", code, &stdout, &stderr)
	}
}

func TestDoctorJSONIsTheReportAloneAndTheExitCode1WhenALinkIsBroken(t *testing.T) {
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	var stdout, stderr bytes.Buffer
	code := runHere(t.Context(), nil, &stdout, &stderr, "doctor", "-json", "-gateway="+nobody.URL, "-tempo="+nobody.URL, "-prometheus=", "-loki=", "-grafana=")
	var report doctor.Report
	dec := json.NewDecoder(&stdout)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&report); err != nil || code != 1 || dec.More() || stderr.Len() > 0 {
		t.Fatalf("exit code %d, %v; standard error has %q", code, err, &stderr)
	}
	if report.OK || report.FirstBroken != "gateway" || len(report.Links) != 13 || len(report.Links[0].Causes) == 0 {
		t.Errorf("report is %+v", report)
	}
}
