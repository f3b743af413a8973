package waterfall

import (
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/term"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// build explains a trace of spans.
func build(spans ...*tempo.Span) *story.Trace {
	return story.Tell(tempo.NewTrace("0af7651916cd43dd8448eb211c80319c", spans), story.Options{})
}

// span makes a span by its times in milliseconds.
func span(id, parent, service, name string, from, to float64) *tempo.Span {
	at := func(ms float64) time.Time { return epoch.Add(time.Duration(ms * float64(time.Millisecond))) }
	return &tempo.Span{SpanID: id, ParentID: parent, Service: service, Name: name, Start: at(from), End: at(to), Status: "unset"}
}

// answered makes a span a client's, whose HTTP call was answered.
func answered(s *tempo.Span) *tempo.Span {
	s.Kind, s.Attributes = "client", map[string]any{"http.response.status_code": int64(200)}
	return s
}

func failed(s *tempo.Span, message string) *tempo.Span {
	s.Status, s.StatusMessage = "error", message
	return s
}

// demo is the shape of one request to uservice3.
func demo() []*tempo.Span {
	return []*tempo.Span{
		span("1", "", "gateway", "GET", 0, 1710),
		span("2", "1", "gateway", "ReverseProxy", 1, 1709),
		span("3", "2", "uservice3", "handle_incoming_call", 2, 1708),
		span("4", "3", "uservice3", "redis_call", 2, 152),
		span("5", "3", "uservice3", "other_uservice_call", 152, 1707),
		span("6", "5", "uservice4", "handle_incoming_call", 154, 1706),
		span("7", "6", "uservice4", "database_call", 155, 1705.5),
	}
}

func TestRender(t *testing.T) {
	broken := demo()
	failed(broken[6], "connection refused by a server that has a long name")
	failed(broken[5], "")
	deep := []*tempo.Span{span("0", "", "a", "root", 0, 10)}
	for i := range 12 {
		deep = append(deep, span(string(rune('A'+i)), deep[i].SpanID, "a", "level", 0, 10))
	}
	hole := []*tempo.Span{
		span("1", "", "gateway", "GET", 0, 1000), answered(span("2", "1", "gateway", "ReverseProxy", 0, 1000)),
		span("4", "3", "uservice4", "handle_incoming_call", 200, 900), span("5", "4", "uservice4", "database_call", 200, 900),
	}
	outside := []*tempo.Span{
		span("1", "", "gateway", "GET", 0, 1000), answered(span("2", "1", "gateway", "ReverseProxy", 0, 1000)),
		span("3", "2", "uservice1", "GET /", 0, 1000), span("4", "3", "uservice1", "processing", 0, 1000),
		answered(span("5", "4", "uservice1", "GET", 250, 1000)),
	}
	for _, s := range outside[2:] {
		s.Resource = map[string]any{"telemetry.distro.name": "opentelemetry-ebpf-instrumentation"}
	}

	for _, tc := range []struct {
		name  string
		spans []*tempo.Span
		o     Options
		want  string
	}{
		{"the demo's request", demo(), Options{}, `
trace 0af7651916cd43dd8448eb211c80319c  7 spans  1.71 s
                                                     0                    1.71 s
GET                               gateway    1.71 s  ███████████████████████████
└─ ReverseProxy                   gateway    1.70 s  ███████████████████████████
   └─ handle_incoming_call        uservice3  1.70 s  ███████████████████████████
      ├─ redis_call               uservice3  150 ms  ██
      └─ other_uservice_call      uservice3  1.55 s    █████████████████████████
         └─ handle_incoming_call  uservice4  1.55 s    █████████████████████████
            └─ database_call      uservice4  1.55 s    █████████████████████████
`},
		{"errors in words, narrow, without Unicode", broken, Options{Width: 56, ASCII: true}, `
trace 0af7651916cd43dd8448eb211c80319c  2 of 7 spans failed  1.71 s
                                        0         1.71 s
GET                  gateway    1.71 s  ================
'ReverseProxy        gateway    1.70 s  ================
 'handle_incoming_~  uservice3  1.70 s  ================
  |redis_call        uservice3  150 ms  =
  'other_uservice_~  uservice3  1.55 s   ===============
   'handle_incomin~  uservice4  1.55 s   ===============
    |ERROR
    'database_call   uservice4  1.55 s   ===============
     ERROR: connection refused by a server that has a
     long name
`},
		{"seen from outside as far as uservice1", outside, Options{}, `
trace 0af7651916cd43dd8448eb211c80319c  5 spans  1.00 s
                                               0                          1.00 s
GET                         gateway    1.00 s  █████████████████████████████████
└─ ReverseProxy             gateway    1.00 s  █████████████████████████████████
   └─ GET /                 uservice1  1.00 s  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
      └─ processing         uservice1  1.00 s  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
         └─ GET             uservice1  750 ms          ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
            └─ unexplained             750 ms          ░░░░░░░░░░░░░░░░░░░░░░░░░
▒ seen from outside, by the kernel: what happened inside is unexplained
`},
		{"hostile names", []*tempo.Span{failed(span("1", "", "a\nb", "\x1b[2J\u202Egnp\xff", 0, 0), "\a\r")}, Options{Width: 40}, `
trace 0af7651916cd43dd8448eb211c80319c  1 of 1 span failed  0 ms
                       0            0 ms
�[2J�gnp�   a�b  0 ms  ▏
ERROR: ��
`},
		{"wide characters keep the columns", []*tempo.Span{span("1", "", "服务", "调用", 0, 1000), span("2", "1", "a", "e\u0301", 0, 500)}, Options{Width: 48}, `
trace 0af7651916cd43dd8448eb211c80319c  2 spans  1.00 s
                          0               1.00 s
调用        服务  1.00 s  ██████████████████████
└─ é        a     500 ms  ███████████
`},
		{"a deep trace keeps its names", deep[:11], Options{Width: 40}, `
trace 0af7651916cd43dd8448eb211c80319c  11 spans  10.0 ms
                        0        10.0 ms
root        a  10.0 ms  ████████████████
└level      a  10.0 ms  ████████████████
 └level     a  10.0 ms  ████████████████
  └level    a  10.0 ms  ████████████████
   └level   a  10.0 ms  ████████████████
    └level  a  10.0 ms  ████████████████
…   └level  a  10.0 ms  ████████████████
…   └level  a  10.0 ms  ████████████████
…   └level  a  10.0 ms  ████████████████
…   └level  a  10.0 ms  ████████████████
…   └level  a  10.0 ms  ████████████████
`},
		{"a dead exporter leaves a hole, less what is known", hole, Options{}, `
trace 0af7651916cd43dd8448eb211c80319c  4 spans  1.00 s
                                         0                                1.00 s
GET                   gateway    1.00 s  ███████████████████████████████████████
└─ ReverseProxy       gateway    1.00 s  ███████████████████████████████████████
   └─ unexplained                300 ms  ░░░░░░░░                           ░░░░
handle_incoming_call  uservice4  700 ms          ███████████████████████████
│  (its parent is not here)
└─ database_call      uservice4  700 ms          ███████████████████████████
`},
		{"parents in a circle, in microseconds", []*tempo.Span{span("1", "2", "a", "one", 0, 0.5), span("2", "1", "a", "two", 0, 0.25)}, Options{Width: 50, ASCII: true}, `
trace 0af7651916cd43dd8448eb211c80319c  2 spans  500 us
                       0                    500 us
one         a  500 us  ===========================
|  (its parent is below it)
'- two      a  250 us  ==============
`},
		{"nobody for a while", []*tempo.Span{span("1", "", "a", "first", 0, 600), span("2", "1", "b", "later", 800, 1000)}, Options{Width: 50, ASCII: true}, `
trace 0af7651916cd43dd8448eb211c80319c  2 spans  1.00 s
                        0                   1.00 s
first        a  600 ms  ================
'- later     b  200 ms                       =====
unexplained     200 ms                  ?????
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// Go's raw strings cannot hold the corner of ASCII, a backquote.
			got := "\n" + strings.ReplaceAll(Render(build(tc.spans...), tc.o), "`", "'")
			if got != tc.want {
				t.Errorf("got%s\nwant%s", got, tc.want)
			}
		})
	}
}

func TestLinesKeepToTheWidth(t *testing.T) {
	spans := demo()
	failed(spans[4], strings.Repeat("a long story ", 50))
	spans[5].Name = strings.Repeat("very_long_name_", 20)
	spans[5].Service = strings.Repeat("very_long_service_", 20)
	for width := range 200 {
		limit := max(width, minWidth)
		if width == 0 {
			limit = term.DefaultWidth
		}
		for i, line := range strings.Split(Render(build(spans...), Options{Width: width}), "\n") {
			if i > 0 && term.Columns(line) > limit {
				t.Fatalf("width %d: %d columns in %q", width, term.Columns(line), line)
			}
		}
	}
}

func TestColourIsOnlyAdded(t *testing.T) {
	spans := demo()
	failed(spans[4], "no")
	tr := build(spans...)
	plain, coloured := Render(tr, Options{}), Render(tr, Options{Color: true})
	stripped := coloured
	for _, seq := range append([]string{term.Reset, term.Red, term.Faint}, colours...) {
		stripped = strings.ReplaceAll(stripped, seq, "")
	}
	if stripped == coloured || stripped != plain {
		t.Errorf("got\n%s", stripped)
	}
}

func TestManySpansInALongChain(t *testing.T) {
	spans := []*tempo.Span{span("0", "", "a", "root", 0, 10)}
	for i := range 10_000 {
		spans = append(spans, span(string(rune(0x10000+i)), spans[i].SpanID, "a", "level", 0, 10))
	}
	if n := strings.Count(Render(build(spans...), Options{}), "\n"); n != 10_001+2 {
		t.Errorf("%d lines", n)
	}
}
