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

// examine runs `demo doctor` in an empty folder.
func examine(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	code = runHere(t.Context(), nil, &out, &errs, append([]string{"doctor"}, args...)...)
	return code, out.String(), errs.String()
}

func TestDoctorWrongUsageExitsWith2(t *testing.T) {
	for _, c := range []struct {
		args []string
		port string // TEMPO_PORT
		want string
	}{
		{[]string{"-nonsense"}, "", "nonsense"},
		{[]string{"now"}, "", `"now"`},
		{[]string{"-tempo=127.0.0.1:3200"}, "", "http://127.0.0.1:3200"},
		{[]string{"-gateway="}, "", "empty"},
		{nil, "many", `TEMPO_PORT="many"`},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Setenv("TEMPO_PORT", c.port)
			code, stdout, stderr := examine(t, c.args...)
			if code != 2 {
				t.Errorf("%v: exit code %d, want 2", c.args, code)
			}
			if !strings.Contains(stderr, c.want) || stdout != "" {
				t.Errorf("%v: said %q, want %q in it", c.args, stderr, c.want)
			}
		})
	}
}

func TestDoctorHelpGoesToStandardOutputAndExitsWith0(t *testing.T) {
	code, stdout, stderr := examine(t, "-help")
	if code != 0 || !strings.Contains(stdout, "-gateway URL") || stderr != "" {
		t.Errorf("exit code %d; help is %q, and %q on standard error", code, stdout, stderr)
	}
}

func TestDoctorWithNothingRunningSaysHowToStartAndStops(t *testing.T) {
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	_, port, _ := strings.Cut(nobody.Listener.Addr().String(), ":")
	for _, variable := range []string{"TRAEFIK_PORT", "TEMPO_PORT", "GRAFANA_PORT"} {
		t.Setenv(variable, port)
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TMP", t.TempDir()) // Windows
	for _, args := range [][]string{nil, {"-json"}} {
		code, stdout, stderr := examine(t, args...)
		if code != 1 || stdout != "" || strings.Contains(stderr, "Usage") || !strings.Contains(stderr, "\n  go run ./demo  ") {
			t.Errorf("%v: exit code %d, printed %q and %q", args, code, stdout, stderr)
		}
	}
}

func TestDoctorJSONIsTheReportAloneAndTheExitCode1WhenALinkIsBroken(t *testing.T) {
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	code, stdout, stderr := examine(t, "-json", "-gateway="+nobody.URL, "-tempo="+nobody.URL, "-prometheus=", "-loki=", "-grafana=")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	var report doctor.Report
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&report); err != nil {
		t.Fatal(err)
	}
	if dec.More() || stderr != "" {
		t.Errorf("there is more than the report; standard error has %q", stderr)
	}
	if report.OK || report.FirstBroken != "gateway" || len(report.Links) != 13 || len(report.Links[0].Causes) == 0 {
		t.Errorf("report is %+v", report)
	}
}
