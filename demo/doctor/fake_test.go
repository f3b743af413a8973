package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
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
	traceresponse              string // of the event "Got response!"
}

// seven is the trace of a request that goes well.
func seven() []span {
	return []span{
		{testTrace, "traefik", "GET", "server", 1, 0, ""},
		{testTrace, "traefik", "ReverseProxy", "client", 2, 1, ""},
		{testTrace, "uservice3", "handle_incoming_call", "server", 3, 2, ""},
		{testTrace, "uservice3", "redis_call", "client", 4, 3, ""},
		{testTrace, "uservice3", "other_uservice_call", "client", 5, 3, "00-" + testTrace + "-0000000000000006-01"},
		{testTrace, "uservice4", "handle_incoming_call", "server", 6, 5, ""},
		{testTrace, "uservice4", "database_call", "client", 7, 6, ""},
	}
}

// without leaves out the spans of services.
func without(spans []span, services ...string) (left []span) {
	for _, s := range spans {
		if !strings.Contains(strings.Join(services, " "), s.service) {
			left = append(left, s)
		}
	}
	return left
}

// fake is a stack whose parts are handlers, at names such as http://tempo.test. What is wrong with
// it is set by its fields before the visit.
type fake struct {
	t         *testing.T
	collector *collector.Collector
	listeners map[string]*httptest.Server
	down      map[string]bool // parts that refuse connections
	local     bool            // a run without Docker

	status        int
	traceresponse string
	page          string // in place of the service's
	spans         []span
	failed        map[int]string // messages by the ids of spans that failed

	searchable  bool
	tempoReady  int
	traceStatus int // of queries by id; 0 for what the collector answers

	noCalls, noEdges bool // span metrics that do not come
	stale            bool // they are there, and do not move
	flags            map[string]string
	exemplar         string // the trace id that the exemplar has; empty for none
	oldExemplar      bool   // it was there before the request
	noDurations      bool

	logged  map[string]string // structured metadata of the request's line; nil for no line
	other   bool              // other lines of uservice3 come in
	spanLog bool              // one that says that spans are not sent

	selfTracing bool
	own         []string // services with spans of their own, when asked
	lokiVersion string

	// With an override: what Prometheus has scraped of it.
	override string
	up       map[string]parts // by job
	never    bool             // no part that is down was ever up
	ago      time.Duration    // of the last scrape, beyond what collectors need to decide
	trouble  string           // of which the queries have this in them
	numbers  map[string]int   // by query

	ledger string // JSON

	root  fs.FS                     // of the machine, with -ebpf
	plain func(http.ResponseWriter) // answers for uservice1

	grafanaDB, link string
	dataSource      int    // what Grafana answers for Tempo's
	exploreTo       string // in place of an answer

	requests atomic.Int32
}

func newFake(t *testing.T) *fake {
	f := &fake{
		t: t, collector: collector.New(slog.New(slog.DiscardHandler)),
		listeners: map[string]*httptest.Server{}, down: map[string]bool{},
		status: 200, traceresponse: "00-" + testTrace + "-0000000000000003-01", spans: seven(),
		searchable: true, tempoReady: 200,
		flags:     map[string]string{"web.enable-remote-write-receiver": "true", "enable-feature": "exemplar-storage"},
		exemplar:  testTrace,
		logged:    map[string]string{"trace_id": testTrace, "headers_uber_trace_id": testTrace + ":2:0:1"},
		other:     true,
		grafanaDB: "ok", dataSource: 200,
	}
	f.link = `http://grafana.test/explore?schemaVersion=1&panes=` +
		url.QueryEscape(`{"aaa":{"datasource":"tempo","queries":[{"query":"`+testTrace+`","datasource":{"uid":"tempo"}}]}}`)
	for name, h := range map[string]http.HandlerFunc{
		"traefik": f.proxy, "tempo": f.tempo, "prometheus": f.prometheus, "loki": f.loki, "grafana": f.grafana, "page": f.grafana,
	} {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		f.listeners[name] = s
	}
	return f
}

// options are those of a visit that does not wait for long.
func (f *fake) options() Options {
	o := Options{
		Kind: Compose, Stack: "the compose stack",
		URLs: map[string]string{topology.Gateway: "http://traefik.test", topology.Tempo: "http://tempo.test",
			prometheus: "http://prometheus.test", loki: "http://loki.test", grafana: "http://grafana.test"},
		EBPF: f.root != nil, root: f.root, SelfTracing: f.selfTracing,
		Wait: 200 * time.Millisecond, interval: 5 * time.Millisecond,
		dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			name, _, _ := strings.Cut(addr, ".")
			s := f.listeners[name]
			if f.down[name] || s == nil {
				return nil, fmt.Errorf("dial tcp %s: connect: connection refused", addr)
			}
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}
	if f.local {
		for i, s := range f.spans {
			f.spans[i].service = strings.Replace(s.service, "traefik", "gateway", 1)
		}
		o.Kind, o.Stack = Local, "the run of go run ./demo (process 42)"
		o.URLs = map[string]string{topology.Gateway: "http://traefik.test", topology.Tempo: "http://tempo.test",
			topology.Explorer: "http://page.test"}
	}
	return o
}

func (f *fake) proxy(w http.ResponseWriter, r *http.Request) {
	if r.Host == "uservice1.localhost" && f.plain != nil {
		f.plain(w)
		return
	}
	if r.Host != "uservice3.localhost" {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	f.requests.Add(1)
	f.send(f.spans...)
	if f.traceresponse != "" {
		w.Header().Set("traceresponse", f.traceresponse)
	}
	w.WriteHeader(f.status)
	if f.page != "" {
		fmt.Fprint(w, f.page)
		return
	}
	fmt.Fprintf(w, `<title>Hello, world!</title><h1>Hello, world!</h1><p>Trace: <code><a href="%s">%s</a></code></p>`,
		strings.ReplaceAll(f.link, "&", "&amp;"), testTrace)
}

// send exports spans to the collector, as OTLP in JSON.
func (f *fake) send(spans ...span) {
	now := time.Now()
	var resources []any
	for _, s := range spans {
		parent := ""
		if s.parent > 0 {
			parent = fmt.Sprintf("%016x", s.parent)
		}
		var events []any
		if s.traceresponse != "" {
			events = []any{map[string]any{"name": "Got response!", "timeUnixNano": fmt.Sprint(now.UnixNano()),
				"attributes": []any{attribute("traceresponse", s.traceresponse)}}}
		}
		resource := []any{attribute("service.name", s.service)}
		if s.name == "GET /" { // as the kernel names it
			resource = append(resource, attribute("telemetry.distro.name", "opentelemetry-ebpf-instrumentation"))
		}
		resources = append(resources, map[string]any{
			"resource": map[string]any{"attributes": resource},
			"scopeSpans": []any{map[string]any{"spans": []any{map[string]any{
				"traceId": s.trace, "spanId": fmt.Sprintf("%016x", s.id), "parentSpanId": parent, "name": s.name,
				"kind":              map[string]int{"internal": 1, "server": 2, "client": 3}[s.kind],
				"startTimeUnixNano": fmt.Sprint(now.UnixNano() + int64(s.id)),
				"endTimeUnixNano":   fmt.Sprint(now.UnixNano() + 100 - int64(s.id)),
				"events":            events,
				"status":            f.statusOf(s.id),
			}}}},
		})
	}
	body, err := json.Marshal(map[string]any{"resourceSpans": resources})
	if err != nil {
		f.t.Error(err)
		return
	}
	req := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	f.collector.OTLPHandler().ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		f.t.Errorf("the collector answers %d: %s", rec.Code, rec.Body)
	}
}

func (f *fake) statusOf(id int) any {
	message, failed := f.failed[id]
	if !failed {
		return map[string]any{}
	}
	return map[string]any{"code": 2, "message": message}
}

// fail lets uservice3 answer with an error that began in one span and came up through all above it.
func (f *fake) fail(status int, sentence, message string, path ...int) {
	f.status, f.failed = status, map[int]string{}
	for i, id := range path {
		f.failed[id] = ""
		if i == 0 {
			f.failed[id] = message
		}
	}
	f.page = fmt.Sprintf(`<title>x</title><h1>%d %s</h1><p>%s</p><p>Ask again.</p><p>Trace: <a href="%s">%s</a></p>`,
		status, http.StatusText(status), sentence, strings.ReplaceAll(f.link, "&", "&amp;"), testTrace)
}

func attribute(key, value string) any {
	return map[string]any{"key": key, "value": map[string]any{"stringValue": value}}
}

func (f *fake) tempo(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/ready" && f.tempoReady != 200:
		http.Error(w, "Some services are not Running: Starting: 1", f.tempoReady)
	case r.URL.Path == "/status/services" && f.override == scale:
		fmt.Fprint(w, "| query-frontend  | Running |              |\n")
	case r.URL.Path == "/status/services":
		fmt.Fprint(w, "| distributor | Running | |\n| query-frontend | Running | |\n")
	case strings.HasPrefix(r.URL.Path, "/api/v2/traces/") && f.traceStatus != 0:
		http.Error(w, "error querying", f.traceStatus)
	case r.URL.Path == "/api/search" && !f.searchable && strings.Contains(r.URL.RawQuery, "service.name"):
		fmt.Fprint(w, `{"traces":[]}`)
	default:
		f.collector.APIHandler().ServeHTTP(w, r)
	}
}

func inData(w http.ResponseWriter, v any) {
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": v})
}

// sendOwn sends a span of a part itself, in the trace that the question names.
func (f *fake) sendOwn(r *http.Request, service string) {
	if parts := strings.Split(r.Header.Get("traceparent"), "-"); len(parts) == 4 && slices.Contains(f.own, service) {
		f.send(span{parts[1], service, "query", "server", len(service), 0, ""})
	}
}

func (f *fake) prometheus(w http.ResponseWriter, r *http.Request) {
	f.sendOwn(r, "prometheus")
	requests := int(f.requests.Load())
	vector := func(there bool, n int) {
		result := []any{}
		if there {
			result = append(result, map[string]any{"metric": map[string]string{}, "value": []any{1.0, fmt.Sprint(n)}})
		}
		inData(w, map[string]any{"resultType": "vector", "result": result})
	}
	query := r.URL.Query().Get("query")
	switch r.URL.Path {
	case "/api/v1/query":
		switch {
		case strings.Contains(query, "spanmetrics"):
			if f.stale {
				requests = 1
			}
			vector((requests > 0 || f.stale) && !f.noCalls, requests)
		case strings.Contains(query, "service_graph"):
			vector(requests > 0 && !f.noEdges, requests)
		case strings.HasPrefix(query, "min(timestamp(up)"):
			vector(true, int(time.Now().Add(10*time.Second-f.ago).Unix()))
		case strings.HasPrefix(query, "count(http_server"):
			vector(!f.noDurations, 2)
		default:
			n, known := f.scraped(query)
			vector(known, n)
		}
	case "/api/v1/scrape_pools":
		pools := map[string][]string{collectors: {"collector"}, scale: {"collector", "distributor"}}[f.override]
		inData(w, map[string]any{"scrapePools": append(pools, "uservice3")})
	case "/api/v1/query_exemplars":
		list := []any{}
		if f.exemplar != "" {
			at := time.Now()
			if f.oldExemplar {
				at = at.Add(-time.Minute)
			}
			list = append(list, map[string]any{"labels": map[string]string{"trace_id": f.exemplar},
				"timestamp": float64(at.UnixMilli()) / 1000})
		}
		inData(w, []any{map[string]any{"seriesLabels": map[string]string{"job": "uservice3"}, "exemplars": list}})
	case "/api/v1/status/flags":
		inData(w, f.flags)
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) loki(w http.ResponseWriter, r *http.Request) {
	f.sendOwn(r, "loki-all")
	if r.URL.Path == "/loki/api/v1/status/buildinfo" {
		fmt.Fprintf(w, `{"version":%q}`, f.lokiVersion)
		return
	}
	if r.URL.Path != "/loki/api/v1/query_range" {
		http.NotFound(w, r)
		return
	}
	query := r.URL.Query().Get("query")
	stream := func(labels map[string]string) {
		inData(w, map[string]any{"result": []any{map[string]any{"stream": labels, "values": []any{[]any{"1", "request"}}}}})
	}
	switch {
	case strings.Contains(query, "back end") && f.spanLog:
		stream(map[string]string{"endpoint": "http://127.0.0.1:1"})
	case strings.Contains(query, "trace_id") && f.logged != nil:
		stream(f.logged)
	case query == `{service_name="uservice3"}` && f.other:
		stream(map[string]string{})
	default:
		inData(w, map[string]any{"result": []any{}})
	}
}

func (f *fake) grafana(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api/ledger" && f.ledger != "" {
		fmt.Fprint(w, f.ledger)
		return
	}
	if r.URL.Path == "/api/health" {
		fmt.Fprintf(w, `{"database":%q,"version":"12.4.12"}`, f.grafanaDB)
		return
	}
	if r.URL.Path == "/explore" || strings.HasPrefix(r.URL.Path, "/trace/") {
		if f.exploreTo != "" {
			http.Redirect(w, r, f.exploreTo, http.StatusFound)
			return
		}
		fmt.Fprint(w, "<title>Grafana</title>")
		return
	}
	if uid, ok := strings.CutPrefix(r.URL.Path, "/api/datasources/proxy/uid/"); ok {
		if strings.HasPrefix(uid, "tempo/") {
			w.WriteHeader(f.dataSource)
		}
		return
	}
	http.NotFound(w, r)
}
