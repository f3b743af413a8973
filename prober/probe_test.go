package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

func TestWhatAGoodAnswerIsAndWhyOthersAreNot(t *testing.T) {
	stopped := httptest.NewServer(nil)
	stopped.Close()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	breaks := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, status) }
	}
	for name, test := range map[string]struct {
		serve  http.HandlerFunc
		expect string
		cause  string // empty: a good answer
		want   string // part of the error
	}{
		"a good answer":    {serve: says(200, "Hello, world!"), expect: "world"},
		"anything will do": {serve: says(200, "whatever")},
		"no answer":        {serve: hang, cause: causeTimeout, want: "deadline"},
		"an answer that stops in its middle": {serve: func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			hang(w, r)
		}, cause: causeTimeout, want: "deadline"},
		"nobody there":             {cause: causeRefused, want: "refused"},
		"a connection that breaks": {serve: breaks, cause: causeBroken, want: "EOF"},
		"no HTTP": {serve: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
			conn.Close()
		}, cause: causeBroken, want: "malformed"},
		"switching protocols": {serve: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			io.Copy(io.Discard, conn)
		}, cause: causeStatus, want: "101"},
		"another status": {serve: says(502, ""), cause: causeStatus, want: "502 Bad Gateway"},
		"a redirect, which is not followed": {serve: http.RedirectHandler("http://127.0.0.1:9/", http.StatusFound).ServeHTTP,
			cause: causeStatus, want: "302"},
		"a page of something else": {serve: says(200, "It works!"), expect: "world", cause: causeBody, want: `lacks "world"`},
		"an answer cut off": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		}, cause: causeBody, want: "unexpected EOF"},
		"an answer without end": {serve: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}, cause: causeBody, want: "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			url := stopped.URL
			if test.serve != nil {
				proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Host != "a.localhost" || r.Method != http.MethodGet || r.URL.Path != "/" {
						t.Errorf("asked for %s %s of %s", r.Method, r.URL, r.Host)
					}
					test.serve(w, r)
				}))
				defer proxy.Close()
				url = proxy.URL
			}
			limit := 20 * time.Second
			if test.cause == causeTimeout {
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := newProbe(config{proxy: url, expect: test.expect}).check(ctx, "a.localhost")
			if err == nil && test.cause == "" {
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "a.localhost: ") {
				t.Fatalf("error %v, want %q in it", err, test.want)
			}
			if cause := causeOf(err); cause != test.cause {
				t.Errorf("the cause of %v is %s, want %s", err, cause, test.cause)
			}
		})
	}
}

func TestEveryErrorHasOneOfTheCauses(t *testing.T) {
	op := func(op string, err error) error { return &net.OpError{Op: op, Err: err} }
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"an unknown name":         {op("dial", &net.DNSError{Err: "no such host", IsNotFound: true}), causeDNS},
		"a resolver that is slow": {op("dial", &net.DNSError{Err: "i/o timeout", IsTimeout: true}), causeTimeout},
		"no route":                {op("dial", errors.New("no route to host")), causeRefused},
		"a reset":                 {op("read", errors.New("connection reset by peer")), causeBroken},
		"anything else":           {errors.New("anything"), causeBroken},
	} {
		if cause := causeOf(test.err); cause != test.want || !slices.Contains(causes, cause) {
			t.Errorf("%s: %s, want %s", name, cause, test.want)
		}
	}
}

func TestTheProxyReceivesTheTrace(t *testing.T) {
	spans := record(t)
	propagated := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		propagated = r.Header.Get("uber-trace-id")
	}))
	defer proxy.Close()
	conf := config{proxy: proxy.URL, hosts: hostList{"a.localhost"}, timeout: 20 * time.Second}
	newTestController(t, conf, newProbe(conf).check, io.Discard).reconcile(t.Context(), item{"a.localhost", triggerStart})
	const want = `
internal reconcile: Ok attempt=1 target=a.localhost trigger=start
  client target_call: Unset http.request.method=GET http.response.status_code=200
`
	if tree := describe(spans.GetSpans()); tree != want[1:] {
		t.Fatalf("spans:\n%swant:%s", tree, want)
	}
	client := spans.GetSpans()[0]
	if !slices.Contains(client.Attributes, attribute.String("url.full", "http://a.localhost/")) {
		t.Errorf("target_call, the span that ends first, has %v", client.Attributes)
	}
	if propagated != client.SpanContext.TraceID().String()+":"+client.SpanContext.SpanID().String()+":0:1" {
		t.Errorf("propagated %q from %v", propagated, client.SpanContext)
	}
}
