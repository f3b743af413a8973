package gateway

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// maxOwnPage bounds an answer of the gateway's own, in bytes, whatever it was asked.
const maxOwnPage = 8 << 10

// upstreamFunc stands in for the network behind the gateway.
type upstreamFunc func(*http.Request) (*http.Response, error)

func (f upstreamFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var (
	// The bytes that net/http's server lets through in a Host header, and in the value of any
	// other.
	hostBytes   = regexp.MustCompile(`^[!$%&'()*+,\-.:;=@\[\]_~0-9A-Za-z]*$`)
	headerBytes = regexp.MustCompile(`^[\t\x20-\x7e\x80-\xff]*$`)

	links = regexp.MustCompile(`(?m)^  http://(.*)/$`)
)

// FuzzHostAndQuery asks the gateway for whatever may stand in a Host header, a path, a query and a
// propagation header. A known host's request goes on as it came; the answer that any other one gets
// has the same links.
func FuzzHostAndQuery(f *testing.F) {
	for _, seed := range [][4]string{
		{"uservice1.localhost", "/", "fail=redis&slow=database", "0123456789abcdef0123456789abcdef:1111111111111111:0:1"},
		{"USERVICE3.localhost.:8000", "/a%2fb//c", "a=b;c=d&%zz", ":::"}, {"a:b:c", "/", "", ""},
		{"evil<script>alert(1)</script>", "/", "<script>", "<script>"}, {"x:@evil.example", "/", "", ""}, {"x:80/\"><b>", "/", "", ""},
		{strings.Repeat("long", 4<<10), "/", strings.Repeat("&", 1<<10), strings.Repeat(":", 1<<10)},
		{"uservice1.localhost:\xff", "/\xff", "\xff=\x00", "\xff"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	var passed *http.Request
	var record ledger.Record
	var logs bytes.Buffer
	upstream := &url.URL{Scheme: "http", Host: "127.0.0.1:9"}
	g := New(Options{
		Routes:         map[string]*url.URL{"uservice1.localhost": upstream, "uservice3.localhost": upstream},
		TracerProvider: sdktrace.NewTracerProvider(),
		Propagator:     jaeger.Jaeger{},
		Logger:         slog.New(slog.NewJSONHandler(&logs, nil)),
		Record:         func(r ledger.Record) { record = r },
	})
	g.last.next = upstreamFunc(func(r *http.Request) (*http.Response, error) {
		passed = r
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("the service's")), Request: r}, nil
	})
	ask := func(host, path, query, header string) *httptest.ResponseRecorder {
		passed = nil
		logs.Reset()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host, r.URL.Path, r.URL.RawQuery = host, path, query
		r.Header.Set("Uber-Trace-Id", header)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w
	}
	f.Fuzz(func(t *testing.T, host, path, query, header string) {
		if !headerBytes.MatchString(header) || !strings.HasPrefix(path, "/") { // net/http refuses it before any of this
			return
		}
		w := ask(host, path, query, header)
		sent := len(host) + len(path) + len(query) + len(header)
		if logs.Len() > 4<<10+3*6*sent {
			t.Errorf("%d bytes of log for %d bytes of request", logs.Len(), sent)
		}
		if g.proxies[topology.HostName(host)] != nil {
			if !hostBytes.MatchString(host) {
				return
			}
			if w.Code != http.StatusOK || passed == nil || w.Body.String() != "the service's" {
				t.Fatalf("answered %d %s", w.Code, w.Body)
			}
			if passed.Host != host || passed.URL.Host != upstream.Host || passed.URL.Path != path || passed.URL.RawQuery != strings.ReplaceAll(query, ";", "&") {
				t.Errorf("%q %q %q goes on as %q %s", host, path, query, passed.Host, passed.URL)
			}
			if left := passed.Header.Get("Uber-Trace-Id"); !strings.HasPrefix(left, record.TraceID+":") || len(left) != 53 {
				t.Errorf("%q goes on as %q in trace %s", header, left, record.TraceID)
			}
			return
		}
		if w.Code != http.StatusNotFound || passed != nil {
			t.Fatalf("%q was answered with %d", host, w.Code)
		}
		page := w.Body.String()
		if len(page) > maxOwnPage {
			t.Errorf("a page of %d bytes for a host name of %d", len(page), len(host))
		}
		var linked []string
		for _, link := range links.FindAllStringSubmatch(page, -1) {
			linked = append(linked, topology.HostName(link[1]))
		}
		if !slices.Equal(linked, []string{"uservice1.localhost", "uservice3.localhost"}) {
			t.Errorf("the answer for %q links to %v", host, linked)
		}
	})
}
