package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestExplorerAlone(t *testing.T) {
	tempoAPI := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ready") }))
	defer tempoAPI.Close()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + nobody.Addr().String()
	nobody.Close()
	for _, tc := range []struct {
		name           string
		tempo, gateway string
		said           []string
	}{
		{"both are there", tempoAPI.URL, tempoAPI.URL, nil},
		{"neither is there", dead, dead, []string{"-tempo: no trace store answers at " + dead, "-gateway: no gateway answers at " + dead, "the page starts all the same"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, in := io.Pipe()
			var stderr lockedBuffer
			done := make(chan int, 1)
			go func() {
				done <- runHere(ctx, nil, in, &stderr, "explorer", "-tempo", tc.tempo, "-gateway", tc.gateway, "-addr", "127.0.0.1:0")
				in.Close()
			}()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			page := strings.Fields(line)[1]
			if res := get(t, page+"/", ""); res.StatusCode != 200 {
				t.Errorf("the page: %s", res.Status)
			}
			if res := get(t, page+"/api/ledger", ""); res.StatusCode != 404 {
				t.Errorf("the ledger, which is not here: %s", res.Status)
			}
			for _, want := range tc.said {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("it does not say %q: %s", want, &stderr)
				}
			}
			if tc.said == nil && stderr.String() != "" {
				t.Errorf("it says %s", &stderr)
			}
			cancel()
			if code := <-done; code != 0 {
				t.Errorf("exit code %d: %s", code, &stderr)
			}
		})
	}
}
