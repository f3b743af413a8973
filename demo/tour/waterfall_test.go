package tour

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

func TestDraw(t *testing.T) {
	broken := demo()
	failed(broken[6], "connection refused by a server that has a long name")
	failed(broken[5], "")
	hole := []*tempo.Span{
		span("1", "", "gateway", "GET", 0, 1000), answered(span("2", "1", "gateway", "ReverseProxy", 0, 1000)),
		span("4", "3", "uservice4", "handle_incoming_call", 200, 900), span("5", "4", "uservice4", "database_call", 200, 900),
	}
	for _, tc := range []struct {
		name  string
		spans []*tempo.Span
		width int
		want  string
	}{
		{"the demo's request", demo(), 80, `
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
		{"errors in words, narrow", broken, 56, `
trace 0af7651916cd43dd8448eb211c80319c  2 of 7 spans failed  1.71 s
                                            0         1.71 s
GET                      gateway    1.71 s  ████████████████
└─ ReverseProxy          gateway    1.70 s  ████████████████
   └─ handle_incoming_…  uservice3  1.70 s  ████████████████
      ├─ redis_call      uservice3  150 ms  █
      └─ other_uservic…  uservice3  1.55 s   ███████████████
         └─ handle_inc…  uservice4  1.55 s   ███████████████
            │  ERROR
            └─ databas…  uservice4  1.55 s   ███████████████
               ERROR: connection refused by a server that
               has a long name
`},
		{"hostile names", []*tempo.Span{failed(span("1", "", "a\nb", "\x1b[2J\u202Egnp\xff", 0, 0), "\a\r")}, 60, `
trace 0af7651916cd43dd8448eb211c80319c  1 of 1 span failed  0 ms
                      0                                 0 ms
�[2J�gnp�  a�b  0 ms  ▏
ERROR: ��
`},
		{"wide characters keep the columns", []*tempo.Span{span("1", "", "服务", "调用", 0, 1000), span("2", "1", "a", "e\u0301", 0, 500)}, 60, `
trace 0af7651916cd43dd8448eb211c80319c  2 spans  1.00 s
                    0                                 1.00 s
调用  服务  1.00 s  ████████████████████████████████████████
└─ é  a     500 ms  ████████████████████
`},
		{"a dead exporter leaves a hole, less what is known", hole, 80, `
trace 0af7651916cd43dd8448eb211c80319c  4 spans  1.00 s
                                         0                                1.00 s
GET                   gateway    1.00 s  ███████████████████████████████████████
└─ ReverseProxy       gateway    1.00 s  ███████████████████████████████████████
   └─ unexplained                300 ms  ░░░░░░░░                           ░░░░
handle_incoming_call  uservice4  700 ms          ███████████████████████████
│  (its parent is not here)
└─ database_call      uservice4  700 ms          ███████████████████████████
`},
		{"nobody for a while", []*tempo.Span{span("1", "", "a", "first", 0, 600), span("2", "1", "b", "later", 800, 1000)}, 60, `
trace 0af7651916cd43dd8448eb211c80319c  2 spans  1.00 s
                        0                             1.00 s
first        a  600 ms  ██████████████████████
└─ later     b  200 ms                               ███████
unexplained     200 ms                        ░░░░░░░
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := "\n" + draw(build(tc.spans...), tc.width, false); got != tc.want {
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
	for i := range 10_000 { // in a long chain
		spans = append(spans, span(string(rune(0x10000+i)), spans[len(spans)-1].SpanID, "a", "level", 0, 10))
	}
	for _, width := range []int{0, 60, 61, 160} {
		text := draw(build(spans...), width, false)
		for i, line := range strings.Split(text, "\n") {
			if i > 0 && term.Columns(line) > max(width, minWidth) {
				t.Fatalf("width %d: %d columns in %q", width, term.Columns(line), line)
			}
		}
	}
}

func TestColourIsOnlyAdded(t *testing.T) {
	spans := demo()
	failed(spans[4], "no")
	plain, coloured := draw(build(spans...), 80, false), draw(build(spans...), 80, true)
	stripped := coloured
	for _, seq := range append([]string{term.Reset, term.Red, term.Faint}, colours...) {
		stripped = strings.ReplaceAll(stripped, seq, "")
	}
	if stripped == coloured || stripped != plain {
		t.Errorf("got\n%s", stripped)
	}
}
