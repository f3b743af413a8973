package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is the program under test, started by its run function on a port of its own.
type process struct {
	url  string
	logs *logBuffer
	stop func() // ends the program and waits for it; may be called again
}

// start runs the program until the test ends, and returns when it listens. Settings are
// environment variables; those in startEnv hold first.
func start(t *testing.T, env map[string]string) *process {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	p := &process{logs: &logBuffer{}}
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx, []string{"-addr", "127.0.0.1:0"}, getenv(env), p.logs, p.logs); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	p.stop = func() {
		end()
		running.Wait()
	}
	t.Cleanup(p.stop)
	waitFor(t, "it to listen", func() bool { return len(p.logs.lines(t, "listening")) > 0 })
	p.url = "http://" + p.logs.lines(t, "listening")[0]["addr"].(string)
	return p
}

func getenv(env map[string]string) func(string) string {
	all := maps.Clone(startEnv)
	maps.Copy(all, env)
	return func(name string) string { return all[name] }
}

// get returns status and body of a GET.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// logBuffer keeps what was logged, for reading while the program still writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines returns the log lines with the given message.
func (b *logBuffer) lines(t *testing.T, message string) (found []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line is not JSON: %q", line)
		}
		if entry["msg"] == message {
			found = append(found, entry)
		}
	}
	return found
}

// waitFor polls until the condition holds, which takes no time on an idle machine.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
