package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"example.com/grafana-tempo-go-demo/demo/term"
)

// composeLog is what `docker compose logs` prints. Traefik and the four services wrote it, Traefik
// being told to keep the headers Uber-Trace-Id and Traceresponse.
func composeLog(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "compose.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// eachLine changes each line of a log.
func eachLine(log string, f func(service, text string) string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		service, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " | ")
		b.WriteString(f(strings.TrimSpace(service), text) + "\n")
	}
	return b.String()
}

func TestRunReadsEveryFormOfALog(t *testing.T) {
	log := composeLog(t)
	var want bytes.Buffer
	if err := Run(strings.NewReader(log), &want, io.Discard, RunOptions{}); err != nil {
		t.Fatal(err)
	}
	compare(t, "compose.golden", want.String())
	for name, form := range map[string]string{
		"colours":         eachLine(log, func(s, text string) string { return "\x1b[36m" + s + "  | \x1b[0m" + text }),
		"time stamps":     eachLine(log, func(s, text string) string { return s + "  | 2026-01-02T12:00:00.123456789Z " + text }),
		"colours, stamps": eachLine(log, func(s, text string) string { return "\x1b[36m" + s + " | \x1b[0m2026-01-02T12:00:00+01:00 " + text }),
		"Windows":         strings.ReplaceAll(log, "\n", "\r\n"),
		"old compose":     eachLine(log, func(s, text string) string { return strings.Replace(s, "-1", "_1", 1) + "   | " + text }),
		"podman":          eachLine(log, func(s, text string) string { return "[" + strings.TrimSuffix(s, "-1") + "] | " + text }),
		"container names": eachLine(log, func(s, text string) string {
			return strings.Replace("grafana-tempo-go-demo-"+s, "grafana-tempo-go-demo-traefik", "traefik", 1) + " | " + text
		}),
		"no Docker":       eachLine(log, func(s, text string) string { return strings.TrimSuffix(s, "-1") + " | " + text }),
		"others' lines":   "\n\ntempo-1  | level=info msg=request\ngrafana-1 | {\"msg\":\"other\"}\nno prefix\n" + log,
		"no last newline": strings.TrimSuffix(log, "\n"),
		"a long line":     "uservice1-1 | " + strings.Repeat("x", maxLogLine) + "\n" + log,
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := Run(strings.NewReader(form), &got, io.Discard, RunOptions{}); err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("got\n%s", &got)
			}
		})
	}
}

func TestRunFindsATrace(t *testing.T) {
	for name, id := range map[string]string{"as it is": traceA, "in upper case": strings.ToUpper(traceA)} {
		var out bytes.Buffer
		if err := Run(strings.NewReader(composeLog(t)), &out, io.Discard, RunOptions{Trace: id}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\nGET "); n != 0 || !strings.HasPrefix(out.String(), "GET uservice3.localhost/?fail=database") {
			t.Errorf("%s: %s", name, &out)
		}
	}
}

func TestRunPrintsJSON(t *testing.T) {
	var out, notes bytes.Buffer
	if err := Run(strings.NewReader(composeLog(t)), &out, &notes, RunOptions{JSON: true, Limit: 3}); err != nil {
		t.Fatal(err)
	}
	var answer Answer
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || len(answer.Requests) != 3 || answer.Requests[0].Time.Before(answer.Requests[1].Time) {
		t.Errorf("%v: %s", err, &out)
	}
	if !strings.Contains(notes.String(), "the newest 3 of 9 requests") {
		t.Errorf("notes: %s", &notes)
	}
}

func TestRunSaysWhatALogLacks(t *testing.T) {
	withoutNames := eachLine(composeLog(t), func(_, text string) string { return text })
	for name, test := range map[string]struct {
		log   io.Reader
		trace string
		want  string
	}{
		"nothing":                  {strings.NewReader("\n"), "", "docker compose logs | go run ./demo ledger"},
		"no requests":              {strings.NewReader("uservice1-1  | {\"msg\":\"listening\"}\n"), "", "no request in this log of 1 line"},
		"--no-log-prefix":          {strings.NewReader(withoutNames), "", "without --no-log-prefix"},
		"an unknown trace":         {strings.NewReader(composeLog(t)), "1234", "trace 1234 is not in this log"},
		"a trace id that is none":  {strings.NewReader(composeLog(t)), "xyz", "not hexadecimal"},
		"a pipe that breaks":       {iotest.ErrReader(errors.New("broken")), "", "read the log: broken"},
		"what is no log":           {strings.NewReader(strings.Repeat("\x00\xff", maxLogLine)), "", "no request in this log"},
		"what is no log in a line": {strings.NewReader("| | |{\"msg\":\"request\"}"), "", "1 line of this log may tell of requests and cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Run(test.log, io.Discard, io.Discard, RunOptions{Trace: test.trace})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestTraefikMayTellLess(t *testing.T) {
	// Without the options that keep headers, its log has the ids of its own span alone.
	log := eachLine(composeLog(t), func(s, text string) string {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) != nil {
			return s + " | " + text
		}
		for key := range line {
			if strings.HasPrefix(key, "request_") || strings.HasPrefix(key, "origin_") || strings.HasPrefix(key, "downstream_") {
				delete(line, key)
			}
		}
		data, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		return s + " | " + string(data)
	})
	var out, notes bytes.Buffer
	if err := Run(strings.NewReader(log), &out, &notes, RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "its log does not say whether") || !strings.Contains(got, "ENDED: The trace ends at uservice1") {
		t.Error(got)
	}
	if !strings.Contains(notes.String(), "Uber-Trace-Id=keep") {
		t.Errorf("notes: %s", &notes)
	}
}

func TestTheGatewaysOwnLog(t *testing.T) {
	log := `gateway   | {"time":"2026-01-02T12:00:00.05Z","level":"INFO","msg":"request","method":"GET","host":"uservice4.localhost:8000","path":"/","query":"","status":200,"duration_ms":50,"trace_id":"` + traceA + `","span_id":"` + span1 + `"}
gateway   | {"time":"2026-01-02T12:00:00.05Z","level":"INFO","msg":"request","method":"GET","host":"nobody.localhost:8000","path":"/","query":"","status":404,"duration_ms":1,"trace_id":"` + traceB + `","span_id":"` + span1 + `"}
uservice4 | {"time":"2026-01-02T12:00:00.01Z","level":"INFO","msg":"request","method":"GET","host":"uservice4.localhost:8000","path":"/","query":"","headers":{"uber-trace-id":"` + traceA + `:2:0:1","x-forwarded-server":"gateway"},"trace_id":"` + traceA + `","span_id":"` + span(3) + `"}
`
	l := New(DefaultMaxRecords)
	if _, err := l.readLog(strings.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range l.Recent(10) {
		got = append(got, describe(r))
	}
	want := "whole | client>gateway unknown\nwhole | client>gateway unknown | gateway>uservice4 continued"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func FuzzReadLog(f *testing.F) {
	for _, log := range []string{
		"uservice1-1  | {}", "\x1b[36m[a] | \x1b[0m2026-01-02T12:00:00Z {\"msg\":\"request\"}", "|", "a|b", "\xff | \x00",
		"u | " + string(requestLine(1, jaegerHeader(traceA, span(2)), traceA, span(3))) + "\nu | " + string(answeredLine(2, 200, traceA, span(3))),
		`traefik | {"StartUTC":"2026-01-02T12:00:00Z","DownstreamStatus":200,"Duration":-5,"ServiceName":"@","RequestPath":"?","trace_id":"1"}`,
		`gateway | {"time":"2026-01-02T12:00:00Z","msg":"request","status":-1,"duration_ms":-1e300,"host":".","arrived":{"uber-trace-id":":::"}}`,
		`gateway | {"time":"0000-01-02T12:00:00Z","msg":"request","status":200,"duration_ms":1e12,"host":"a"}`,
		`traefik | {"StartUTC":"9999-12-31T23:59:59Z","DownstreamStatus":200,"Duration":9000000000000000000,"trace_id":"1"}`,
	} {
		f.Add(log)
	}
	f.Fuzz(func(t *testing.T, log string) {
		l := New(4)
		_, _ = l.readLog(strings.NewReader(log))
		found := l.Recent(1000)
		for _, r := range found {
			check(t, l, r)
		}
		var b strings.Builder
		if err := Fprint(&b, found); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if len(line) > term.DefaultWidth || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("no line for a terminal: %q", line)
			}
		}
		if _, err := json.Marshal(Answer{Requests: found}); err != nil {
			t.Fatal(err)
		}
	})
}
