package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestExplorerAlone(t *testing.T) {
	ready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ready") }))
	defer ready.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for there, said := range map[string][]string{
		ready.URL: nil,
		gone.URL:  {"-tempo: no trace store answers at " + gone.URL, "-gateway: no gateway answers at " + gone.URL, "the page starts all the same"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, in := io.Pipe()
		var stderr lockedBuffer
		done := make(chan int, 1)
		go func() {
			done <- runHere(ctx, nil, in, &stderr, "explorer", "-tempo", there, "-gateway", there, "-addr", "127.0.0.1:0")
			in.Close()
		}()
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		if res := get(t, strings.Fields(line)[1]+"/", ""); res.StatusCode != http.StatusOK {
			t.Errorf("the page: %s", res.Status)
		}
		for _, want := range said {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("it does not say %q: %s", want, &stderr)
			}
		}
		if said == nil && stderr.String() != "" {
			t.Errorf("it says %s", &stderr)
		}
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("exit code %d: %s", code, &stderr)
		}
	}
}
