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
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	const ours, unsampled = "0000000000000000000000000000000a:000000000000000b:0:1", "0000000000000000000000000000000a:000000000000000b:0:0"
	for _, tc := range []struct {
		name        string
		url, header string
		tamper      func(http.Header)
		status      int
		left        string // uber-trace-id: what it begins with, or one of the words below
	}{
		{"a trace that starts here", "http://A.localhost.:8000/x?y=z", "", nil, 418, "started"},
		{"a trace that goes on", "http://a.localhost/", ours, nil, 418, "continued"},
		{"an unsampled trace goes on unsampled", "http://a.localhost/", unsampled, nil, 418, "continued"},
		{"a malformed header starts a trace", "http://a.localhost/", "not-a-trace", nil, 418, "started"},
		{"a header that is dropped", "http://a.localhost/", ours, func(h http.Header) { h.Del("Uber-Trace-Id") }, 418, ""},
		{"a header that is changed", "http://a.localhost/", "", func(h http.Header) { h.Set("Uber-Trace-Id", "x") }, 418, "x"},
		{"an unknown host", "http://b.localhost/", ours, nil, 404, "nothing"},
		{"an upstream that is down", "http://a.localhost/down", "", nil, 502, "started"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodGet, tc.url, nil)
			req.Header.Set("Cookie", "secret")
			req.Header.Set("User-Agent", "somebody")
			if tc.header != "" {
				req.Header.Set("Uber-Trace-Id", tc.header)
			}
			r, arrived, log := recorded(t, Options{Propagator: jaeger.Jaeger{}, TracerProvider: provider, Tamper: tc.tamper}, req)
			service, response := "a", ""
			if tc.status == http.StatusNotFound {
				service = ""
			}
			if tc.status == http.StatusTeapot {
				response = "00-a-b-01"
			}
			if r.Service != service || r.Status != tc.status || r.TraceResponse != response || r.Name != "gateway" || r.Time.IsZero() || r.Duration <= 0 ||
				r.Method != "GET" || r.Host != req.Host || r.Path != req.URL.Path || r.Query != req.URL.RawQuery || r.Agent != "somebody" ||
				r.TraceID == "" || r.SpanID == "" || r.Arrived["uber-trace-id"] != tc.header || len(r.Arrived) > 1 {
				t.Errorf("%+v", r)
			}
			got, ok := r.Left["uber-trace-id"], false
			switch tc.left {
			case "nothing":
				ok = r.Left == nil
			case "started":
				ok = strings.HasPrefix(got, r.TraceID+":") && !strings.Contains(got, r.SpanID)
			case "continued":
				ok = got != tc.header && strings.HasPrefix(got, tc.header[:33]) && strings.HasSuffix(got, tc.header[len(ours)-4:])
			default:
				ok = r.Left != nil && got == tc.left
			}
			if !ok || arrived != nil && arrived.Get("Uber-Trace-Id") != got {
				t.Errorf("left: %v, arrived upstream: %v", r.Left, arrived)
			}
			var want any = r.Left
			if r.Left == nil {
				want = nil
			}
			if log["traceresponse"] != nil && log["traceresponse"] != response || fmt.Sprint(log["arrived"], log["left"]) != fmt.Sprint(r.Arrived, want) {
				t.Errorf("logged %v", log)
			}
		})
	}
}
