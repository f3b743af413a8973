package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// BenchmarkRequest asks the whole program for its page over loopback, with the mocks at zero and
// all processors busy. It is the same file in all services, so that benchstat can put the plain
// ones beside the instrumented ones. Each step adds to the one before it, unsampled apart. Settings
// of telemetry mean nothing to a plain service; it is measured in each step all the same.
//
// The client, the upstream and the back end are in this process too, and allocate next to nothing:
// what -benchmem counts is the service's. Run it with -run '^$', as OpenTelemetry's globals are
// otherwise the tests'.
func BenchmarkRequest(b *testing.B) {
	upstream, backEnd := nullUpstream(b), nullBackEnd(b)
	for _, step := range []struct {
		name     string
		sampled  string // the flag that the caller sends
		logLevel string
		env      map[string]string
	}{
		// The calls of the OpenTelemetry API with nothing behind them. First, because there is no
		// way back to it.
		{"off", "1", "error", map[string]string{"OTEL_SDK_DISABLED": "true"}},
		{"unsampled", "0", "error", nil},
		// Spans are made, and thrown away when they end: there is room for one, which waits for a
		// back end that is not there.
		{"recorded", "1", "error", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1",
			"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1000", "OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}},
		{"exported", "1", "error", nil},
		{"metrics", "1", "error", map[string]string{"OTEL_METRICS_EXPORTER": "prometheus"}},
		// The log on standard output, as in the run without Docker.
		{"logs", "1", "info", map[string]string{"OTEL_METRICS_EXPORTER": "prometheus"}},
		// The log over OTLP as well, as in the run with Docker.
		{"otlp-logs", "1", "info", map[string]string{"OTEL_METRICS_EXPORTER": "prometheus",
			"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": backEnd + "/v1/logs"}},
	} {
		env := map[string]string{
			"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "parentbased_always_on", "OTEL_METRICS_EXPORTER": "none",
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": backEnd, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "",
			"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BSP_MAX_QUEUE_SIZE": "8192", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2048",
			"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
			"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "", "OTEL_SDK_DISABLED": "",
		}
		maps.Copy(env, step.env)
		for name, value := range env {
			b.Setenv(name, value)
		}
		request := []byte("GET / HTTP/1.1\r\nHost: service.localhost\r\nUser-Agent: benchmark\r\nAccept: text/html\r\n" +
			"Uber-Trace-Id: 0123456789abcdef0123456789abcdef:0123456789abcdef:0:" + step.sampled + "\r\n\r\n")
		// Once for all runs of a step: OpenTelemetry's globals are meant to be set once.
		addr, stop := startBenchmarked(b, upstream, step.logLevel)
		b.Run(step.name, func(b *testing.B) {
			b.SetParallelism(8)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				if err := askAgain(addr, request, pb.Next); err != nil {
					b.Error(err)
				}
			})
		})
		if err := stop(); err != nil {
			b.Error(err)
		}
	}
}

// startBenchmarked starts the program, and returns its address when it is ready.
func startBenchmarked(b *testing.B, upstream, logLevel string) (addr string, stop func() error) {
	b.Helper()
	// What it logs goes where writing costs a system call, as it does in a container, and nothing
	// more.
	stdout, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0") // a program that logs errors only does not tell which port it took
	if err != nil {
		b.Fatal(err)
	}
	addr = free.Addr().String()
	free.Close()
	env := map[string]string{"ADDR": addr, "LOG_LEVEL": logLevel, "UPSTREAM": upstream,
		"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s",
		"TRACE_LINK": "http://127.0.0.1:3000/?trace={trace_id}"}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, nil, func(name string) string { return env[name] }, stdout, os.Stderr) }()
	for deadline := time.Now().Add(20 * time.Second); checkHealth(addr) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("it does not get ready")
		}
	}
	return addr, func() error {
		cancel()
		return errors.Join(<-done, stdout.Close())
	}
}

// askAgain sends a request and reads the page that answers it, over one connection, while next is true.
func askAgain(addr string, request []byte, next func() bool) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for answers := bufio.NewReader(conn); next(); {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		status, err := answers.ReadSlice('\n')
		if err == nil && !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("answered %q", status)
		}
		if err := skipTo("</html>\n", answers); err != nil {
			return err
		}
	}
	return nil
}

// skipTo reads up to a line, and allocates nothing.
func skipTo(last string, lines *bufio.Reader) error {
	for {
		if line, err := lines.ReadSlice('\n'); err != nil || string(line) == last {
			return err
		}
	}
}

// nullUpstream answers every request in the same way, and costs little more than the system calls.
func nullUpstream(b *testing.B) (url string) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 14\r\n\r\nHello, world!\n")
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for requests := bufio.NewReader(conn); err == nil; {
					if err := skipTo("\r\n", requests); err != nil {
						return
					}
					_, err = conn.Write(answer)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// nullBackEnd takes what is sent over OTLP, by gRPC or HTTP, and thanks for it without a look.
func nullBackEnd(b *testing.B) (url string) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		if r.ProtoMajor == 2 { // https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
			w.Header().Set("Trailer", "Grpc-Status")
			w.Write(make([]byte, 5)) // an empty message
			w.Header().Set("Grpc-Status", "0")
		}
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener)
	b.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String()
}
