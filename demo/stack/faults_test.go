package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/lab"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// builtDir is where built has put the services; empty while it has not.
var builtDir string

// built returns a folder with the real services, built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	root, err := FindRoot(".")
	if err != nil {
		return "", err
	}
	if builtDir, err = os.MkdirTemp("", "stack-test-"); err != nil {
		return "", err
	}
	return builtDir, Build(context.Background(), root, builtDir, nil, false)
})

// startReal starts the real services on free ports, with mock calls that take no time.
func startReal(t *testing.T, change ...func(*Options)) (*Stack, *lockedBuffer) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the real services")
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	o, logs, _ := options(t, "")
	o.Bin = bin
	o.Env = map[string]string{"REDIS_MIN": "0s", "REDIS_MAX": "0s", "DATABASE_MIN": "0s", "DATABASE_MAX": "0s"}
	for _, f := range change {
		f(&o)
	}
	return start(t, o), logs
}

// ask sends a request for a service through the gateway, and returns status, page and traceresponse.
func (s *Stack) ask(ctx context.Context, service string) (status int, page, response string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.urls.Gateway, nil)
	if err != nil {
		return 0, "", "", err
	}
	req.Host = service + ".localhost"
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, "", "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), res.Header.Get("traceresponse"), err
}

// shape writes what arrived of a trace as a tree, one span a line.
func (s *Stack) shape(ctx context.Context, id string) string {
	tr, err := (&tempo.Client{URL: s.urls.Tempo}).Trace(ctx, id)
	if errors.Is(err, tempo.ErrNotFound) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	var lines []string
	var walk func(span *tempo.Span, indent string)
	walk = func(span *tempo.Span, indent string) {
		lines = append(lines, indent+span.Service+" "+span.Name)
		for _, child := range span.Children {
			walk(child, indent+" ")
		}
	}
	for _, root := range tr.Roots() {
		walk(root, "")
	}
	return strings.Join(lines, "\n")
}

// hops writes a request of the ledger, one hop a line.
func hops(r ledger.Request) string {
	var lines []string
	for _, h := range r.Hops {
		carried := "-"
		if len(h.Arrived.Headers) > 0 {
			carried = h.Arrived.Headers[0].Name
			if sampled := h.Arrived.Headers[0].Sampled; sampled != nil && !*sampled {
				carried += " unsampled"
			}
		}
		lines = append(lines, fmt.Sprintf("%s -> %s: %s %s", h.From, h.To, carried, h.Action))
	}
	return strings.Join(append(lines, string(r.Outcome)), "\n")
}

const (
	gatewaySpans   = "gateway GET\n gateway ReverseProxy"
	uservice3Spans = "uservice3 handle_incoming_call\n uservice3 redis_call\n uservice3 other_uservice_call"
	uservice4Spans = "uservice4 handle_incoming_call\n uservice4 database_call"

	wholeLedger = "client -> gateway: - started\ngateway -> uservice3: uber-trace-id continued\nuservice3 -> uservice4: uber-trace-id continued\nwhole"
)

// below indents spans by as many levels.
func below(levels int, spans string) string {
	indent := strings.Repeat(" ", levels)
	return indent + strings.ReplaceAll(spans, "\n", "\n"+indent)
}

var wholeTrace = gatewaySpans + "\n" + below(2, uservice3Spans) + "\n" + below(4, uservice4Spans)

// symptoms are what a request for uservice3 leaves under each fault.
var symptoms = map[string]struct {
	traces []string // in the order of the ledger
	named  int      // which of them traceresponse names
	ledger string
	page   string   // what the page says instead of the trace's id
	says   []string // of the symptom's text, what is checked here, further to the numbers and what it quotes
}{
	"drop-header": {
		traces: []string{gatewaySpans, uservice3Spans + "\n" + below(2, uservice4Spans)},
		named:  1,
		ledger: "client -> gateway: - started\ngateway -> uservice3: - not-received\nuservice3 -> uservice4: uber-trace-id continued\ncut",
		says:   []string{"two traces", "2 spans", "5 spans", "uservice3 has NOT RECEIVED"},
	},
	"malformed-header": {
		traces: []string{gatewaySpans, uservice3Spans + "\n" + below(2, uservice4Spans)},
		named:  1,
		ledger: "client -> gateway: - started\ngateway -> uservice3: uber-trace-id ignored-malformed\nuservice3 -> uservice4: uber-trace-id continued\ncut",
		says:   []string{"two traces", "2 spans", "5 spans", "IGNORED MALFORMED"},
	},
	"not-sampled": {
		traces: []string{""},
		ledger: "client -> gateway: - started\ngateway -> uservice3: uber-trace-id unsampled continued\n" +
			"uservice3 -> uservice4: uber-trace-id unsampled continued\nwhole",
		page: "not sampled",
		says: []string{"0 spans", "ends with 00", "CONTINUED", "the trace is whole", "sampled flag 0"},
	},
	"other-format": {
		traces: []string{gatewaySpans + "\n" + below(2, uservice3Spans), uservice4Spans},
		ledger: "client -> gateway: - started\ngateway -> uservice3: uber-trace-id continued\nuservice3 -> uservice4: uber-trace-id ignored-format\ncut",
		says:   []string{"two traces", "5 spans", "2 spans", "IGNORED FORMAT"},
	},
	"dead-exporter": {
		traces: []string{gatewaySpans + "\n" + uservice4Spans},
		ledger: wholeLedger,
		says:   []string{"4 spans of 7", "ledger is whole", "CONTINUED"},
	},
	"no-service-name": {
		traces: []string{strings.ReplaceAll(wholeTrace, "uservice3", "unknown_service:uservice3")},
		ledger: wholeLedger,
		says:   []string{"7 spans", "three of them are by unknown_service:uservice3", "ledger is whole"},
	},
	"killed-before-flush": {
		traces: []string{gatewaySpans + "\n" + below(2, uservice3Spans)},
		ledger: wholeLedger,
		says:   []string{"5 spans of 7", "ledger is whole", "CONTINUED"},
	},
}

// quoted finds what a symptom's text quotes of a log line.
var quoted = regexp.MustCompile(`log says "([^"]+)"`)

func TestEachFaultShowsItsSymptomAndIsMended(t *testing.T) {
	s, logs := startReal(t)
	f := s.Faults()
	for _, fault := range lab.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			want, ok := symptoms[fault.Name]
			if !ok {
				t.Fatal("there is no test of it")
			}
			for _, text := range want.says {
				if !strings.Contains(fault.Symptom, text) {
					t.Errorf("its symptom does not say %q: %s", text, fault.Symptom)
				}
			}
			before := len(logs.String())
			if err := f.Set(t.Context(), fault.Name); err != nil {
				t.Fatal(err)
			}
			if f.Active() != fault.Name {
				t.Errorf("active is %q", f.Active())
			}
			r := s.judge(t, want.traces, want.named, want.ledger, want.page)
			if m := quoted.FindStringSubmatch(fault.Symptom); m != nil {
				waitFor(t, "line "+m[1], func() bool { return strings.Contains(linesOf("uservice3", logs.String()[before:]), m[1]) })
			}
			switch fault.Name {
			case "killed-before-flush":
				waitFor(t, "second new start of uservice4", func() bool { return strings.Count(listenings(logs.String()[before:]), "uservice4") == 2 })
			case "other-format":
				tr, err := (&tempo.Client{URL: s.urls.Tempo}).Trace(t.Context(), r.Traces[0])
				if err != nil {
					t.Fatal(err)
				}
				i := slices.IndexFunc(tr.Spans, func(span *tempo.Span) bool { return span.Name == "other_uservice_call" })
				if events := tr.Spans[i].Events; len(events) != 1 || !strings.Contains(fmt.Sprint(events[0].Attributes["traceresponse"]), r.Traces[1]) {
					t.Errorf("the events of other_uservice_call do not name the second trace: %+v", events)
				}
			case "malformed-header":
				if value := r.Hops[1].Arrived.Headers[0].Value; strings.Count(value, "%3A") != 3 {
					t.Errorf("what arrived is %q", value)
				}
			}

			// Mending stops the services in order, so that whatever they still had to send is there afterwards.
			if err := f.Set(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if f.Active() != "" {
				t.Errorf("active is %q", f.Active())
			}
			s.judge(t, []string{wholeTrace}, 0, wholeLedger, "")
			for i, id := range r.Traces {
				if got := s.shape(t.Context(), id); got != want.traces[i] {
					t.Errorf("in the end, trace %d is\n%s", i+1, got)
				}
			}
		})
	}
	if len(symptoms) != len(lab.Faults()) {
		t.Errorf("%d faults are tested, and there are %d", len(symptoms), len(lab.Faults()))
	}
	select {
	case d := <-s.Deaths():
		t.Errorf("%+v", d)
	default:
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// linesOf returns what a part logged.
func linesOf(part, logs string) string {
	var lines []string
	for line := range strings.Lines(logs) {
		if strings.HasPrefix(line, part+" ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// listenings returns the lines by which services say that they listen.
func listenings(logs string) string {
	var lines []string
	for line := range strings.Lines(logs) {
		if strings.Contains(line, `"msg":"listening"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// judge sends a request for uservice3, waits for its traces and its entry in the ledger, and returns the latter.
func (s *Stack) judge(t *testing.T, traces []string, named int, hopsWanted, pageSays string) ledger.Request {
	t.Helper()
	status, page, response, err := s.ask(t.Context(), "uservice3")
	if err != nil || status != http.StatusOK {
		t.Fatalf("answered %d, %v", status, err)
	}
	parts := strings.Split(response, "-")
	if len(parts) != 4 {
		t.Fatalf("traceresponse %q", response)
	}
	id, flags := parts[1], parts[3]
	if pageSays == "" {
		pageSays = "/trace/" + id
	}
	if sampled := traces[0] != ""; !strings.Contains(page, pageSays) || sampled != (flags == "01") {
		t.Errorf("flags %s, and the page says\n%s", flags, page)
	}
	var r ledger.Request
	got := ""
	eventually(func() bool {
		found, err := s.Ledger().Trace(id, 2)
		if err != nil || len(found) != 1 {
			got = fmt.Sprintf("%d entries in the ledger, %v", len(found), err)
			return false
		}
		r = found[0]
		got = hops(r)
		return got == hopsWanted
	})
	if got != hopsWanted {
		t.Fatalf("the ledger has\n%s\nwant\n%s", got, hopsWanted)
	}
	if len(r.Traces) != len(traces) || r.Traces[named] != id {
		t.Fatalf("the ledger has the traces %q, traceresponse is %s", r.Traces, response)
	}
	for i, want := range traces {
		eventually(func() bool { got = s.shape(t.Context(), r.Traces[i]); return got == want })
		if got != want {
			t.Errorf("trace %d is\n%s\nwant\n%s", i+1, got, want)
		}
	}
	return r
}

// eventually calls f until it is content, or ten seconds have passed.
func eventually(f func() bool) {
	for deadline := time.Now().Add(10 * time.Second); !f() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
}

// The steps and the mistake of the last exercise in docs/lab.md.
func TestTraceOnItsWayToTraceparent(t *testing.T) {
	const jaeger, both, w3c = "jaeger", "tracecontext,jaeger", "tracecontext"
	for _, tc := range []struct {
		name                          string
		gateway, uservice3, uservice4 string
		carried                       string // what arrives at uservice3, and at uservice4
		traces                        int
	}{
		{"step 1", jaeger, jaeger, both, "uber-trace-id, uber-trace-id", 1},
		{"step 2", jaeger, both, both, "uber-trace-id, uber-trace-id traceparent", 1},
		{"step 3", w3c, both, both, "traceparent, uber-trace-id traceparent", 1},
		{"step 4", w3c, w3c, both, "traceparent, traceparent", 1},
		{"step 5", w3c, w3c, w3c, "traceparent, traceparent", 1},
		{"the gateway reads and writes both", both, both, both, "uber-trace-id traceparent, uber-trace-id traceparent", 1},
		{"the mistake", jaeger, w3c, jaeger, "uber-trace-id, traceparent", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := startReal(t, func(o *Options) {
				o.Propagators = map[string]string{"gateway": tc.gateway, "uservice3": tc.uservice3, "uservice4": tc.uservice4}
			})
			if _, _, _, err := s.ask(t.Context(), "uservice3"); err != nil {
				t.Fatal(err)
			}
			var r ledger.Request
			eventually(func() bool {
				if recent := s.Ledger().Recent(1); len(recent) == 1 {
					r = recent[0]
				}
				return len(r.Hops) == 3
			})
			var carried []string
			for _, h := range r.Hops[1:] {
				var names []string
				for _, header := range h.Arrived.Headers {
					names = append(names, header.Name)
				}
				carried = append(carried, strings.Join(names, " "))
			}
			if got := strings.Join(carried, ", "); len(r.Traces) != tc.traces || got != tc.carried {
				t.Errorf("%d traces, carried by %s:\n%s", len(r.Traces), got, hops(r))
			}
		})
	}
}

func TestLabHasAnExerciseForEachFault(t *testing.T) {
	text, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	exercises := strings.Split(string(text), "\n## ")[1:]
	for i, f := range lab.Faults() {
		if i >= len(exercises) || !strings.Contains(exercises[i], "go run ./demo up -break "+f.Name+"\n") {
			t.Fatalf("exercise %d does not start %s", i+1, f.Name)
		}
		for _, want := range []string{"**Question:**", "<details>", "</details>"} {
			if !strings.Contains(exercises[i], want) {
				t.Errorf("the exercise of %s has no %s", f.Name, want)
			}
		}
		// What the symptom shouts or quotes, the exercise says in the same words.
		for _, want := range regexp.MustCompile(`[A-Z]{4,}( [A-Z]{6,})?|"[^"]+"|[0-9] spans`).FindAllString(f.Symptom, -1) {
			if want = strings.Trim(want, `"`); !strings.Contains(exercises[i], want) {
				t.Errorf("the exercise of %s does not say %q", f.Name, want)
			}
		}
	}
	if len(exercises) != len(lab.Faults())+1 {
		t.Errorf("%d exercises for %d faults, and the last one", len(exercises), len(lab.Faults()))
	}
}

func TestPropagatorsOfNobody(t *testing.T) {
	o, _, _ := options(t, "")
	for want, list := range map[string]map[string]string{
		`propagators of "uservice1": only the gateway and the instrumented services`: {"uservice1": "jaeger"},
		`propagators of the gateway: there is no "b4": there are jaeger`:             {"gateway": "jaeger, b4"},
	} {
		o.Propagators = list
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

func TestSwitchingLosesNeitherAnswersNorSpans(t *testing.T) {
	s, _ := startReal(t)
	f := s.Faults()
	var mu sync.Mutex
	ids := map[string]bool{}
	var done atomic.Bool
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for !done.Load() {
				status, _, response, err := s.ask(t.Context(), "uservice3")
				if err != nil || status != http.StatusOK {
					t.Errorf("answered %d, %v", status, err)
					return
				}
				mu.Lock()
				ids[strings.Split(response, "-")[1]] = true
				mu.Unlock()
			}
		})
	}
	// Of these faults each leaves 7 spans. Two switch at a time, and both are served.
	var switchers sync.WaitGroup
	for range 2 {
		switchers.Go(func() {
			for _, name := range []string{"no-service-name", "", "no-service-name", ""} {
				mu.Lock()
				so := len(ids)
				mu.Unlock()
				waitFor(t, "requests", func() bool { mu.Lock(); defer mu.Unlock(); return len(ids) > so+8 || t.Failed() })
				if err := f.Set(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	switchers.Wait()
	done.Store(true)
	clients.Wait()
	if err := f.Set(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for id := range ids {
		got := 0
		eventually(func() bool { got = strings.Count(s.shape(t.Context(), id), "\n") + 1; return got == 7 })
		if got != 7 {
			t.Errorf("trace %s has %d spans", id, got)
		}
	}
	t.Logf("%d requests", len(ids))
}

func TestKillingLosesNoAnswers(t *testing.T) {
	s, logs := startReal(t)
	if err := s.Faults().Set(t.Context(), "killed-before-flush"); err != nil {
		t.Fatal(err)
	}
	const clients, requests = 3, 4
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range requests {
				if status, _, _, err := s.ask(t.Context(), "uservice3"); err != nil || status != http.StatusOK {
					t.Errorf("answered %d, %v", status, err)
				}
			}
		})
	}
	all.Wait()
	const killed = "killed before it could send its spans"
	// Requests that overlap put the kill off; after the last one nothing does.
	eventually(func() bool { return strings.Contains(logs.String(), killed) })
	if err := s.Faults().Set(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	s.judge(t, []string{wholeTrace}, 0, wholeLedger, "")
	if n := strings.Count(logs.String(), killed); n < 1 || n > clients*requests {
		t.Errorf("killed %d times", n)
	}
}

func TestUnknownFaultIsAnErrorThatListsTheKnown(t *testing.T) {
	o, _, _ := options(t, "")
	s := start(t, o)
	o.Break = "drop-haeder"
	_, startErr := Start(t.Context(), o)
	for _, err := range []error{startErr, s.Faults().Set(t.Context(), "drop-haeder")} {
		if err == nil || !strings.Contains(err.Error(), `"drop-haeder"`) || !strings.Contains(err.Error(), "drop-header, malformed-header") {
			t.Errorf("%v", err)
		}
	}
}

func TestFaultFromTheStart(t *testing.T) {
	o, _, _ := options(t, "")
	o.Break = "not-sampled"
	s := start(t, o)
	if _, body := get(t, s.URLs().Gateway, "uservice4.localhost"); !strings.Contains(body, "OTEL_TRACES_SAMPLER=parentbased_always_on") || !strings.Contains(body, ":0:0 ") {
		t.Errorf("uservice4 got %s", body)
	}
	if s.Faults().Active() != "not-sampled" {
		t.Errorf("active is %q", s.Faults().Active())
	}
}

func TestOnlyWhatMustIsStartedAgain(t *testing.T) {
	o, logs, _ := options(t, "")
	s := start(t, o)
	urls := maps.Clone(s.URLs().Services)
	for _, tc := range []struct{ name, again string }{
		{"drop-header", ""},
		{"malformed-header", ""},
		{"other-format", "uservice4"},
		{"other-format", ""},
		{"dead-exporter", "uservice3 uservice4"},
		{"drop-header", "uservice3"},
		{"", ""},
		{"not-sampled", "uservice3 uservice4"},
	} {
		before := len(logs.String())
		if err := s.Faults().Set(t.Context(), tc.name); err != nil {
			t.Fatal(err)
		}
		var again []string
		for line := range strings.Lines(listenings(logs.String()[before:])) {
			again = append(again, strings.Fields(line)[0])
		}
		slices.Sort(again)
		if got := strings.Join(again, " "); got != tc.again {
			t.Errorf("for %q started again: %q, want %q", tc.name, got, tc.again)
		}
	}
	for name, url := range urls {
		if status, body := get(t, url, ""); status != http.StatusOK || !strings.HasPrefix(body, name) {
			t.Errorf("%s is not at %s any more: %d %s", name, url, status, body)
		}
	}
}

func TestServiceThatDoesNotStartAgainIsTriedAgainWithTheNextChange(t *testing.T) {
	o, _, _ := options(t, "uservice4=die with tracecontext")
	s := start(t, o)
	err := s.Faults().Set(t.Context(), "other-format")
	if err == nil || !strings.Contains(err.Error(), "uservice4 ended before it was ready: exit status 3") {
		t.Errorf("%v", err)
	}
	if err := s.Faults().Set(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, s.URLs().Gateway, "uservice4.localhost"); status != http.StatusOK {
		t.Errorf("uservice4 answers %d", status)
	}
}

func TestChangeDuringTheStop(t *testing.T) {
	o, _, _ := options(t, "uservice4=ignore") // so that the change hangs
	s := start(t, o)
	before := s.children["uservice4"]
	change := make(chan error, 1)
	go func() { change <- s.Faults().Set(context.Background(), "other-format") }()
	waitFor(t, "word to uservice4 to stop", before.expected.Load)
	impatient, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errors.New("the page is closed"))
	defer cancel()
	if err := s.Faults().Set(impatient, ""); err == nil || !strings.Contains(err.Error(), "another change is under way: the page is closed") {
		t.Errorf("a change during a change: %v", err)
	}
	hard, kill := context.WithCancelCause(context.Background())
	kill(errors.New("asked to stop at once"))
	_ = s.Stop(hard)
	if err := <-change; !errors.Is(err, errStopping) {
		t.Errorf("the change that was under way: %v", err)
	}
	if err := s.Faults().Set(context.Background(), ""); !errors.Is(err, errStopping) {
		t.Errorf("a change after the stop: %v", err)
	}
	for name, url := range s.URLs().Services {
		if !refused(url) {
			t.Errorf("%s still answers", name)
		}
	}
}

func TestGate(t *testing.T) {
	rig := func(then func(func())) (*gate, *httptest.Server, chan struct{}) {
		release := make(chan struct{})
		g := &gate{
			next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					<-release
				}
			}),
			guarded: func(r *http.Request) bool { return r.URL.Path != "/plain" },
			last:    func() bool { return then != nil },
			then:    then,
		}
		srv := httptest.NewServer(g)
		t.Cleanup(srv.Close)
		return g, srv, release
	}
	inside := func(g *gate) int { g.mu.Lock(); defer g.mu.Unlock(); return g.inside }
	asked := func(url string) chan error {
		done := make(chan error, 1)
		go func() {
			res, err := http.Get(url)
			if err == nil {
				res.Body.Close()
			}
			done <- err
		}()
		return done
	}

	t.Run("requests wait while it is held, others pass", func(t *testing.T) {
		g, srv, _ := rig(nil)
		first, second := g.hold(), g.hold()
		waiting := asked(srv.URL)
		if err := <-asked(srv.URL + "/plain"); err != nil {
			t.Error(err)
		}
		first()
		select {
		case <-waiting:
			t.Error("passed though it is held")
		case <-time.After(20 * time.Millisecond):
		}
		second()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	})
	t.Run("a client that hangs up waits no longer", func(t *testing.T) {
		g, _, _ := rig(nil)
		defer g.hold()()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if g.enter(ctx) {
			t.Error("it is inside")
		}
	})
	t.Run("it tells when it is empty", func(t *testing.T) {
		g, srv, release := rig(nil)
		slow := asked(srv.URL + "/slow")
		waitFor(t, "request inside", func() bool { return inside(g) == 1 })
		alive, end := context.WithCancel(t.Context())
		gone, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the page is closed"))
		if err := g.empty(gone, alive, time.Minute); err == nil || err.Error() != "the page is closed" {
			t.Errorf("%v", err)
		}
		if err := g.empty(t.Context(), alive, time.Millisecond); err != nil {
			t.Errorf("after the limit: %v", err)
		}
		empty := make(chan error)
		go func() { empty <- g.empty(t.Context(), alive, time.Minute) }()
		close(release)
		if err := <-empty; err != nil {
			t.Error(err)
		}
		<-slow
		g.enter(t.Context())
		end()
		if err := g.empty(t.Context(), alive, time.Minute); !errors.Is(err, errStopping) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the last one out has it held", func(t *testing.T) {
		holds := make(chan func(), 1)
		g, srv, _ := rig(func(release func()) { holds <- release })
		if err := <-asked(srv.URL); err != nil {
			t.Error(err)
		}
		release := <-holds
		waiting := asked(srv.URL)
		waitFor(t, "hold", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.holds == 1 && g.inside == 0 })
		release()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	})
}
