package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	utf "golang.org/x/text/encoding/unicode"

	"example.com/grafana-tempo-go-demo/demo/term"
)

var update = flag.Bool("update", false, "write the golden file anew instead of comparing with it")

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
		b.WriteString(f(strings.TrimSuffix(strings.TrimSpace(service), "-1"), text) + "\n")
	}
	return b.String()
}

// run returns what Run prints, and what it says about the log.
func run(t *testing.T, log string, o RunOptions) (text, notes string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := Run(strings.NewReader(log), &stdout, &stderr, o); err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String()
}

func TestRunReadsEveryFormOfALog(t *testing.T) {
	log := composeLog(t)
	want, _ := run(t, log, RunOptions{})
	golden := filepath.Join("testdata", "compose.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(golden); err != nil || string(data) != want {
		t.Errorf("%v: run go test with -update and look at the difference; now:\n%s", err, want)
	}
	utf16, err := utf.UTF16(utf.LittleEndian, utf.UseBOM).NewEncoder().String(strings.ReplaceAll(log, "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	const stamp = "2026-01-02T12:00:00.123456789Z "
	pod := func(s string) string { return "[pod/" + s + "-7d9f8b6c5-x2kqz/" + s + "] " }
	for name, form := range map[string]string{
		"colours":               eachLine(log, func(s, text string) string { return "\x1b[36m" + s + "-1  | \x1b[0m" + text }),
		"docker compose -t":     eachLine(log, func(s, text string) string { return s + "-1  | " + stamp + text }),
		"colours and -t":        eachLine(log, func(s, text string) string { return "\x1b[36m" + s + "-1 | \x1b[0m2026-01-02T12:00:00+01:00 " + text }),
		"Windows":               strings.ReplaceAll(log, "\n", "\r\n"),
		"PowerShell":            utf16,
		"UTF-16 without a mark": utf16[len("\xff\xfe"):],
		"old compose":           eachLine(log, func(s, text string) string { return s + "_1   | " + text }),
		"podman-compose":        eachLine(log, func(s, text string) string { return "[" + s + "] | " + text }),
		"podman --names":        eachLine(log, func(s, text string) string { return "demo_" + s + "_1 " + text }),
		"podman --names -t":     eachLine(log, func(s, text string) string { return "demo_" + s + "_1 " + stamp + text }),
		"kubectl --prefix":      eachLine(log, func(s, text string) string { return pod(s) + text }),
		"kubectl --timestamps":  eachLine(log, func(s, text string) string { return pod(s) + stamp + text }),
		"stern":                 eachLine(log, func(s, text string) string { return s + "-7d9f8b6c5-x2kqz " + s + " " + text }),
		"ts":                    eachLine(log, func(s, text string) string { return "Nov 29 19:20:01 " + s + "-1 | " + text }),
		"container names":       eachLine(log, func(s, text string) string { return "my-uservice4-traefik-" + s + "-1 | " + text }),
		"no Docker":             eachLine(log, func(s, text string) string { return s + " | " + text }),
		"others' lines":         "\n\ntempo-1  | level=info q=\"\\\"msg\\\":\\\"request\\\"\"\ngrafana-1 | {\"msg\":\"other\"}\nno prefix\n" + log,
		"no last newline":       strings.TrimSuffix(log, "\n"),
		"a long line":           "uservice1-1 | " + strings.Repeat("x", maxLogLine) + "\n" + log,
		"twice":                 log + log,
		"in two forms":          log + eachLine(log, func(s, text string) string { return pod(s) + text }),
		"gateways' lines later": later(log),
	} {
		t.Run(name, func(t *testing.T) {
			if got, notes := run(t, form, RunOptions{}); got != want || strings.Contains(notes, "cannot be read") {
				t.Errorf("%s\n%s", notes, got)
			}
		})
	}
}

// later moves Traefik's lines to the end of a log.
func later(log string) string {
	traefik := regexp.MustCompile(`(?m)^traefik.*\n`)
	return traefik.ReplaceAllString(log, "") + strings.Join(traefik.FindAllString(log, -1), "")
}

func TestRunFindsATraceAndPrintsJSON(t *testing.T) {
	text, _ := run(t, composeLog(t), RunOptions{Trace: strings.ToUpper(traceA)})
	if strings.Contains(text, "\nGET ") || !strings.HasPrefix(text, "GET uservice3.localhost/?fail=database") {
		t.Error(text)
	}
	text, notes := run(t, composeLog(t), RunOptions{JSON: true, Limit: 3})
	var answer Answer
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Requests) != 3 || answer.Total != 9 ||
		answer.Requests[0].Time.Before(answer.Requests[1].Time) || !strings.Contains(notes, "the newest 3 of 9 requests") {
		t.Errorf("%v: %s%s", err, text, notes)
	}
}

func TestRunSaysWhatItCannotRead(t *testing.T) {
	log := composeLog(t)
	bare := func(_, text string) string { return text }
	for name, test := range map[string]struct {
		log   io.Reader
		trace string
		want  string
	}{
		"nothing":                 {strings.NewReader("\n"), "", "docker compose logs | go run ./demo ledger"},
		"no requests":             {strings.NewReader("uservice1-1  | {\"msg\":\"listening\"}\n"), "", "no request in this log"},
		"--no-log-prefix":         {strings.NewReader(eachLine(log, bare)), "", "without --no-log-prefix"},
		"Docker's own files":      {strings.NewReader(`{"log":"{\"msg\":\"request\"}\n","stream":"stdout"}`), "", "1 line of this log may tell of requests"},
		"a line that was cut off": {strings.NewReader("uservice1-1 | {\"msg\":\"request\",\"tim\n"), "", "1 line of this log may tell of requests"},
		"an unknown trace":        {strings.NewReader(log), "1234", "trace 1234 is not in this log"},
		"a trace id that is none": {strings.NewReader(log), "xyz", "want up to 32 hexadecimal digits"},
		"a pipe that breaks":      {iotest.ErrReader(errors.New("broken")), "", "read the log: broken"},
		"what is no log":          {strings.NewReader(strings.Repeat("\x00\xff", maxLogLine)), "", "no request in this log"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Run(test.log, io.Discard, io.Discard, RunOptions{Trace: test.trace})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
	text, notes := run(t, log+"uservice1-1 | {\"msg\":\"request\",\"tim\n", RunOptions{})
	if strings.Contains(text, "WHOLE") || !strings.Contains(text, "UNKNOWN: In the part of the log that can be read: It is one\n") ||
		!strings.HasPrefix(notes, "1 line of this log may tell of requests and cannot be read;") {
		t.Error(notes, text)
	}
}

func TestTraefikMayTellLess(t *testing.T) {
	// Without the options that keep headers, its log has the ids of its own span alone.
	kept := regexp.MustCompile(`"(request|origin|downstream)_[^"]*":"[^"]*",`)
	text, _ := run(t, kept.ReplaceAllString(composeLog(t), ""), RunOptions{})
	if strings.Contains(text, "back ") || strings.Contains(text, "traefik: STARTED") || strings.Count(text, "-> uservice4: CONTINUED") != 4 {
		t.Error(text)
	}
}

func FuzzReadLog(f *testing.F) {
	for _, log := range []string{
		"uservice1-1  | {}", "\x1b[36m[a] | \x1b[0m2026-01-02T12:00:00Z {\"msg\":\"request\"}", "|", "a|b", "\xff | \x00", "\xff\xfe|\x00", "\xfe\xff\xd8",
		"u | " + string(requestLine(1, uber(traceA, 2), traceA, span(3))) + "\nu | " + string(answeredLine(2, 200, traceA, span(3))),
		"uservice2 | " + string(requestLine(1, uber("\x1b\u202e", 2), "", "")),
		`traefik | {"StartUTC":"2026-01-02T12:00:00Z","DownstreamStatus":200,"Duration":-5,"ServiceName":"@","RequestPath":"?","trace_id":"1"}`,
		`gateway | {"time":"2026-01-02T12:00:00Z","msg":"request","status":-1,"duration_ms":-1e300,"host":".","arrived":{"uber-trace-id":":::"}}`,
		`gateway | {"time":"0000-01-02T12:00:00Z","msg":"request","status":200,"duration_ms":1e12,"host":"a"}`,
		`[pod/a/traefik] {"StartUTC":"9999-12-31T23:59:59Z","DownstreamStatus":200,"Duration":9000000000000000000,"trace_id":"1"}`,
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
		for line := range strings.SplitSeq(b.String(), "\n") {
			if term.Columns(line) > term.DefaultWidth || strings.ContainsFunc(line, unicode.IsControl) {
				t.Fatalf("no line for a terminal: %q", line)
			}
		}
		if _, err := json.Marshal(Answer{Requests: found}); err != nil {
			t.Fatal(err)
		}
	})
}
