package compare

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"example.com/grafana-tempo-go-demo/demo/process"
)

const (
	// roleVariable makes this test binary a service that behaves as told.
	roleVariable = "COMPARE_TEST_ROLE"
	// pidsVariable is a folder in which each process has a file while it runs.
	pidsVariable = "COMPARE_TEST_PIDS"
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if dir := os.Getenv(pidsVariable); dir != "" {
		file := filepath.Join(dir, strconv.Itoa(os.Getpid()))
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			panic(err)
		}
		defer os.Remove(file)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serveFake(ctx, role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveFake is a service: it passes requests on to an upstream, if it has one, and sends a span for
// each if it is an instrumented one.
func serveFake(ctx context.Context, role string) error {
	listener, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		return err
	}
	fmt.Printf(`{"msg":"listening","addr":%q}`+"\n", listener.Addr())
	var options []sdktrace.TracerProviderOption
	if os.Getenv("OTEL_SERVICE_NAME") != "" {
		exporter, err := otlptracegrpc.New(ctx)
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
	return &comparison{
		Options: Options{Rounds: 2, Messages: io.Discard},
		loads: []load{
			{name: "mocks at zero", env: noWait, connections: 2, duration: 300 * time.Millisecond},
			{name: "mocks as they are", connections: 3, duration: 300 * time.Millisecond},
		},
		hard: t.Context(),
		program: func(name string) process.Options {
			role := cmp.Or(roles[name], name)
			// The race detector waits for a second at a process's end unless told otherwise.
			return process.Options{Path: self, Env: []string{roleVariable + "=" + role, "GORACE=atexit_sleep_ms=0"}}
		},
	}
}

func TestBothPairsAreMeasuredInTurn(t *testing.T) {
	c := newComparison(t, nil)
	var messages bytes.Buffer
	c.Messages = &messages
	report, err := c.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shape := regexp.MustCompile(`^mocks at zero, 2 connections\n(  .*\n){5,6}mocks as they are, 3 connections\n(  .*\n){5,6}without load\n(  .*\n){1,2}$`)
	if !shape.MatchString(report.Figures) || len(report.Notes) > 0 {
		t.Errorf("%+v", report)
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
		"a service that answers with errors": {map[string]string{"uservice1": "failing"},
			[]string{"plain pair: 1 of 1 requests failed: 502 Bad Gateway."}},
		"a service that ends": {map[string]string{"uservice4": "dying"},
			[]string{"uservice4 ", "exit status 3: out of luck"}}, // by itself, or when it is stopped the same moment
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newComparison(t, test.roles).measure(t.Context())
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %s", err, want)
				}
			}
		})
	}
	c := newComparison(t, nil)
	c.program = func(string) process.Options { return process.Options{Path: "/nonexistent/service"} }
	if _, err := c.measure(t.Context()); err == nil || !strings.Contains(err.Error(), "start uservice2") {
		t.Errorf("a service that cannot be started: %v", err)
	}
}

func TestAnInterruptEndsEverything(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("interrupted")
	c := newComparison(t, nil)
	c.loads[0].duration = time.Hour
	pids := t.TempDir()
	program := c.program
	c.program = func(name string) process.Options {
		o := program(name)
		o.Env = append(o.Env, pidsVariable+"="+pids)
		return o
	}
	asked := make(chan struct{}, 1)
	c.Messages = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("zero, round 1")) {
			asked <- struct{}{}
		}
		return len(p), nil
	})
	go func() {
		<-asked
		cancel(because)
	}()
	if _, err := c.measure(ctx); !errors.Is(err, because) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(pids); err != nil || len(left) != 0 {
		t.Errorf("still there: %v, %v", left, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
