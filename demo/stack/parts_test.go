package stack

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestChildEnvKeepsTheShellOutButForItsGarbageCollection(t *testing.T) {
	got := childEnv([]string{
		"PATH=/bin", "OTEL_SDK_DISABLED=true", "otel_traces_exporter=none", "ADDR=:1", "Upstream=x", "REDIS_MIN=1h", "LOG_LEVEL=error",
		"TRACE_LINK=evil", "HOME=/h", "ADDRESS=mine", "GOGC=50",
	}, map[string]string{"UPSTREAM": "http://u", "OTEL_SERVICE_NAME": "uservice3", "GOGC": "400", "GOMEMLIMIT": "1GiB"})
	want := []string{"PATH=/bin", "HOME=/h", "ADDRESS=mine", "GOGC=50", "GOMEMLIMIT=1GiB", "OTEL_SERVICE_NAME=uservice3", "UPSTREAM=http://u"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListeningLine(t *testing.T) {
	for _, tc := range []struct{ name, line, addr string }{
		{"the line", `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"listening","addr":"127.0.0.1:43211"}`, "127.0.0.1:43211"},
		{"another line", `{"level":"INFO","msg":"request","addr":"127.0.0.1:43211"}`, ""},
		{"the word in another place", `{"msg":"request","path":"listening","addr":"evil:1"}`, ""},
		{"no address", `{"msg":"listening"}`, ""},
		{"an address of another type", `{"msg":"listening","addr":7}`, ""},
		{"no JSON", `"listening" addr=1`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if addr, ok := announcement([]byte(tc.line), "listening"); addr != tc.addr || ok != (tc.addr != "") {
				t.Errorf("got %q %v", addr, ok)
			}
		})
	}
}

func TestMetricsMoveWithTheirServiceAndWhenTheirPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var messages strings.Builder
	s := &Stack{
		o: Options{Messages: &messages, Services: []Service{
			{Name: "plain"},
			{Name: "moved", Metrics: "127.0.0.1:1"},
			{Name: "unlucky", Metrics: taken.Addr().String()},
		}},
		addrs: map[string]string{"plain": "127.0.0.1:1", "moved": "127.0.0.1:0", "unlucky": "127.0.0.1:1"},
	}
	want := map[string]string{"moved": "127.0.0.1:0", "unlucky": "127.0.0.1:0"}
	if got := s.metricsAddrs(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if text := messages.String(); !strings.Contains(text, "unlucky's metrics: "+taken.Addr().String()+" is taken") {
		t.Errorf("nobody is told of the port: %q", text)
	}
}

func TestLineWriterCutsWholeLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	for _, tc := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"lines in one write", []string{"a\nb\n"}, []string{"a", "b"}},
		{"a line in pieces", []string{"a", "b", "c\nd"}, []string{"abc", "d"}},
		{"empty lines", []string{"\n\n"}, []string{"", ""}},
		{"no newline at the end", []string{"a\nrest"}, []string{"a", "rest"}},
		{"a line longer than the bound", []string{long[:maxLine-1], long[maxLine-1:] + "\n"}, []string{long}},
		{"a line longer than the bound that does not end", []string{long[:maxLine-1], long[maxLine-1:], "\n"}, []string{long[:maxLine], long[maxLine:]}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			w := &lineWriter{emit: func(line []byte) { got = append(got, string(line)) }}
			for _, s := range tc.writes {
				if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
					t.Fatal(n, err)
				}
			}
			w.Flush()
			if strings.Join(got, "") != strings.Join(tc.want, "") || len(tc.writes) < 2 && !slices.Equal(got, tc.want) {
				t.Errorf("got %d lines, want %d", len(got), len(tc.want))
			}
		})
	}
}

func TestLinesOfManyPartsAreNeverMixed(t *testing.T) {
	var b bytes.Buffer // not safe for concurrent use: the sink's lock is what is tested
	s := newSink(&b, slog.LevelInfo, false)
	var wg sync.WaitGroup
	for i := range 4 {
		w := &lineWriter{emit: func(line []byte) { s.line(fmt.Sprintf("part%d", i), line) }}
		wg.Go(func() {
			for range 200 {
				for range 10 {
					_, _ = w.Write(bytes.Repeat([]byte{byte('a' + i)}, 50))
				}
				_, _ = w.Write([]byte("\n"))
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 800 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		i := line[4] - '0'
		if want := fmt.Sprintf("%-9s | %s", line[:5], strings.Repeat(string('a'+rune(i)), 500)); line != want {
			t.Fatalf("got %q", line)
		}
	}
}

func TestSinkHidesLevelsAndTamesTerminals(t *testing.T) {
	for _, tc := range []struct {
		name     string
		level    slog.Level
		terminal bool
		line     string
		want     string
	}{
		{"info is shown at info", slog.LevelInfo, false, `{"level":"INFO"}`, "p         | {\"level\":\"INFO\"}\n"},
		{"info is hidden at warn", slog.LevelWarn, false, `{"level":"INFO"}`, ""},
		{"errors are shown at warn", slog.LevelWarn, false, `{"level":"ERROR"}`, "p         | {\"level\":\"ERROR\"}\n"},
		{"plain text is shown always", slog.LevelError, false, "panic: x\r", "p         | panic: x\n"},
		{"a terminal gets colour and no control characters", slog.LevelInfo, true, "a\tb\x1b[2J", "\x1b[36mp         | \x1b[0ma    b\uFFFD[2J\n"},
		{"a file gets the bytes as they are", slog.LevelInfo, false, "a\tb\x1b[2J", "p         | a\tb\x1b[2J\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			newSink(&b, tc.level, tc.terminal).line("p", []byte(tc.line))
			if b.String() != tc.want {
				t.Errorf("got %q, want %q", b.String(), tc.want)
			}
		})
	}
}

func TestFindRoot(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(root, "demo", "deep")
	for _, dir := range []string{inside, filepath.Join(root, "uservice1"), filepath.Join(root, "uservice2"), filepath.Join(root, "uservice3")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "go.work"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := FindRoot(inside); err == nil || !strings.Contains(err.Error(), inside) || !strings.Contains(err.Error(), "clone") {
		t.Errorf("with a service missing: %v", err)
	}
	if err := os.Mkdir(filepath.Join(root, "uservice4"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, inside} {
		if got, err := FindRoot(dir); got != root || err != nil {
			t.Errorf("from %s: %q %v", dir, got, err)
		}
	}
}

func TestServicesOfTheTable(t *testing.T) {
	var order []string
	for _, level := range levels(Services()) {
		var names []string
		for _, s := range level {
			names = append(names, s.Name)
		}
		order = append(order, strings.Join(names, "+"))
	}
	if got := strings.Join(order, " then "); got != "uservice2+uservice4 then uservice1+uservice3" {
		t.Errorf("order %s", got)
	}
	a := Services()
	a[0].Env["X"] = "changed"
	if Services()[0].Env["X"] != "" {
		t.Error("the table can be changed by a caller")
	}
}

func TestAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()

	t.Run("a taken default moves and says so", func(t *testing.T) {
		l, moved, err := Listen("gateway", "gateway-addr", Addr{Value: addr}, "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if !strings.Contains(moved, addr+" is taken") || !strings.Contains(moved, l.Addr().String()) {
			t.Error(moved)
		}
	})
	t.Run("a taken address that was asked for is an error that names it", func(t *testing.T) {
		_, _, err := Listen("gateway", "gateway-addr", Addr{Value: addr, Asked: true}, "")
		if err == nil || !strings.Contains(err.Error(), "gateway cannot listen on "+addr+": it is taken") || !strings.Contains(err.Error(), "-gateway-addr") {
			t.Errorf("%v", err)
		}
	})
	t.Run("any port is free", func(t *testing.T) {
		l, moved, err := Listen("gateway", "gateway-addr", Any, addr)
		if err != nil || moved != "" {
			t.Fatal(moved, err)
		}
		l.Close()
	})
	for in, ok := range map[string]bool{
		"127.0.0.1:8000": true, ":0": true, "[::1]:1": true, "localhost:80": true,
		"8000": false, "127.0.0.1": false, "127.0.0.1:": false, "127.0.0.1:http": false, "127.0.0.1:65536": false, "127.0.0.1:-1": false,
		"127.0.0.1:99999999999999999999": false,
	} {
		if err := CheckAddr(in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
	for in, want := range map[string]string{
		"0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", ":1": "127.0.0.1:1", "127.0.0.2:1": "127.0.0.2:1", "[::1]:1": "[::1]:1",
	} {
		if got := reachable(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestTempDirRemovesWhatKilledRunsLeft(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	left := filepath.Join(tmp, tempPrefix+"999999999-1") // no system has that many processes
	mine := filepath.Join(tmp, fmt.Sprintf("%s%d-1", tempPrefix, os.Getpid()))
	other := filepath.Join(tmp, tempPrefix+"notes")
	for _, dir := range []string{left, mine, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("the folder of a run that is gone is still there")
	}
	for _, d := range []string{dir, mine, other} {
		if _, err := os.Stat(d); err != nil {
			t.Error(err)
		}
	}
}

func TestBuildSaysWhatIsWrong(t *testing.T) {
	t.Run("no go command", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if err := Build(t.Context(), t.TempDir(), t.TempDir(), nil, false); err == nil || !strings.Contains(err.Error(), "https://go.dev/dl/") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a source that does not compile", func(t *testing.T) {
		root, out := t.TempDir(), t.TempDir()
		work := "go 1.26.0\n"
		for _, s := range Services() {
			dir := filepath.Join(root, s.Name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			work += "use ./" + s.Name + "\n"
			for name, text := range map[string]string{"go.mod": "module example.com/" + s.Name + "\n\ngo 1.26.0\n", "main.go": "package main\n\nfunc main() { wrong }\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(root, "go.work"), []byte(work), 0o644); err != nil {
			t.Fatal(err)
		}
		err := Build(t.Context(), root, out, nil, false)
		if err == nil || !strings.Contains(err.Error(), "undefined: wrong") {
			t.Errorf("%v", err)
		}
		if left, _ := os.ReadDir(out); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}
