package doctor

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/term"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// sick is a stack that is broken in one way. What is said of it is in testdata/broken.txtar, and nothing if
// all is well.
type sick struct {
	name  string
	wrong func(*fake)
}

var cases = []sick{
	{"all is well", func(*fake) {}},
	{"a run without Docker is well", withoutDocker},

	{"the proxy is down", func(f *fake) { f.down["gateway"] = true }},
	{"another program has the proxys port", func(f *fake) { f.traceresponse, f.page = "", "<h1>It works!</h1>" }},
	{"uservice3 is down", says("gateway/", "502 Bad Gateway")},
	{"uservice4 is down", func(f *fake) {
		f.fail(502, "dial tcp 10.0.0.4:7878: connect: connection refused", 5, 3, 2, 1)
		f.spans, f.unanswered = f.spans[:5], true
	}},
	{"the database of uservice4 fails", func(f *fake) { f.fail(502, "the database is on fire", 7, 6, 5, 3, 2, 1) }},
	{"the database of uservice4 fails and it cannot export", func(f *fake) {
		f.fail(502, "answered 500", 5, 3, 2, 1)
		f.spans = f.spans[:5]
	}},

	{"an unknown program is on the way", func(f *fake) {
		f.spans[5].parent = 8
		f.spans = append(f.spans, span{testTrace, "orders", "GET /orders/{id}", "server", 8, 5})
	}},
	{"an unknown program is called in place of uservice4", func(f *fake) {
		f.spans = append(f.spans[:5], span{testTrace, "orders", "GET /orders/{id}", "server", 8, 5})
	}},

	{"tracing is off", func(f *fake) { f.traceresponse, f.page = "", "<h1>Hi</h1><p>Trace: not sampled</p>" }},
	{"the trace is not sampled", func(f *fake) {
		unsampled(f)
		f.logged["headers_uber_trace_id"] = testTrace + ":2:0:0"
	}},
	{"uservice3 does not sample", unsampled},
	{"who does not sample is unknown", func(f *fake) {
		unsampled(f)
		f.logged = nil
	}},

	{"targets are down", func(f *fake) {
		f.answers["prometheus?up == 0"] = `200 {"data":{"result":[{"metric":{"who":"distributor at 10.0.0.7:3200 (down)"}},` +
			`{"metric":{"who":"querier (nothing has this name)"}}]}}`
	}},

	{"Tempo is down", func(f *fake) { f.down["tempo"] = true }},
	{"Tempo is still starting", says("tempo/ready", "503 Some services are not Running")},
	{"all behind the proxy is down", func(f *fake) {
		f.down["tempo"], f.down["prometheus"], f.down["loki"], f.down["grafana"] = true, true, true, true
	}},

	{"uservice3 reads another propagator", ownTrace},
	{"the header is damaged on the way", func(f *fake) {
		ownTrace(f)
		f.logged["headers_uber_trace_id"] = strings.ReplaceAll(testTrace+":2:0:1", ":", "%3A")
	}},
	{"no header arrives", func(f *fake) {
		ownTrace(f)
		delete(f.logged, "headers_uber_trace_id")
		f.logged["headers_accept"] = "*/*"
	}},
	{"what arrives is unknown", func(f *fake) {
		ownTrace(f)
		f.logged = nil
	}},
	{"the proxy sends no header in a run without Docker", func(f *fake) {
		tell(f, ledger.Hop{To: "uservice3", Action: ledger.NotReceived, Says: "uservice3 received none."})
	}},
	{"uservice4 reads another propagator in a run without Docker", func(f *fake) {
		tell(f, ledger.Hop{To: "uservice3", Action: ledger.Continued},
			ledger.Hop{To: "uservice4", Action: ledger.IgnoredFormat, Says: "uservice4 ignored it."})
	}},

	{"no span arrives", func(f *fake) { f.spans = nil }},
	{"uservice3 cannot export and says so", func(f *fake) {
		f.spans = without("uservice3")
		f.answers["loki?what="] = `200 {"data":{"result":[{"stream":{"endpoint":"http://127.0.0.1:1"},` +
			`"values":[["1","telemetry does not reach the back end; and more"]]}]}}`
	}},
	{"uservice3 could not export for a while", func(f *fake) {
		f.spans = without("uservice3")
		f.answers["loki?what="] = `200 {"data":{"result":[{"stream":{"endpoint":"http://127.0.0.1:1"},` +
			`"values":[["1","telemetry reaches the back end again"]]}]}}`
	}},
	{"uservice3 says in a run without Docker that it cannot export", func(f *fake) {
		lacks(f, "uservice3", ledger.Telemetry{Vain: "http://127.0.0.1:1"})
	}},
	{"uservice4 started again in a run without Docker", func(f *fake) {
		lacks(f, "uservice4", ledger.Telemetry{Started: time.Now().Add(time.Hour)})
	}},
	{"the store was away for a while in a run without Docker", func(f *fake) {
		lacks(f, "uservice3", ledger.Telemetry{Back: time.Now().Add(time.Hour)})
	}},
	{"uservice4 sends nothing in a run without Docker", func(f *fake) { lacks(f, "uservice4", ledger.Telemetry{}) }},
	{"the proxy cannot export", func(f *fake) { f.spans = without("traefik") }},
	{"a span of uservice3 is lost", func(f *fake) { f.spans = slices.Delete(f.spans, 4, 5) }},
	{"uservice3 has no service.name", func(f *fake) {
		for i := range f.spans {
			f.spans[i].service = strings.Replace(f.spans[i].service, "uservice3", "unknown_service:uservice3", 1)
		}
	}},

	{"the search does not find it", says("tempo/api/search", `200 {"traces":[]}`)},
	{"Prometheus answers without end of brackets", says("prometheus/api/v1/query", "200 "+strings.Repeat("[", 6<<20))},
	{"Prometheus has no span metrics", says("prometheus?spanmetrics", none)},
	{"exemplars are old", says("prometheus/api/v1/query_exemplars",
		`200 {"data":[{"exemplars":[{"labels":{"trace_id":"1"},"timestamp":1}]}]}`)},
	{"Loki has no line of the trace", func(f *fake) { f.logged = nil }},
	{"Grafana has no database", says("grafana/api/health", `200 {"database":"failing"}`)},
	{"a data source cannot reach its back end", says("grafana"+sources+"tempo/api/echo", "502 bad")},
	{"Grafana wants a login", says("grafana/explore", "302 Found")},
	{"the page has no link", func(f *fake) { f.link = "" }},
	{"the link leads elsewhere", func(f *fake) { f.link = strings.Replace(f.link, "grafana.test", "moved.test", 1) }},

	{"the kernel watches the plain pair", func(f *fake) { watched(f, "uservice1", "uservice2") }},
	{"the kernel sees nothing of uservice2", func(f *fake) { watched(f, "uservice1") }},
}

// says lets a part answer otherwise; see fake.
func says(path, answer string) func(*fake) { return func(f *fake) { f.answers[path] = answer } }

func withoutDocker(f *fake) {
	tell(f, ledger.Hop{To: "uservice3", Action: ledger.Continued}, ledger.Hop{To: "uservice4", Action: ledger.Continued})
}

func unsampled(f *fake) {
	f.traceresponse = strings.TrimSuffix(f.traceresponse, "1") + "0"
	f.spans = nil
}

// ownTrace puts uservice3 and what it calls into a trace of its own.
func ownTrace(f *fake) {
	f.spans[0].trace, f.spans[1].trace, f.spans[2].parent = otherTrace, otherTrace, 0
	f.logged["headers_uber_trace_id"] = otherTrace + ":2:0:1"
}

// tell is a run without Docker whose ledger has these hops.
func tell(f *fake, hops ...ledger.Hop) {
	f.local, f.link = true, "http://page.test/trace/"+testTrace
	f.ledger.Requests = []ledger.Request{{Hops: hops}}
}

// lacks is a run without Docker in which a service took part in the trace, and sent no spans.
func lacks(f *fake, service string, says ledger.Telemetry) {
	withoutDocker(f)
	f.spans = without(service)
	f.ledger.Services = map[string]ledger.Telemetry{service: says}
}

// watched is a stack whose kernel makes spans of services.
func watched(f *fake, services ...string) {
	f.plain = []span{{otherTrace, "traefik", "GET", "server", 1, 0}}
	for i, name := range services {
		f.plain = append(f.plain, span{otherTrace, name, "GET /", "server", 2 + i, 1 + i})
	}
}

func TestTheRightLinkIsNamed(t *testing.T) {
	const golden = "testdata/broken.txtar"
	archive, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, file := range archive.Files {
		want[file.Name] = string(file.Data)
	}
	got := make([]strings.Builder, len(cases))
	t.Run("cases", func(t *testing.T) {
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				c.wrong(f)
				report, err := Run(t.Context(), f.options())
				first, _, _ := strings.Cut(want[c.name], ": ")
				if err != nil || report.FirstBroken != first && !*update || report.OK != (report.FirstBroken == "") {
					t.Errorf("the first broken link is %q, ok=%t (%v); want %q", report.FirstBroken, report.OK, err, first)
				}
				for _, l := range report.Links {
					if l.State == Broken {
						fmt.Fprintf(&got[i], "%s: %s\n", l.Name, l.Detail)
					}
					for _, cause := range l.Causes {
						fmt.Fprintf(&got[i], "  %s\n    %s\n", cause.Why, cause.Do)
					}
				}
				if text := got[i].String(); text != want[c.name] && !*update || strings.Contains(text, "template:") {
					t.Errorf("what is broken has changed (-update writes %s):\n%s", golden, text)
				}
			})
		}
	})
	if *update {
		archive.Files = nil
		for i, c := range cases {
			archive.Files = append(archive.Files, txtar.File{Name: c.name, Data: []byte(got[i].String())})
		}
		archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return len(f.Data) == 0 })
		if err := os.WriteFile(golden, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryCauseSaysWhyAndWhatToDo(t *testing.T) {
	for _, kind := range []Kind{Compose, Local} {
		for _, template := range causes().Templates() {
			o := Options{Kind: kind, URLs: map[string]string{"explorer": "http://127.0.0.1:3000"}}
			c := advice{o, "gateway", "uservice3 uservice4"}.cause(cause(template.Name()))
			if c.Why == "" || c.Do == "" || strings.Contains(c.Why+c.Do, "<no value>") || strings.Contains(c.Why, "template:") {
				t.Errorf("%s, %s: %+v", kind, template.Name(), c)
			}
		}
	}
}

func TestTheReportForPeople(t *testing.T) {
	for _, c := range []sick{
		{"a report of a stack that is well", withoutDocker},
		{"a report of a stack that is broken", func(f *fake) {
			f.spans = nil
			f.down["loki"], f.down["grafana"] = true, true
		}},
	} {
		f := newFake(t)
		c.wrong(f)
		o := f.options()
		o.Note = "2 runs are up.\n"
		var text bytes.Buffer
		if _, err := RunText(t.Context(), o, &text, false); err != nil {
			t.Fatal(err)
		}
		took := regexp.MustCompile(`(?m)^(  (?:ok    |BROKEN)  ).{8}`)
		got := took.ReplaceAllString(text.String(), "$1    TIME")
		golden := "testdata/" + strings.ReplaceAll(c.name, " ", "-") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || got != strings.ReplaceAll(string(want), "\r\n", "\n") {
			t.Errorf("the text has changed (-update writes %s; %v):\n%s", golden, err, got)
		}
		closed, w := io.Pipe()
		closed.Close()
		if _, err := RunText(t.Context(), o, w, false); err == nil {
			t.Error("a report that nobody gets is no error")
		}
	}
}

func TestAnInterruptEndsItAtOnceAndSaysWhere(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	f.parts["tempo"] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush() // and a body without end
		cancel(stop)
		<-r.Context().Done()
	}))
	defer f.parts["tempo"].Close()
	report, err := Run(ctx, f.options())
	if !errors.Is(err, stop) || !strings.Contains(err.Error(), linkStore) || report.TraceID != testTrace || report.OK {
		t.Errorf("error is %v, want one that names the link and the cause; the report is %+v", err, report)
	}
}

func TestATerminalIsToldWhatIsWaitedFor(t *testing.T) {
	var text bytes.Buffer
	p := &printer{w: &text, live: true}
	p.waiting("exemplar", "at once @", 500*time.Millisecond)
	p.waiting("exemplar", "Prometheus scrapes every 15 s", 12*time.Second)
	got := text.String()
	if !strings.Contains(got, "12 s") || !strings.Contains(got, "scrapes") || strings.ContainsAny(got, "\n@") {
		t.Errorf("waiting shows %q", got)
	}
	p.finished(Link{Name: "exemplar", State: Broken, Detail: "a \x1b[31m trick"})
	if got := text.String(); !strings.Contains(got, term.Red+"BROKEN") || strings.Contains(got, "\x1b[31m") {
		t.Errorf("a broken link shows %q", got)
	}
}

func TestAPasswordIsNotShown(t *testing.T) {
	f := newFake(t)
	f.down["tempo"] = true
	o := f.options()
	o.URLs["tempo"] = "http://me:secret@tempo.test"
	var text strings.Builder
	report, err := RunText(t.Context(), o, &text, false)
	if said := fmt.Sprint(text.String(), report); err != nil || report.OK || strings.Contains(said, "secret") {
		t.Errorf("%v %s", err, said)
	}
}
