package compare

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// roleVariable makes this test binary a process that is measured: "sink", or a service that behaves as told.
const roleVariable = "COMPARE_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if role == "sink" {
		err = ServeSink(ctx, os.Stdout)
	} else {
		err = serveFake(ctx, role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveFake is a service: it passes requests on to an upstream, if it has one, and sends a span for each if it is told
// where to.
func serveFake(ctx context.Context, role string) error {
	listener, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		return err
	}
	fmt.Printf(`{"msg":"listening","addr":%q}`+"\n", listener.Addr())
	var options []sdktrace.TracerProviderOption
	if endpoint := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); endpoint != "" {
		exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
		if err != nil {
			return err
		}
		options = append(options, sdktrace.WithBatcher(exporter, sdktrace.WithBlocking()))
	}
	provider := sdktrace.NewTracerProvider(options...)
	tracer := provider.Tracer("fake")
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(options) > 0 {
			_, span := tracer.Start(r.Context(), "x")
			defer span.End()
		}
		fmt.Println(`{"msg":"request"}`)
		switch role {
		case "failing":
			http.Error(w, "no", http.StatusBadGateway)
			return
		case "dying":
			fmt.Fprintln(os.Stderr, "out of luck")
			os.Exit(3)
		}
		if upstream := os.Getenv("UPSTREAM"); upstream != "" {
			res, err := http.Get(upstream)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if os.Getenv("REDIS_MIN") == "" { // the mocks as they are
			time.Sleep(20 * time.Millisecond)
		}
		io.WriteString(w, "Hello, world!")
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	<-ctx.Done()
	if err := server.Shutdown(context.Background()); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return provider.Shutdown(context.Background())
}

// newComparison measures fake services; roles has those that do not behave well, by name.
func newComparison(t *testing.T, roles map[string]string) *comparison {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_SERVICE_NAME", "of the shell")
	as := func(role string) *exec.Cmd {
		cmd := exec.Command(self)
		// The race detector waits for a second at a process's end unless told otherwise.
		cmd.Env = []string{roleVariable + "=" + role, "GORACE=atexit_sleep_ms=0"}
		return cmd
	}
	return &comparison{
		Options: Options{Rounds: 2, Duration: 300 * time.Millisecond, Concurrency: 2, Visitors: 3, Messages: io.Discard},
		pairs:   pairs(), hard: t.Context(), minMocked: 300 * time.Millisecond,
		command: func(name string) *exec.Cmd { return as(cmp.Or(roles[name], "service")) },
		sink:    func() *exec.Cmd { return as("sink") },
	}
}

func none(context.Context) error { return nil }

func TestBothPairsAreMeasuredInTurn(t *testing.T) {
	c := newComparison(t, nil)
	var messages bytes.Buffer
	c.Messages = &messages
	if err := c.measure(t.Context(), none); err != nil {
		t.Fatal(err)
	}
	if len(c.report.Loads) != 2 || len(c.report.Notes) > 1 {
		t.Fatalf("%d loads, notes %q", len(c.report.Loads), c.report.Notes)
	}
	for _, l := range c.report.Loads {
		for name, runs := range map[string]Runs{"plain": l.Plain, "instrumented": l.Instrumented} {
			if len(runs.Rounds) != 2 || len(runs.Latencies) != len(percents) {
				t.Errorf("%s, %s: %d rounds, %d percentiles", l.Name, name, len(runs.Rounds), len(runs.Latencies))
			}
			for _, r := range runs.Rounds {
				if r.Answered == 0 || len(r.Errors) > 0 || r.P50MS <= 0 || r.P50MS > r.P99MS || r.RequestsPerSecond <= 0 {
					t.Errorf("%s, %s: %+v", l.Name, name, r)
				}
				if (r.SpansLost != nil) != (name == "instrumented") || r.SpansLost != nil && *r.SpansLost != 0 {
					t.Errorf("%s, %s: lost %v", l.Name, name, r.SpansLost)
				}
			}
		}
	}
	if l := c.report.Loads[1]; l.Plain.Rounds[0].P50MS < 20 {
		t.Errorf("the mocks were not as they are: %+v", l.Plain.Rounds[0])
	}
	var steps []string
	for line := range strings.Lines(messages.String()) {
		if strings.Contains(line, "mocks at zero, round") {
			steps = append(steps, strings.Fields(line)[len(strings.Fields(line))-2])
		}
	}
	if want := []string{"plain", "instrumented", "instrumented", "plain"}; !slices.Equal(steps, want) {
		t.Errorf("the order was %v, want %v", steps, want)
	}
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	for name, test := range map[string]struct {
		roles map[string]string
		want  []string
	}{
		"a service that answers with errors": {map[string]string{"uservice1": "failing"}, []string{"plain pair answered nothing", "502 Bad Gateway"}},
		"a service that ends":                {map[string]string{"uservice4": "dying"}, []string{"uservice4 ended by itself", "exit status 3", "out of luck"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := newComparison(t, test.roles).measure(t.Context(), none)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %s", err, want)
				}
			}
		})
	}
	c := newComparison(t, nil)
	c.command = func(string) *exec.Cmd { return exec.Command("/nonexistent/service") }
	if err := c.measure(t.Context(), none); err == nil || !strings.Contains(err.Error(), "start uservice2") {
		t.Errorf("a service that cannot be started: %v", err)
	}
}

func TestAnInterruptEndsEverything(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("interrupted")
	c := newComparison(t, nil)
	c.Duration = time.Hour
	var started []*exec.Cmd
	command := c.command
	c.command = func(name string) *exec.Cmd {
		cmd := command(name)
		started = append(started, cmd)
		return cmd
	}
	asked := make(chan struct{}, 1)
	c.Messages = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("round 1")) {
			asked <- struct{}{}
		}
		return len(p), nil
	})
	go func() {
		<-asked
		cancel(because)
	}()
	if err := c.measure(ctx, none); !errors.Is(err, because) {
		t.Errorf("error %v", err)
	}
	for _, cmd := range started {
		if cmd.Process != nil && cmd.ProcessState == nil {
			t.Errorf("process %d is still there", cmd.Process.Pid)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestTheLoadCountsWhatItSees(t *testing.T) {
	stopped := httptest.NewServer(nil)
	stopped.Close()
	for name, test := range map[string]struct {
		serve http.HandlerFunc // nil: nobody listens
		want  string           // the error that is counted, or none
	}{
		"all is well":         {serve: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }},
		"an answer in pieces": {serve: func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); io.WriteString(w, "ok") }},
		"no keep-alive":       {serve: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }},
		"a failure":           {serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, want: "answered 503 Service Unavailable"},
		"no answer":           {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "connection closed without an answer"},
		"nobody":              {want: "connect: connection refused"},
		"another protocol":    {serve: func(w http.ResponseWriter, _ *http.Request) { hijack(w, "SSH-2.0-OpenSSH_9.9\r\n") }, want: "no HTTP answer"},
		"an answer cut off": {serve: func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
		}, want: "connection closed without an answer"},
		"hosts are named well": {serve: func(w http.ResponseWriter, r *http.Request) { checkHost(w, r, "x.localhost") }},
	} {
		t.Run(name, func(t *testing.T) {
			addr := stopped.Listener.Addr().String()
			if test.serve != nil {
				server := httptest.NewServer(test.serve)
				defer server.Close()
				addr = server.Listener.Addr().String()
			}
			res, err := load{addr: addr, host: "x.localhost", connections: 2, requests: 3, duration: time.Minute}.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want, answered := map[string]int64{}, int64(6)
			if test.want != "" {
				want[test.want], answered = 6, 0
			}
			if !maps.Equal(res.errors, want) || res.answered != answered || res.inTime != answered || res.latencies.TotalCount() != answered {
				t.Errorf("answered %d, in time %d, errors %v", res.answered, res.inTime, res.errors)
			}
		})
	}
}

func hijack(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		io.WriteString(conn, text)
		conn.Close()
	}
}

func checkHost(w http.ResponseWriter, r *http.Request, want string) {
	if r.Host != want {
		http.Error(w, r.Host, http.StatusBadRequest)
	}
}

func TestRequestsUnderWayAreWaitedFor(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	res, err := load{addr: server.Listener.Addr().String(), connections: 4, duration: time.Millisecond}.run(t.Context())
	if err != nil || res.answered != 4 || res.inTime != 0 || res.latencies.TotalCount() != 4 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestALoadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	if _, err := (load{addr: server.Listener.Addr().String(), connections: 4, duration: time.Hour}).run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSpansAreCounted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- ServeSink(ctx, in) }()
	lines := json.NewDecoder(out)
	var line sinkLine
	if err := lines.Decode(&line); err != nil || line.Msg != "listening" {
		t.Fatal(line, err)
	}
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpointURL("http://"+line.Addr))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithMaxExportBatchSize(100), sdktrace.WithBlocking()))
	for i := range 1234 {
		_, span := provider.Tracer(fmt.Sprint("scope ", i%3)).Start(t.Context(), "x")
		span.AddEvent("y")
		span.End()
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := lines.Decode(&line); err != nil || line.Msg != "received" || line.Spans != 1234 {
		t.Errorf("%+v, %v", line, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for name, export := range map[string]string{"empty": "", "cut off": "\x0a\x7f\x12", "no protobuf": "hello, world"} {
		if n := countSpans([]byte(export)); n != 0 {
			t.Errorf("%s: %d spans", name, n)
		}
	}
}

func TestLinesOfCodeAreCounted(t *testing.T) {
	for name, test := range map[string]struct {
		source string
		want   int
	}{
		"nothing":                   {"", 0},
		"comments and blanks":       {"// a\n\n/* b\nc */\n", 0},
		"code beside a comment":     {"package a // b\n\nvar x = 1 /* c */\n", 2},
		"a raw string of two lines": {"package a\nvar x = `1\n2`\n", 3},
		"braces count":              {"package a\nfunc f() {\n}\n", 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := codeLines([]byte(test.source)); got != test.want {
				t.Errorf("%d lines, want %d", got, test.want)
			}
		})
	}
	if _, _, err := countLines(t.TempDir()); err == nil {
		t.Error("a folder without Go files is no error")
	}
}

func TestBenchmarksAreRead(t *testing.T) {
	got := parseBenchmarks("goos: linux\npkg: example.com/demo/uservice1\ncpu: x\n" +
		"BenchmarkRequest/logs-2         \t   10000\t     57820 ns/op\t    8375 B/op\t      93 allocs/op\nPASS\n" +
		"pkg: example.com/demo/uservice3\nBenchmarkRequest/logs \t 1\t 1.5 ns/op\t 1 spans/s\t 7 B/op\t 2 allocs/op\nFAIL\n")
	want := map[string]allocation{"uservice1": {93, 8375}, "uservice3": {2, 7}}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	m := newMetric("x", "ms", []float64{1, 2, 4}, []float64{3, 4, 20})
	if m.Plain != 2 || m.Instrumented != 4 || *m.Ratio != (Spread{Median: 3, Min: 2, Max: 5}) {
		t.Errorf("%+v, %+v", m, m.Ratio)
	}
	if m := newMetric("modules", "count", []float64{0}, []float64{40}); m.Ratio != nil || m.Instrumented != 40 {
		t.Errorf("a ratio to nothing: %+v", m)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median %v", got)
	}
}

// sample is a report as it might be.
func sample() *Report {
	r := &Report{Machine: Machine{"linux", "amd64", 2, "go1.26"}, Rounds: 3, Answers: answers,
		Notes: []string{"uservice1 said <b>\x1b[31m"}}
	for n, name := range []string{"mocks at zero", "mocks as they are"} {
		l := Load{Name: name, Connections: 16}
		for i := range 3 {
			v := float64(1 + i + 10*n)
			l.Plain.Rounds = append(l.Plain.Rounds, Round{RequestsPerSecond: 1000 * v, P50MS: v, P90MS: 2 * v, P99MS: 3 * v, CPUMicros: 50})
			l.Instrumented.Rounds = append(l.Instrumented.Rounds, Round{RequestsPerSecond: 400 * v, P50MS: 2 * v, P90MS: 5 * v, P99MS: 9 * v, CPUMicros: 140 + v})
		}
		for _, percent := range percents {
			l.Plain.Latencies = append(l.Plain.Latencies, Percentile{percent, percent / 10})
			l.Instrumented.Latencies = append(l.Instrumented.Latencies, Percentile{percent, percent / 5})
		}
		l.compareRounds()
		r.Loads = append(r.Loads, l)
	}
	r.Still = []Metric{newMetric("modules needed", "count", []float64{0}, []float64{44}), newMetric("binaries, both", "bytes", []float64{13e6}, []float64{38e6})}
	return r
}

func TestTheTextFitsItsWidth(t *testing.T) {
	for _, o := range []TextOptions{{}, {Width: 120}, {ASCII: true}} {
		var b strings.Builder
		if err := sample().Text(&b, o); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > max(o.Width, 80) {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		for _, want := range []string{"requests per second", "0.40", "2.00", "Was it Redis?", "modules needed", "<b>"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%q is missing in\n%s", want, b.String())
			}
		}
		if strings.Contains(b.String(), "memory") {
			t.Error("memory is there though nobody knows it")
		}
		if strings.Contains(b.String(), "\x1b") || o.ASCII && strings.ContainsFunc(b.String(), func(r rune) bool { return r > 126 }) {
			t.Errorf("unprintable: %q", b.String())
		}
	}
}

func TestThePlotIsWellFormedAndNeedsNothingElse(t *testing.T) {
	for _, format := range []string{"svg", "html"} {
		var b bytes.Buffer
		if err := sample().Plot(&b, format); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		picture := text[strings.Index(text, "<svg"):]
		picture = picture[:strings.Index(picture, "</svg>")+len("</svg>")]
		for decoder := xml.NewDecoder(strings.NewReader(picture)); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, ""), "http") || strings.Contains(text, "NaN") || strings.Contains(text, "<b>") {
			t.Errorf("%s: %s", format, text)
		}
	}
	empty := &Report{}
	if err := errors.Join(empty.Plot(io.Discard, "html"), empty.Text(io.Discard, TextOptions{})); err != nil {
		t.Error(err)
	}
	for file, want := range map[string]string{"a.svg": "svg", "a.HTML": "html", "a.htm": "html", "a.png": "", "svg": ""} {
		if got, err := PlotFormat(file); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

func TestTheBarNeverWraps(t *testing.T) {
	p := newProgress(io.Discard, false, 10*time.Second)
	p.step(strings.Repeat("x", 100), 4*time.Second)
	p.step(strings.Repeat("y", 100), 6*time.Second)
	begun := p.begun
	for after, want := range map[time.Duration]string{0: " 40 %", 3 * time.Second: " 70 %", time.Hour: "100 %"} {
		if bar := p.bar(begun.Add(after)); len(bar) > 78 || !strings.Contains(bar, want) {
			t.Errorf("after %s: %s", after, bar)
		}
	}
	p.end()
}

func TestServicesSeeOnlyWhatIsMeantForThem(t *testing.T) {
	got := environment([]string{"PATH=/bin", "OTEL_SERVICE_NAME=evil", "ADDR=evil", "GOGC=200", "HTTP_PROXY=evil"},
		map[string]string{"GOGC": "400"}, map[string]string{"ADDR": "a"})
	if want := []string{"PATH=/bin", "GOGC=200", "ADDR=a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
