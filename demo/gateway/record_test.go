package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// recorded sends one request through a gateway, and returns what it recorded, what arrived
// upstream, and what it logged.
func recorded(t *testing.T, o Options, req *http.Request) (r ledger.Record, arrived http.Header, log map[string]any) {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived = r.Header
		w.Header().Set("Traceresponse", "00-a-b-01")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer up.Close()
	u, err := url.Parse(up.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.Routes = map[string]*url.URL{"a.localhost": u}
	if req.URL.Path == "/down" {
		up.Close()
	}
	calls := 0
	o.Record = func(got ledger.Record) { calls++; r = got }
	var b strings.Builder
	o.Logger = slog.New(slog.NewJSONHandler(&b, nil))
	New(o).ServeHTTP(httptest.NewRecorder(), req)
	if calls != 1 {
		t.Fatalf("recorded %d times", calls)
	}
	if err := json.Unmarshal([]byte(b.String()), &log); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	return r, arrived, log
}

func TestWhatPassesIsRecorded(t *testing.T) {
	provider := sdktrace.NewTracerProvider()
	request := func(url, uberTraceID string) *http.Request {
		req := httptest.NewRequest(http.MethodGet, url, nil)
		req.Header.Set("Cookie", "secret")
		req.Header.Set("User-Agent", "somebody")
		if uberTraceID != "" {
			req.Header.Set("Uber-Trace-Id", uberTraceID)
		}
		return req
	}
	const ours, unsampled = "0000000000000000000000000000000a:000000000000000b:0:1", "0000000000000000000000000000000a:000000000000000b:0:0"
	for _, tc := range []struct {
		name          string
		url, header   string
		tamper        func(http.Header)
		service       string
		status        int
		arrived, left string // values of uber-trace-id; - for headers that were not recorded at all
		response      string
		own           bool // the record names a span of the gateway
	}{
		{name: "a trace that starts here", url: "http://A.localhost.:8000/x?y=z", service: "a", status: 418, left: "started", response: "00-a-b-01", own: true},
		{name: "a trace that goes on", url: "http://a.localhost/", header: ours, service: "a", status: 418, arrived: ours, left: "continued", response: "00-a-b-01", own: true},
		{name: "an unsampled trace goes on unsampled", url: "http://a.localhost/", header: unsampled, service: "a", status: 418, arrived: unsampled,
			left: "continued", response: "00-a-b-01", own: true},
		{name: "a malformed header starts a trace", url: "http://a.localhost/", header: "not-a-trace", service: "a", status: 418, arrived: "not-a-trace",
			left: "started", response: "00-a-b-01", own: true},
		{name: "a header that is dropped", url: "http://a.localhost/", header: ours, tamper: func(h http.Header) { h.Del("Uber-Trace-Id") }, service: "a", status: 418,
			arrived: ours, response: "00-a-b-01", own: true},
		{name: "a header that is changed", url: "http://a.localhost/", tamper: func(h http.Header) { h.Set("Uber-Trace-Id", "x") }, service: "a", status: 418,
			left: "x", response: "00-a-b-01", own: true},
		{name: "an unknown host", url: "http://b.localhost/", header: ours, status: 404, arrived: ours, left: "-", own: true},
		{name: "an upstream that is down", url: "http://a.localhost/down", service: "a", status: 502, left: "started", own: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{Propagator: jaeger.Jaeger{}, TracerProvider: provider, Tamper: tc.tamper}
			req := request(tc.url, tc.header)
			r, arrived, log := recorded(t, o, req)
			if r.Service != tc.service || r.Status != tc.status || r.TraceResponse != tc.response || r.Name != "gateway" || r.Time.IsZero() || r.Duration <= 0 ||
				r.Method != "GET" || r.Host != req.Host || r.Path != req.URL.Path || r.Query != req.URL.RawQuery || r.Agent != "somebody" {
				t.Errorf("%+v", r)
			}
			if got := r.Arrived["uber-trace-id"]; got != tc.arrived || len(r.Arrived) > 1 {
				t.Errorf("arrived: %v", r.Arrived)
			}
			got := r.Left["uber-trace-id"]
			switch tc.left {
			case "-":
				if r.Left != nil {
					t.Errorf("left: %v", r.Left)
				}
			case "started":
				if !strings.HasPrefix(got, r.TraceID+":") || strings.Contains(got, r.SpanID) {
					t.Errorf("left: %q", got)
				}
			case "continued":
				if !strings.HasPrefix(got, ours[:33]) || got == tc.header || !strings.HasSuffix(got, tc.header[len(ours)-4:]) {
					t.Errorf("left: %q", got)
				}
			default:
				if got != tc.left || r.Left == nil {
					t.Errorf("left: %v", r.Left)
				}
			}
			if arrived != nil && arrived.Get("Uber-Trace-Id") != got {
				t.Errorf("what left is %q, what arrived upstream %q", got, arrived.Get("Uber-Trace-Id"))
			}
			if (r.TraceID != "" && r.SpanID != "") != tc.own {
				t.Errorf("own span %q of %q", r.SpanID, r.TraceID)
			}
			// The log says the same.
			said := fmt.Sprint(log["arrived"], log["left"], log["traceresponse"])
			var left any
			if r.Left != nil {
				left = r.Left
			}
			var response any
			if r.TraceResponse != "" {
				response = r.TraceResponse
			}
			if want := fmt.Sprint(r.Arrived, left, response); said != want {
				t.Errorf("logged %s, want %s", said, want)
			}
		})
	}
}
