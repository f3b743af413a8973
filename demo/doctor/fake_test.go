package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	testTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	otherTrace = "7ad6b7169203331beb2f4c1d5a1e4aa0"
)

// span is a row of what the fake stack sends to its trace back end. Ids are single digits.
type span struct {
	trace, service, name, kind string
	id, parent                 int
}

// seven is the trace of a request that goes well.
func seven() []span {
	return []span{
		{testTrace, "traefik", "GET", "server", 1, 0},
		{testTrace, "traefik", "ReverseProxy", "client", 2, 1},
		{testTrace, "uservice3", "handle_incoming_call", "server", 3, 2},
		{testTrace, "uservice3", "redis_call", "client", 4, 3},
		{testTrace, "uservice3", "other_uservice_call", "client", 5, 3},
		{testTrace, "uservice4", "handle_incoming_call", "server", 6, 5},
		{testTrace, "uservice4", "database_call", "client", 7, 6},
	}
}

// without leaves out the spans of services.
func without(services string) []span {
	return slices.DeleteFunc(seven(), func(s span) bool { return strings.Contains(services, s.service) })
}

// fake is a stack whose parts are handlers, at names such as http://tempo.test. What is wrong with
// it is set by its fields before the examination.
type fake struct {
	t         *testing.T
	collector *collector.Collector
	parts     map[string]*httptest.Server // by name in URLs, and "page"
	down      map[string]bool             // parts that refuse connections
	local     bool                        // a run without Docker

	status        int
	traceresponse string
	page          string // in place of the service's
	link          string // on it
	spans         []span
	failed        map[int]string // messages by the ids of spans that failed
	unanswered    bool           // the call of uservice4
	plain         []span         // of a request to uservice1

	// What is answered instead, a status first: by part and path, or by part, a question mark and a piece of
	// the query.
	answers map[string]string

	logged map[string]string // labels of uservice3's line in Loki; nil for no line
	ledger ledger.Answer
}

func newFake(t *testing.T) *fake {
	f := &fake{
		t: t, collector: collector.New(slog.New(slog.DiscardHandler)), parts: map[string]*httptest.Server{},
		down: map[string]bool{}, answers: map[string]string{
			"grafana/api/health": `200 {"database":"ok"}`,
			"prometheus/api/v1/query_exemplars": fmt.Sprintf(`200 {"data":[{"exemplars":[{"labels":{"trace_id":%q},`+
				`"timestamp":%d}]}]}`, testTrace, time.Now().Add(time.Minute).Unix()),
			"prometheus?up == 0": none,
			"loki?what=":         none,
		},
		status: 200, traceresponse: "00-" + testTrace + "-0000000000000003-01", spans: seven(),
		logged: map[string]string{"service_name": "uservice3", "trace_id": testTrace,
			"headers_uber_trace_id": testTrace + ":2:0:1"},
		link: "http://grafana.test/explore?panes=" + testTrace,
	}
	for name, h := range map[string]http.HandlerFunc{
		"gateway": f.gateway, "tempo": f.tempo, "prometheus": f.prometheus, "loki": f.loki,
		"grafana": f.viewer, "page": f.viewer,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			replacement := f.answers[name+r.URL.Path]
			for key, answer := range f.answers {
				part, piece, ok := strings.Cut(key, "?")
				if ok && part == name && strings.Contains(r.URL.Query().Get("query"), piece) {
					replacement = answer
				}
			}
			status, body, replaced := strings.Cut(replacement, " ")
			if !replaced {
				h(w, r)
				return
			}
			code, _ := strconv.Atoi(status)
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		f.parts[name] = s
	}
	return f
}

// none is what Prometheus and Loki answer when they find nothing.
const none = `200 {"data":{"result":[]}}`

// options are those of an examination that does not wait for long.
func (f *fake) options() Options {
	o := Options{
		Kind: Compose, Stack: "the compose stack", EBPF: f.plain != nil,
		URLs: map[string]string{topology.Gateway: "http://gateway.test", topology.Tempo: "http://tempo.test",
			prometheus: "http://prometheus.test", loki: "http://loki.test", grafana: "http://grafana.test"},
		wait: 200 * time.Millisecond, interval: 5 * time.Millisecond,
		transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			name, _, _ := strings.Cut(addr, ".")
			s := f.parts[name]
			if f.down[name] || s == nil {
				return nil, fmt.Errorf("dial tcp %s: connect: connection refused", addr)
			}
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		}},
	}
	if f.local {
		for i, s := range f.spans {
			f.spans[i].service = strings.Replace(s.service, "traefik", "gateway", 1)
		}
		o.Kind, o.Stack = Local, "the run of go run ./demo (process 42)"
		o.URLs = map[string]string{topology.Gateway: "http://gateway.test", topology.Tempo: "http://tempo.test",
			topology.Explorer: "http://page.test"}
	}
	return o
}

func (f *fake) gateway(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Host == "uservice1.localhost":
		f.send(f.plain)
		return
	case r.Host != "uservice3.localhost":
		http.NotFound(w, r)
		return
	}
	f.send(f.spans)
	if f.traceresponse != "" {
		w.Header().Set("traceresponse", f.traceresponse)
	}
	w.WriteHeader(f.status)
	if f.page == "" {
		f.page = "<title>Hello, world!</title><h1>Hello, world!</h1>" + f.trace()
	}
	fmt.Fprint(w, f.page)
}

// trace is the line of the page that names the trace.
func (f *fake) trace() string {
	return fmt.Sprintf(`<p>Trace: <code><a href="%s">%s</a></code></p>`, html.EscapeString(f.link), testTrace)
}

// send exports spans to the collector, as OTLP in JSON.
func (f *fake) send(spans []span) {
	now := time.Now().UnixNano()
	attribute := func(key, value string) any {
		return map[string]any{"key": key, "value": map[string]any{"stringValue": value}}
	}
	var resources []any
	for _, s := range spans {
		out := map[string]any{
			"traceId": s.trace, "spanId": fmt.Sprintf("%016x", s.id), "name": s.name,
			"kind":              map[string]int{"server": 2, "client": 3}[s.kind],
			"startTimeUnixNano": fmt.Sprint(now + int64(s.id)), "endTimeUnixNano": fmt.Sprint(now + 100 - int64(s.id)),
		}
		if s.parent > 0 {
			out["parentSpanId"] = fmt.Sprintf("%016x", s.parent)
		}
		if s.name == "other_uservice_call" {
			out["attributes"] = []any{attribute("http.request.method", "GET")}
			if !f.unanswered {
				out["attributes"] = []any{attribute("http.request.method", "GET"), attribute("http.response.status_code", "200")}
			}
		}
		if message, failed := f.failed[s.id]; failed {
			out["status"] = map[string]any{"code": 2, "message": message}
		}
		resource := []any{attribute("service.name", s.service)}
		if s.name == "GET /" { // as the kernel names it
			resource = append(resource, attribute("telemetry.distro.name", "opentelemetry-ebpf-instrumentation"))
		}
		resources = append(resources, map[string]any{"resource": map[string]any{"attributes": resource},
			"scopeSpans": []any{map[string]any{"spans": []any{out}}}})
	}
	body, _ := json.Marshal(map[string]any{"resourceSpans": resources})
	req := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	f.collector.OTLPHandler().ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		f.t.Errorf("the collector answers %d: %s", rec.Code, rec.Body)
	}
}

// fail lets uservice3 answer with an error that began in the first span of a path, and came up through
// the others.
func (f *fake) fail(status int, message string, path ...int) {
	f.status, f.failed = status, map[int]string{}
	for _, id := range path {
		f.failed[id] = ""
	}
	f.failed[path[0]] = message
	f.page = fmt.Sprintf(`<title>x</title><h1>%d %s</h1>`, status, http.StatusText(status)) + f.trace()
}

func (f *fake) tempo(w http.ResponseWriter, r *http.Request) {
	f.collector.APIHandler().ServeHTTP(w, r)
}

func (f *fake) prometheus(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, `{"data":{"result":[{"metric":{},"value":[1,"1"]}]}}`)
}

func (f *fake) loki(w http.ResponseWriter, _ *http.Request) {
	if f.logged == nil {
		fmt.Fprint(w, none[len("200 "):])
		return
	}
	labels, _ := json.Marshal(f.logged)
	fmt.Fprintf(w, `{"data":{"result":[{"stream":%s},{"stream":{"service_name":"uservice4","trace_id":%q,`+
		`"headers_uber_trace_id":"%[2]s:5:0:1"}}]}}`, labels, testTrace)
}

// viewer is Grafana, and the page of a run without Docker.
func (f *fake) viewer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api/ledger" {
		_ = json.NewEncoder(w).Encode(f.ledger)
	}
}
