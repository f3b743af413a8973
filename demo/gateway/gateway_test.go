package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func TestRoutesByHostName(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "%s %s", req.Host, req.URL.RequestURI())
	}))
	for _, tc := range []struct {
		name, host string
		status     int
	}{
		{"the plain name", "uservice3.localhost", 200},
		{"with a port", "uservice3.localhost:8000", 200},
		{"in upper case", "USERVICE3.LocalHost", 200},
		{"with a trailing dot and a port", "uservice3.localhost.:8000", 200},
		{"another route", "uservice1.localhost", 200},
		{"another name", "uservice9.localhost", 404},
		{"the address", "127.0.0.1:8000", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, body := r.get(t, tc.host, "/a%2Fb?x=1&y=%zz", nil)
			if res.StatusCode != tc.status {
				t.Fatalf("got %d, want %d", res.StatusCode, tc.status)
			}
			if want := tc.host + " /a%2Fb?x=1&y=%zz"; tc.status == 200 && body != want {
				t.Errorf("the upstream saw %q, want %q", body, want)
			}
		})
	}
}

func TestForwardedHeadersAreTheGatewaysOwn(t *testing.T) {
	got := make(chan http.Header, 1)
	r := newRig(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { got <- req.Header }))
	r.get(t, "uservice3.localhost:8000", "/", http.Header{
		"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Server": {"evil"},
	})
	h := <-got
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "uservice3.localhost:8000", "X-Forwarded-Proto": "http",
		"X-Forwarded-Server": "gateway",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, h.Get(name), want)
		}
	}
}

func TestSpansAreNamedAndJudgedAsTraefiks(t *testing.T) {
	for _, tc := range []struct {
		name           string
		status         int
		server, client codes.Code
	}{
		{"success", 200, codes.Unset, codes.Unset},
		{"the client's mistake", 404, codes.Unset, codes.Error},
		{"the upstream's error", 500, codes.Error, codes.Error},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.status) }))
			r.get(t, "uservice3.localhost:8000", "/p?token=secret&a=b", http.Header{"X-Forwarded-For": {"192.0.2.1"}})
			spans := r.ended(t, 2)
			client, server := spans[0], spans[1]
			for _, want := range []struct {
				span sdktrace.ReadOnlySpan
				name string
				kind trace.SpanKind
				code codes.Code
			}{
				{server, "GET", trace.SpanKindServer, tc.server},
				{client, "ReverseProxy", trace.SpanKindClient, tc.client},
			} {
				s := want.span
				if s.Name() != want.name || s.SpanKind() != want.kind || s.Status().Code != want.code || len(s.Events()) > 0 {
					t.Errorf("%s %s %v, %d events", s.SpanKind(), s.Name(), s.Status(), len(s.Events()))
				}
				if attr(s, "http.response.status_code").AsInt64() != int64(tc.status) || attr(s, "http.request.method").AsString() != "GET" {
					t.Errorf("%s: %v", s.Name(), s.Attributes())
				}
				for _, kv := range s.Attributes() {
					if v := kv.Value.String(); strings.Contains(v, "secret") {
						t.Errorf("%s: %s is %q", s.Name(), kv.Key, v)
					}
				}
			}
			if client.Parent().SpanID() != server.SpanContext().SpanID() {
				t.Error("the client span is not under the server span")
			}
			for key, want := range map[string]string{
				"url.query": "a=REDACTED&token=REDACTED", "url.path": "/p", "url.scheme": "http",
				"server.address": "uservice3.localhost", "client.address": "127.0.0.1",
			} {
				if got := attr(server, key).AsString(); got != want {
					t.Errorf("server span: %s is %q, want %q", key, got, want)
				}
			}
		})
	}
}
