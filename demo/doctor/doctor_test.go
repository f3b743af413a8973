package doctor

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// sick is a stack that is broken in one way, with the link that has to be named first.
type sick struct {
	name  string
	wrong func(*fake)
	first string // empty: all is well
}

var cases = []sick{
	{"all is well", func(*fake) {}, ""},
	{"a run without Docker is well", withoutDocker, ""},

	{"the proxy is down", func(f *fake) { f.down["traefik"] = true }, linkGateway},
	{"nothing runs without Docker", func(f *fake) {
		f.local = true
		f.down["traefik"], f.down["tempo"], f.down["page"] = true, true, true
	}, linkGateway},
	{"another program has the proxys port", func(f *fake) { f.traceresponse, f.page = "", "<h1>It works!</h1>" }, linkGateway},
	{"the proxy knows no such host", func(f *fake) { f.traceresponse, f.status, f.page = "", 404, "404 page not found" }, linkGateway},
	{"uservice3 is down", func(f *fake) { f.traceresponse, f.status, f.page = "", 502, "Bad Gateway" }, linkGateway},
	{"uservice4 is down", uservice4Down, linkGateway},
	{"uservice4 is down in a run without Docker", func(f *fake) {
		withoutDocker(f)
		uservice4Down(f)
	}, linkGateway},
	{"uservice4 is down and tracing is off", func(f *fake) {
		f.traceresponse, f.status, f.page = "", 502, "<h1>502 Bad Gateway</h1><p>Trace: not sampled</p>"
	}, linkGateway},
	{"the database of uservice4 fails", func(f *fake) {
		f.fail(502, "The service behind this one did not answer well.", "the database is on fire", 7, 6, 5, 3, 2, 1)
	}, linkGateway},
	{"the database of uservice4 fails and it cannot export", func(f *fake) {
		f.fail(502, "The service behind this one did not answer well.", "answered 500", 5, 3, 2, 1)
		f.spans = f.spans[:5]
	}, linkGateway},
	{"Redis of uservice3 fails", func(f *fake) {
		f.fail(500, "Redis did not answer.", "redis is on fire", 4, 3, 2, 1)
		f.spans = f.spans[:4]
	}, linkGateway},

	{"an unknown program is on the way", func(f *fake) {
		f.spans[5].parent = 8
		f.spans = append(f.spans, span{testTrace, "orders", "GET /orders/{id}", "server", 8, 5, ""})
	}, ""},
	{"an unknown program sends spans too", func(f *fake) {
		f.spans = append(f.spans, span{otherTrace, "orders", "GET /orders/{id}", "server", 8, 0, ""})
	}, ""},
	{"an unknown program is called in place of uservice4", func(f *fake) {
		f.spans = append(f.spans[:5], span{testTrace, "orders", "GET /orders/{id}", "server", 8, 5, ""})
		f.spans[4].traceresponse = ""
	}, linkSpans},
	{"uservice4 has another name", func(f *fake) { f.spans[5].service, f.spans[6].service = "orders", "orders" }, linkSpans},

	{"tracing is off", func(f *fake) {
		f.traceresponse = ""
		f.page = "<h1>Hello, world!</h1><p>Trace: <code>not sampled</code></p>"
	}, linkTraceID},
	{"the header traceresponse is stripped", func(f *fake) { f.traceresponse = "" }, linkTraceID},
	{"traceresponse is none", func(f *fake) {
		f.traceresponse = "00-00000000000000000000000000000000-0000000000000000-00"
	}, linkTraceID},
	{"the trace is not sampled", func(f *fake) {
		f.traceresponse = "00-" + testTrace + "-0000000000000003-00"
		f.spans = nil
		f.logged["headers_uber_trace_id"] = testTrace + ":2:0:0"
	}, linkTraceID},
	{"uservice3 does not sample", func(f *fake) {
		f.traceresponse = "00-" + testTrace + "-0000000000000003-00"
		f.spans = nil
	}, linkTraceID},
	{"who does not sample is unknown", func(f *fake) {
		f.traceresponse = "00-" + testTrace + "-0000000000000003-00"
		f.spans, f.logged = nil, nil
	}, linkTraceID},

	{"Tempo is down", func(f *fake) { f.down["tempo"] = true }, linkStore},
	{"Tempo is still starting", func(f *fake) { f.tempoReady = 503 }, linkStore},
	{"something else is on Tempos port", func(f *fake) { f.tempoReady = 404 }, linkStore},

	{"uservice3 reads another propagator", func(f *fake) { ownTrace(f) }, linkHeader},
	{"the header is lost on the way", func(f *fake) {
		ownTrace(f)
		f.logged = map[string]string{"headers_accept": "*/*"}
	}, linkHeader},
	{"the header is damaged on the way", func(f *fake) {
		ownTrace(f)
		f.logged["headers_uber_trace_id"] = strings.ReplaceAll(testTrace+":2:0:1", ":", "%3A")
	}, linkHeader},
	{"the header is damaged in a run without Docker", func(f *fake) {
		ownTrace(f)
		withoutDocker(f)
		f.ledger = `{"requests":[{"hops":[{"to":"gateway"},
			{"to":"uservice3","arrived":{"headers":[{"name":"uber-trace-id","value":"1%3A2"}]}}]}]}`
	}, linkHeader},
	{"the header is lost in a run without Docker", func(f *fake) {
		ownTrace(f)
		withoutDocker(f)
		f.ledger = `{"requests":[{"hops":[{"to":"uservice3","arrived":{"headers":[]}}]}]}`
	}, linkHeader},
	{"the proxy sends the header damaged in a run without Docker", func(f *fake) {
		ownTrace(f)
		withoutDocker(f)
		const side = `{"source":"recorded","headers":[{"name":"uber-trace-id","value":"1%3A2"}]}`
		f.ledger = `{"requests":[{"hops":[{"to":"uservice3","left":` + side + `,"arrived":` + side + `}]}]}`
	}, linkHeader},
	{"the proxy sends no header in a run without Docker", func(f *fake) {
		ownTrace(f)
		withoutDocker(f)
		const side = `{"source":"recorded","headers":[]}`
		f.ledger = `{"requests":[{"hops":[{"to":"uservice3","left":` + side + `,"arrived":` + side + `}]}]}`
	}, linkHeader},
	{"the proxy does not trace", func(f *fake) {
		ownTrace(f)
		f.spans = f.spans[2:]
		f.logged = map[string]string{"headers_accept": "*/*"}
	}, linkHeader},
	{"the proxy does not trace and Loki is silent", func(f *fake) {
		ownTrace(f)
		f.spans = f.spans[2:]
		f.logged = nil
	}, linkHeader},
	{"uservice4 reads another propagator", func(f *fake) {
		f.spans[4].traceresponse = "00-" + otherTrace + "-0000000000000006-01"
		f.spans[5].trace, f.spans[6].trace, f.spans[5].parent = otherTrace, otherTrace, 0
	}, linkHeader},

	{"no span arrives", func(f *fake) { f.spans = nil }, linkSpans},
	{"uservice3 cannot export", func(f *fake) { f.spans = without(seven(), "uservice3") }, linkSpans},
	{"uservice3 cannot export and says so", func(f *fake) { f.spans = without(seven(), "uservice3"); f.spanLog = true }, linkSpans},
	{"uservice3 says in a run without Docker that it cannot export", func(f *fake) {
		inLedger(f, "uservice3", `{"started":"2000-01-01T00:00:00Z","vain":"http://127.0.0.1:1"}`)
	}, linkSpans},
	{"uservice4 started again in a run without Docker", func(f *fake) {
		inLedger(f, "uservice4", `{"started":"2999-01-01T00:00:00Z"}`)
	}, linkSpans},
	{"uservice4 sends nothing in a run without Docker", func(f *fake) {
		inLedger(f, "uservice4", `{"started":"2000-01-01T00:00:00Z"}`)
	}, linkSpans},
	{"uservice4 cannot export", func(f *fake) { f.spans = without(seven(), "uservice4") }, linkSpans},
	{"the proxy cannot export", func(f *fake) { f.spans = without(seven(), "traefik") }, linkSpans},
	{"uservice3 does not say its name", func(f *fake) {
		for i := range f.spans {
			if f.spans[i].service == "uservice3" {
				f.spans[i].service = "unknown_service:uservice3"
			}
		}
	}, linkSpans},

	{"the search does not find it", func(f *fake) { f.searchable = false }, linkSearch},

	{"Prometheus is down", func(f *fake) { f.down["prometheus"] = true }, linkMetrics},
	{"Prometheus has no remote-write receiver", func(f *fake) {
		f.noCalls = true
		f.flags["web.enable-remote-write-receiver"] = "false"
	}, linkMetrics},
	{"span metrics stand still", func(f *fake) {
		f.stale = true
		f.flags["web.enable-remote-write-receiver"] = "false"
	}, linkMetrics},
	{"Tempo writes no metrics", func(f *fake) { f.noCalls = true }, linkMetrics},
	{"the service graph is missing", func(f *fake) { f.noEdges = true }, linkMetrics},

	{"Prometheus keeps no exemplars", func(f *fake) { f.exemplar = ""; f.flags["enable-feature"] = "" }, linkExemplar},
	{"the service attaches no exemplars", func(f *fake) { f.exemplar = "" }, linkExemplar},
	{"an exemplar is overtaken", func(f *fake) { f.exemplar = otherTrace }, ""},
	{"exemplars are old", func(f *fake) { f.exemplar, f.oldExemplar = otherTrace, true }, linkExemplar},
	{"the service is not scraped", func(f *fake) { f.noDurations, f.exemplar = true, "" }, linkExemplar},

	{"Loki is down", func(f *fake) { f.down["loki"] = true }, linkLog},
	{"Loki has no line of the service", func(f *fake) { f.logged, f.other = nil, false }, linkLog},
	{"Loki has no line of the trace", func(f *fake) { f.logged = nil }, linkLog},

	{"Grafana is down", func(f *fake) { f.down["grafana"] = true }, linkGrafana},
	{"Grafana has no database", func(f *fake) { f.grafanaDB = "failing" }, linkGrafana},
	{"a data source cannot reach its back end", func(f *fake) { f.dataSource = 502 }, linkDataSources},
	{"visitors may not ask data sources", func(f *fake) { f.dataSource = 403 }, linkDataSources},
	{"Grafana wants a login", func(f *fake) { f.exploreTo = "/login" }, linkTraceLink},
	{"the page has no link", func(f *fake) {
		f.page = "<h1>Hello, world!</h1><p>Trace: <code>" + testTrace + "</code></p>"
	}, linkTraceLink},
	{"the link is of the old form", func(f *fake) { f.link = "http://grafana.test/explore?left=" + testTrace }, linkTraceLink},
	{"the link leads elsewhere", func(f *fake) { f.link = strings.Replace(f.link, "grafana.test", "moved.test", 1) }, linkTraceLink},

	{"the stack traces itself", func(f *fake) {
		f.selfTracing, f.own = true, []string{"prometheus", "loki-all"}
	}, ""},
	{"Loki cannot trace itself", func(f *fake) {
		f.selfTracing, f.own, f.lokiVersion = true, []string{"prometheus"}, "3.7.8"
	}, ""},
	{"a Loki that could trace itself does not", func(f *fake) {
		f.selfTracing, f.own, f.lokiVersion = true, []string{"prometheus"}, "3.8.0"
	}, linkOwnSpans},
	{"Prometheus does not trace itself", func(f *fake) {
		f.selfTracing, f.own, f.lokiVersion = true, []string{"loki-all"}, "3.8.0"
	}, linkOwnSpans},
	{"the stack does not trace itself", func(f *fake) { f.selfTracing, f.lokiVersion = true, "3.7.8" }, linkOwnSpans},

	{"everything behind the proxy is down", func(f *fake) {
		f.down["tempo"], f.down["prometheus"], f.down["loki"], f.down["grafana"] = true, true, true, true
	}, linkStore},
}

func withoutDocker(f *fake) { f.local, f.link = true, "http://page.test/trace/"+testTrace }

// uservice4Down lets uservice3 answer 502, as nobody listens where it calls.
func uservice4Down(f *fake) {
	f.fail(502, "The service behind this one did not answer well.", "dial tcp 10.0.0.4:7878: connect: connection refused", 5, 3, 2, 1)
	f.spans = f.spans[:5]
	f.spans[4].traceresponse = ""
}

// inLedger is a run without Docker in which a service took part in the trace, and sent no spans.
func inLedger(f *fake, service, telemetry string) {
	withoutDocker(f)
	f.spans = without(seven(), service)
	f.ledger = `{"requests":[{"hops":[{"to":"` + service + `","trace_id":"` + testTrace + `"}]}],"services":{"` + service + `":` + telemetry + `}}`
}

// ownTrace puts uservice3 and what it calls into a trace of its own.
func ownTrace(f *fake) {
	f.spans[0].trace, f.spans[1].trace = otherTrace, otherTrace
	f.spans[2].parent = 0
}

var (
	timeColumn = regexp.MustCompile(`(?m)^(  (?:ok|BROKEN)\s+)([0-9.]+ m?s)`)
	anySeconds = regexp.MustCompile(`\b[0-9.]+ s after`)
	anyMinute  = regexp.MustCompile(`\b\d\d:\d\d\b`)
)

// examine runs a visit and returns its text, with times that do not change from run to run.
func examine(t *testing.T, o Options) (Report, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var text bytes.Buffer
	report, err := RunText(ctx, o, &text, false)
	if err != nil {
		t.Fatal(err)
	}
	out := timeColumn.ReplaceAllStringFunc(text.String(), func(s string) string {
		m := timeColumn.FindStringSubmatch(s)
		return m[1][:len(m[1])-max(0, 4-len(m[2]))] + strings.Repeat(" ", max(0, len(m[2])-4)) + "TIME"
	})
	return report, anyMinute.ReplaceAllString(anySeconds.ReplaceAllString(out, "0.0 s after"), "00:00")
}

// names are the links' names in order.
func names() (list []string) {
	for _, c := range (&visit{}).checks() {
		list = append(list, c.link)
	}
	return list
}

func TestTheRightLinkIsNamed(t *testing.T) {
	for _, c := range append(cases, pipelineCases...) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			c.wrong(f)
			report, text := examine(t, f.options())
			if report.FirstBroken != c.first || report.OK != (c.first == "") {
				t.Errorf("the first broken link is %q, ok=%t; want %q", report.FirstBroken, report.OK, c.first)
			}
			o := f.options()
			o.override = f.override
			if want := len((&visit{o: o}).checks()); len(report.Links) != want {
				t.Errorf("%d links, want %d", len(report.Links), want)
			}
			for _, l := range report.Links {
				if (l.State == Broken) != (len(l.Causes) > 0) {
					t.Errorf("link %q is %s and has %d causes", l.Name, l.State, len(l.Causes))
				}
			}
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > term.DefaultWidth && !strings.HasPrefix(line, "     -> ") {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			compareText(t, c.name, text)
		})
	}
}

// compareText compares what the doctor says with a golden file.
func compareText(t *testing.T, name, text string) {
	t.Helper()
	golden := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the text has changed (-update writes %s):\n%s", golden, text)
	}
}

func TestAPartThatHangsIsToldFromOneThatIsDown(t *testing.T) {
	v := &visit{o: Options{Kind: Compose, URLs: map[string]string{topology.Tempo: "http://127.0.0.1:3200"}}, down: map[string]bool{}}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("dial tcp 127.0.0.1:3200: connect: connection refused"), "connection refused"},
		{errors.New("No connection could be made because the target machine actively refused it."), "connection refused"},
		{context.DeadlineExceeded, "in time"},
		{errors.New("read: connection reset by peer"), "without an answer"},
		{errors.New(`malformed HTTP response "\x00"`), "plain HTTP"},
		{errors.New("no route to host"), "no route to host"},
	} {
		out := v.unreachable(topology.Tempo, c.err)
		if out.state != Broken || !strings.Contains(out.detail, c.want) || len(out.causes) == 0 {
			t.Errorf("%v: %+v, want a detail with %q and a cause", c.err, out, c.want)
		}
	}
}

func TestAVisitThatIsInterruptedSaysWhere(t *testing.T) {
	f := newFake(t)
	f.spans = nil
	o := f.options()
	o.Wait = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stop := errors.New("interrupted")
	o.Waiting = func(string, string, time.Duration) { cancel(stop) }
	report, err := Run(ctx, o)
	if !errors.Is(err, stop) || !strings.Contains(err.Error(), linkHeader) {
		t.Errorf("error is %v, want one that names the link and the cause", err)
	}
	if report.TraceID != testTrace || report.OK {
		t.Errorf("report is %+v, want what had been found out", report)
	}
}

func TestATerminalIsToldWhatIsWaitedFor(t *testing.T) {
	var text bytes.Buffer
	p := &printer{w: &text, live: true}
	p.waiting(linkExemplar, "Prometheus scrapes every 15 s", 500*time.Millisecond)
	if text.Len() > 0 {
		t.Errorf("%q is shown at once", text.String())
	}
	p.waiting(linkExemplar, "Prometheus scrapes every 15 s", 12*time.Second)
	if got := text.String(); !strings.Contains(got, "12 s") || !strings.Contains(got, "scrapes") || strings.Contains(got, "\n") {
		t.Errorf("waiting shows %q", got)
	}
	p.finished(Link{Name: linkExemplar, State: Broken, Detail: "a \x1b[31m trick"})
	if got := text.String(); !strings.Contains(got, term.Red+"BROKEN") || strings.Contains(got, "\x1b[31m") {
		t.Errorf("a broken link shows %q", got)
	}
}
