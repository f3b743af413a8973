package doctor

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"example.com/grafana-tempo-go-demo/demo/header"
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

const sentence = "The service behind this one did not answer well."

var cases = []sick{
	{"all is well", func(*fake) {}},
	{"a run without Docker is well", withoutDocker},

	{"the proxy is down", func(f *fake) { f.down["gateway"] = true }},
	{"another program has the proxys port", func(f *fake) { f.traceresponse, f.page = "", "<h1>It works!</h1>" }},
	{"the proxy knows no such host", says("gateway/", "404 404 page not found")},
	{"uservice3 is down", says("gateway/", "502 Bad Gateway")},
	{"uservice4 is down", uservice4Down},
	{"the database of uservice4 fails", func(f *fake) {
		f.fail(502, sentence, "the database is on fire", 7, 6, 5, 3, 2, 1)
	}},
	{"the database of uservice4 fails and it cannot export", func(f *fake) {
		f.fail(502, sentence, "answered 500", 5, 3, 2, 1)
		f.spans = f.spans[:5]
	}},
	{"Redis of uservice3 fails", func(f *fake) {
		f.fail(500, "Redis did not answer.", "redis is on fire", 4, 3, 2, 1)
		f.spans = f.spans[:4]
	}},
	{"what answers wants another protocol and says no more", says("gateway/", "101 ")},

	{"an unknown program is on the way", func(f *fake) {
		f.spans[5].parent = 8
		f.spans = append(f.spans, span{testTrace, "orders", "GET /orders/{id}", "server", 8, 5, ""})
	}},
	{"an unknown program is called in place of uservice4", func(f *fake) {
		f.spans = append(f.spans[:5], span{testTrace, "orders", "GET /orders/{id}", "server", 8, 5, ""})
		f.spans[4].traceresponse = ""
	}},

	{"tracing is off", func(f *fake) { f.traceresponse, f.page = "", "<h1>Hi</h1><p>Trace: not sampled</p>" }},
	{"the header traceresponse is stripped", func(f *fake) { f.traceresponse = "" }},
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
		f.scrapes("collector", "distributor", "querier", "live-store", "uservice3")
		f.answers["prometheus/api/v1/targets"] = `200 {"data":{"activeTargets":[{"scrapePool":"collector","health":"up"},` +
			`{"scrapePool":"distributor","health":"up"},{"scrapePool":"uservice3","health":"down"},` +
			`{"scrapePool":"distributor","health":"down","scrapeUrl":"http://10.0.0.7:3200/metrics","lastError":"refused"},` +
			`{"scrapePool":"live-store","health":"down","scrapeUrl":"http://live-store-a-0:3200/","lastError":"no host"}]}}`
	}},

	{"Tempo is down", func(f *fake) { f.down["tempo"] = true }},
	{"Tempo is still starting", says("tempo/ready", "503 Some services are not Running")},
	{"something else is on Tempos port", says("tempo/ready", "404 page not found")},
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
	{"uservice4 reads another propagator", func(f *fake) {
		f.spans[4].traceresponse = "00-" + otherTrace + "-0000000000000006-01"
		f.spans[5].trace, f.spans[6].trace, f.spans[5].parent = otherTrace, otherTrace, 0
	}},
	{"the proxy damages the header in a run without Docker", func(f *fake) {
		tell(f, ledger.Hop{To: "uservice3", Action: ledger.IgnoredMalformed, Left: damaged, Arrived: damaged})
	}},
	{"the header is damaged in a run without Docker", func(f *fake) {
		tell(f, ledger.Hop{To: "uservice3", Action: ledger.IgnoredMalformed, Arrived: damaged})
	}},
	{"the proxy sends no header in a run without Docker", func(f *fake) {
		none := ledger.Side{Source: ledger.Recorded}
		tell(f, ledger.Hop{To: "gateway", Action: ledger.Started, TraceID: otherTrace},
			ledger.Hop{To: "uservice3", Action: ledger.NotReceived, Left: none, Arrived: none, Says: "uservice3 received none."})
	}},
	{"the proxy does not trace in a run without Docker", func(f *fake) {
		tell(f, ledger.Hop{To: "uservice3", Action: ledger.Started, Says: "uservice3 started a trace."})
	}},
	{"uservice4 reads another propagator in a run without Docker", func(f *fake) {
		tell(f, ledger.Hop{To: "uservice3", Action: ledger.Continued},
			ledger.Hop{To: "uservice4", Action: ledger.IgnoredFormat, Says: "uservice4 ignored it."})
	}},
	{"something between the services drops the header", func(f *fake) {
		tell(f, ledger.Hop{To: "uservice4", Action: ledger.NotReceived, Says: "uservice4 received none."})
	}},

	{"no span arrives", func(f *fake) { f.spans = nil }},
	{"no span arrives through collectors", func(f *fake) {
		f.spans = nil
		f.scrapes("collector")
	}},
	{"uservice3 cannot export", func(f *fake) { f.spans = without("uservice3") }},
	{"uservice3 cannot export and says so", func(f *fake) { f.spans, f.lines = without("uservice3"), ` | what="spans"` }},
	{"the store was away for a while", func(f *fake) {
		f.spans, f.lines, f.said = without("uservice3"), ` | what="spans"`, "telemetry reaches the back end again"
	}},
	{"uservice3 drops spans", func(f *fake) { f.spans, f.dropped = without("uservice3"), "uservice3" }},
	{"uservice3 says in a run without Docker that it cannot export", func(f *fake) {
		lacks(f, "uservice3", ledger.Telemetry{Vain: "http://127.0.0.1:1"})
	}},
	{"the store was away for a while in a run without Docker", func(f *fake) {
		lacks(f, "uservice3", ledger.Telemetry{Back: time.Now().Add(time.Hour)})
	}},
	{"uservice4 started again in a run without Docker", func(f *fake) {
		lacks(f, "uservice4", ledger.Telemetry{Started: time.Now().Add(time.Hour)})
	}},
	{"uservice4 sends nothing in a run without Docker", func(f *fake) { lacks(f, "uservice4", ledger.Telemetry{}) }},
	{"the proxy cannot export", func(f *fake) { f.spans = without("traefik") }},
	{"uservice3 does not say its name", func(f *fake) {
		for i := range f.spans {
			f.spans[i].service = strings.Replace(f.spans[i].service, "uservice3", "unknown_service:uservice3", 1)
		}
	}},
	{"uservice4 has another name", func(f *fake) { f.spans[5].service, f.spans[6].service = "orders", "orders" }},

	{"the search does not find it", says("tempo/api/search", `200 {"traces":[]}`)},

	{"Prometheus is down", func(f *fake) { f.down["prometheus"] = true }},
	{"Tempo wants another protocol", says("tempo/api/v2/traces/"+testTrace, "101 ")},
	{"Prometheus answers without end of brackets", func(f *fake) {
		f.answers["prometheus/api/v1/query"] = "200 " + strings.Repeat("[", 6<<20)
	}},
	{"Prometheus has no remote-write receiver", func(f *fake) {
		f.noCalls = true
		f.answers["prometheus/api/v1/status/flags"] = `200 {"data":{"web.enable-remote-write-receiver":"false"}}`
	}},
	{"span metrics stand still", func(f *fake) { f.stale = true }},
	{"the collector counts nothing", func(f *fake) {
		f.noCalls = true
		f.scrapes("span-metrics")
	}},
	{"the service graph is missing", func(f *fake) { f.noEdges = true }},

	{"Prometheus keeps no exemplars", func(f *fake) {
		f.answers[exemplars] = `200 {"data":[]}`
		f.answers["prometheus/api/v1/status/flags"] = `200 {"data":{"enable-feature":"native-histograms"}}`
	}},
	{"the service attaches no exemplars", says(exemplars, `200 {"data":[]}`)},
	{"an exemplar is overtaken", func(f *fake) { f.exemplify(otherTrace, time.Now().Add(time.Minute)) }},
	{"exemplars are old", func(f *fake) { f.exemplify(otherTrace, time.Unix(1, 0)) }},

	{"Loki has no line of the service", func(f *fake) { f.logged = nil }},
	{"Loki has no line of the trace", func(f *fake) { f.logged, f.other = nil, true }},
	{"Loki has the id in the text alone", func(f *fake) { f.logged, f.lines = nil, ` |= "`+testTrace }},

	{"Grafana is down", func(f *fake) { f.down["grafana"] = true }},
	{"Grafana has no database", says("grafana/api/health", `200 {"database":"failing"}`)},
	{"a data source cannot reach its back end", says("grafana"+sources+"tempo/api/echo", "502 bad")},
	{"visitors may not ask data sources", says("grafana"+sources+"tempo/api/echo", "403 no")},
	{"Grafana wants a login", says("grafana/explore", "302 Found")},
	{"the link is of the old form", func(f *fake) { f.link = "http://grafana.test/explore?left=" + testTrace }},
	{"the link leads elsewhere", func(f *fake) { f.link = strings.Replace(f.link, "grafana.test", "moved.test", 1) }},

	{"the kernel watches the plain pair", func(f *fake) { watched(f, "uservice1", "uservice2") }},
	{"the kernel sees nothing of uservice2", func(f *fake) { watched(f, "uservice1") }},
	{"uservice2 is down", func(f *fake) {
		watched(f, "uservice1")
		f.plainStatus = http.StatusBadGateway
	}},
}

// says lets a part answer otherwise; see fake.
func says(path, answer string) func(*fake) { return func(f *fake) { f.answers[path] = answer } }

func withoutDocker(f *fake) { f.local, f.link = true, "http://page.test/trace/"+testTrace }

// uservice4Down lets uservice3 answer 502, as nobody listens where it calls.
func uservice4Down(f *fake) {
	f.fail(502, sentence, "dial tcp 10.0.0.4:7878: connect: connection refused", 5, 3, 2, 1)
	f.spans = f.spans[:5]
	f.spans[4].traceresponse = ""
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

var damaged = ledger.Side{Source: ledger.Recorded, Headers: []header.Header{{Name: "uber-trace-id", Value: "1%3A2"}}}

// tell is a run without Docker whose ledger has these hops.
func tell(f *fake, hops ...ledger.Hop) {
	withoutDocker(f)
	f.ledger.Requests = []ledger.Request{{Hops: hops}}
}

// lacks is a run without Docker in which a service took part in the trace, and sent no spans.
func lacks(f *fake, service string, says ledger.Telemetry) {
	tell(f, ledger.Hop{To: service, Action: ledger.Continued})
	f.spans = without(service)
	f.ledger.Services = map[string]ledger.Telemetry{service: says}
}

// watched is a stack whose kernel makes spans of services.
func watched(f *fake, services ...string) {
	f.plain = []span{{otherTrace, "traefik", "GET", "server", 1, 0, ""}}
	for i, name := range services {
		f.plain = append(f.plain, span{otherTrace, name, "GET /", "server", 2 + i, 1 + i, ""})
	}
}

// unsteady is what changes from run to run.
var unsteady = regexp.MustCompile(`\b[0-9.]+ s after|in [0-9]+ s$`)

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
						fmt.Fprintf(&got[i], "%s: %s\n", l.Name, unsteady.ReplaceAllString(l.Detail, "TIME"))
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
			var about any = "uservice3 uservice4"
			if template.Name() == "endpoint in vain" {
				about = struct{ Sender, Endpoint string }{"uservice3", "http://127.0.0.1:1"}
			}
			o := Options{Kind: kind, URLs: map[string]string{"explorer": "http://127.0.0.1:3000"}}
			c := advice{o, "gateway", about}.cause(cause(template.Name()))
			if c.Why == "" || c.Do == "" || strings.Contains(c.Why+c.Do, "<no value>") || strings.Contains(c.Why, "template:") {
				t.Errorf("%s, %s: %+v", kind, template.Name(), c)
			}
		}
	}
}

func TestTheReportForPeople(t *testing.T) {
	for _, c := range []sick{
		{"a report of a stack that is well", withoutDocker},
		{"a report of a stack that is broken", func(f *fake) { f.spans, f.link = nil, "" }},
	} {
		f := newFake(t)
		c.wrong(f)
		o := f.options()
		o.Note = "2 runs are up."
		var text bytes.Buffer
		if _, err := RunText(t.Context(), o, &text, false); err != nil {
			t.Fatal(err)
		}
		took := regexp.MustCompile(`(?m)^(  (?:ok|BROKEN)) {2,}\S+ m?s`)
		got := unsteady.ReplaceAllString(took.ReplaceAllString(text.String(), "$1 TIME"), "TIME")
		golden := "testdata/" + strings.ReplaceAll(c.name, " ", "-") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || got != strings.ReplaceAll(string(want), "\r\n", "\n") {
			t.Errorf("the text has changed (-update writes %s; %v):\n%s", golden, err, got)
		}
	}
}

func TestAPartThatHangsIsToldFromOneThatIsDown(t *testing.T) {
	o := Options{Kind: Compose, URLs: map[string]string{"tempo": "http://127.0.0.1:3200"}}
	e := &examination{o: o, down: map[string]bool{}}
	for text, want := range map[string]string{
		"dial tcp 127.0.0.1:3200: connect: connection refused":                        "connection refused",
		"No connection could be made because the target machine actively refused it.": "connection refused",
		context.DeadlineExceeded.Error():                                              "in time",
		"read: connection reset by peer":                                              "without an answer",
		`malformed HTTP response "\x00"`:                                              "plain HTTP",
		"no such host":                                                                "not known",
		"no route to host":                                                            "no route to host",
	} {
		out := e.unreachable("tempo", errors.New(text))
		if out.state != Broken || !strings.Contains(out.detail, want) || len(out.causes) == 0 {
			t.Errorf("%s: %+v, want a detail with %q and a cause", text, out, want)
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
	p.waiting(linkExemplar, "at once @", 500*time.Millisecond)
	p.waiting(linkExemplar, "Prometheus scrapes every 15 s", 12*time.Second)
	got := text.String()
	if !strings.Contains(got, "12 s") || !strings.Contains(got, "scrapes") || strings.ContainsAny(got, "\n@") {
		t.Errorf("waiting shows %q", got)
	}
	p.finished(Link{Name: linkExemplar, State: Broken, Detail: "a \x1b[31m trick"})
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

// TestGrafanaIsAskedByTheNameThatItAnswersTo: it sends who names another host elsewhere.
func TestGrafanaIsAskedByTheNameThatItAnswersTo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	defer server.Close()
	e := &examination{o: Options{URLs: map[string]string{grafana: server.URL}}, http: server.Client()}
	if res, err := e.ask(t.Context(), grafana, "/"); err != nil || string(res.body) != "localhost" {
		t.Errorf("asked for the host %s: %v", res.body, err)
	}
}
