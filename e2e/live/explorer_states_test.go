package live

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/explorer"
)

// hopOf is a hop of the ledger's answer; the header that arrived is that of a span of a trace.
func hopOf(from, to, action, traceID string, spanID int, arrived ...object) object {
	if arrived == nil {
		arrived = []object{}
	}
	side := object{"source": "recorded", "headers": arrived}
	return object{"from": from, "to": to, "action": action, "trace_id": traceID, "span_id": fmt.Sprintf("%016x", spanID+1), "left": side, "arrived": side}
}

func headerOf(traceID string, spanID int) object {
	return object{"name": "uber-trace-id", "valid": true, "trace_id": traceID, "span_id": fmt.Sprintf("%016x", spanID+1), "sampled": true}
}

// calling adds the answer's status to a client span: somebody answered it.
func calling(span object) object {
	span["attributes"] = []object{attribute("http.response.status_code", "200")}
	return span
}

func TestTheExplorerSaysHowOftenARequestWasCut(t *testing.T) {
	browser := startBrowser(t)
	const ago = 30 * time.Second
	first, middle, last := newTraceID(), newTraceID(), newTraceID()
	request := object{"outcome": "cut", "summary": "The trace is cut before uservice3, and again before uservice4.", "hops": []object{
		hopOf("client", "gateway", "started", first, 1), hopOf("gateway", "uservice3", "ignored-format", middle, 3),
		hopOf("uservice3", "uservice4", "ignored-format", last, 6)}}
	address, send := inProcess(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(object{"requests": []object{request}})
	}))
	send(object{"resourceSpans": []object{proxied(first, "uservice3", "/", "200", ago),
		resourceSpans("uservice3", timed(middle, 3, 0, "server", "handle_incoming_call", ago, 100, 900),
			calling(timed(middle, 5, 3, "client", "other_uservice_call", ago, 200, 900))),
		resourceSpans("uservice4", timed(last, 6, 0, "server", "handle_incoming_call", ago, 300, 800))}})
	for id, want := range map[string][]string{
		first:  {"Open part 2 of 3 /trace/" + middle, "Open part 3 of 3 /trace/" + last},
		middle: {"Open part 3 of 3 /trace/" + last, "Open part 1 of 3 /trace/" + first},
		last:   {"Open part 1 of 3 /trace/" + first, "Open part 2 of 3 /trace/" + middle},
	} {
		p := open(t, browser, address+"/trace/"+id, 1280)
		p.judge(story, said{yes: []string{"cut in three"}, no: []string{"two", "half"}})
		if got := js[[]string](p, `[...document.querySelectorAll(".part-link")].map((a) => a.textContent + " " + a.getAttribute("href"))`); !slices.Equal(got, want) {
			t.Errorf("it leads to %q, want %q", got, want)
		}
	}
}

func TestTheExplorersHeadlineCountsForeignServices(t *testing.T) {
	browser := startBrowser(t)
	id := newTraceID()
	address, send := inProcess(t, ledgerOf(id, object{"outcome": "whole", "summary": "One trace, from the client to uservice4. A part of it is not sampled.",
		"hops": []object{hopOf("client", "uservice4", "continued", id, 2, headerOf(id, 1))}}))
	const ago = 30 * time.Second
	send(object{"resourceSpans": []object{resourceSpans("shop", timed(id, 0, 0, "server", "GET /cart", ago, 0, 1000)),
		resourceSpans("orders", timed(id, 1, 0, "client", "GET", ago, 0, 1000)),
		resourceSpans("uservice4", timed(id, 2, 1, "server", "handle_incoming_call", ago, 0, 1000)),
		resourceSpans("warehouse", timed(id, 3, 2, "server", "count", ago, 100, 900))}})
	p := open(t, browser, address+"/trace/"+id, 1280)
	p.judge(headline, said{yes: []string{"One trace, from shop to warehouse. A part of it is not sampled."}, no: []string{"alone", "client"}})
}

func TestTheExplorerNamesOnlyReasonsThatArePossible(t *testing.T) {
	browser := startBrowser(t)
	const onTheWay, elsewhere, notInstrumented, notSampled = "on their way", "in another trace", "it is not instrumented", "not sampled"
	always := []string{"its exporter does not reach the trace store", "its process ended before it sent them"}
	for _, tc := range []struct {
		name, caller string
		ago          time.Duration
		hops         func(id string) []object
		said
	}{
		{"long ago, and nobody keeps a ledger", "uservice3", time.Minute, nil, said{[]string{elsewhere}, []string{onTheWay, notInstrumented, notSampled, "took part"}}},
		{"just now", "uservice3", 0, nil, said{[]string{onTheWay, elsewhere}, []string{"took part"}}},
		{"the ledger has it in the trace", "uservice3", time.Minute, func(id string) []object {
			return []object{hopOf("uservice3", "uservice4", "continued", id, 6)}
		}, said{[]string{"It took part in this trace."}, []string{onTheWay, elsewhere, notSampled}}},
		{"and the header says not sampled", "uservice3", time.Minute, func(id string) []object {
			header := headerOf(id, 1)
			header["sampled"] = false
			return []object{hopOf("uservice3", "uservice4", "continued", id, 6, header)}
		}, said{[]string{notSampled}, []string{elsewhere}}},
		{"a foreign service called somebody", "shop", time.Minute, nil, said{[]string{notInstrumented, elsewhere}, []string{onTheWay, "took part"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := newTraceID()
			address, send := inProcess(t, ledgerOfHops(id, "whole", tc.hops))
			ago := tc.ago
			if ago == 0 {
				ago = -time.Since(began)
			}
			send(object{"resourceSpans": []object{resourceSpans(tc.caller, calling(timed(id, 1, 0, "client", "call", ago, 0, 900)))}})
			p := open(t, browser, address+"/trace/"+id, 1280)
			tc.yes = append(tc.yes, always...)
			p.judge(".mystery", tc.said)
		})
	}
}

func TestTheExplorerExplainsTheMarksThatItDraws(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const ago = 30 * time.Second
	healthy, failed, plain := newTraceID(), newTraceID(), newTraceID()
	send(object{"resourceSpans": []object{resourceSpans("shop", timed(healthy, 1, 0, "server", "GET", ago, 0, 3940))}})
	broken := timed(failed, 1, 0, "server", "GET", ago, 0, 1000)
	broken["status"] = object{"code": 2}
	broken["events"] = []object{{"name": "exception", "timeUnixNano": broken["endTimeUnixNano"]}}
	send(object{"resourceSpans": []object{resourceSpans("shop", broken)}})
	send(object{"resourceSpans": []object{proxied(plain, "uservice1", "/", "200", ago)}})
	for id, want := range map[string]string{
		healthy: "at work, waits", failed: "at work, waits, failed, error recorded", plain: "at work, waits, no span here covers it",
	} {
		p := open(t, browser, address+"/trace/"+id, 1280)
		p.until(`document.querySelector(".detail > .card .key li")`)
		if got := strings.Join(p.texts(".detail > .card .key li"), ", "); got != want {
			t.Errorf("the marks are %q, want %q", got, want)
		}
		// What is hatched no span covers, and nothing else is hatched.
		if hatched := js[int](p, `[...document.querySelectorAll(".wf-bars *")].flatMap((e) => [getComputedStyle(e), getComputedStyle(e, "::after")])
			.filter((s) => s.backgroundImage.includes("repeating")).length`); hatched > 0 != (id == plain) {
			t.Errorf("of %q %d are hatched", want, hatched)
		}
	}
	p := open(t, browser, address+"/trace/"+healthy, 1280)
	p.until(`document.querySelector(".tick.last")?.textContent === "3.94 s"`)
}

func TestTheExplorerTellsOneDuration(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	list := open(t, browser, address, 1280)
	for _, tc := range []struct {
		lasts      time.Duration
		page, list string
	}{
		{1855400 * time.Microsecond, "1.85 s", "1.85 s"}, {1859900 * time.Microsecond, "1.85 s", "1.85 s"},
		{999999 * time.Microsecond, "999 ms", "999 ms"}, {12700 * time.Microsecond, "12.7 ms", "12 ms"}, {4350 * time.Millisecond, "4.35 s", "4.35 s"},
	} {
		id := newTraceID()
		span := timed(id, 1, 0, "server", "GET", 30*time.Second, 0, 0)
		span["endTimeUnixNano"] = fmt.Sprint(began.Add(-30*time.Second + tc.lasts).UnixNano())
		send(object{"resourceSpans": []object{resourceSpans("shop", span)}})
		list.until(fmt.Sprintf(`document.querySelector('#list a[data-id="%s"] .t-duration')?.textContent === %q`, id, tc.list))
		p := open(t, browser, address+"/trace/"+id, 1280)
		p.until(fmt.Sprintf(`document.querySelector(".facts .big dd")?.textContent === %q`, tc.page))
	}
}

func TestTheExplorerComparesWithWhatExplainsIt(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const ago = 5 * time.Minute
	plain, holed, unnamed := newTraceID(), newTraceID(), newTraceID()
	send(object{"resourceSpans": []object{proxied(plain, "uservice1", "/", "200", ago)}})
	send(object{"resourceSpans": []object{proxied(holed, "uservice3", "/", "200", ago),
		resourceSpans("uservice3", timed(holed, 3, 2, "server", "handle_incoming_call", ago, 0, 1000),
			calling(timed(holed, 4, 3, "client", "other_uservice_call", ago, 0, 1000)))}})
	p := open(t, browser, address+"/trace/"+plain, 1280)
	p.judge(".twin", said{yes: []string{"The answer is one call away", "There is no trace of it to compare: that takes a whole one of the same request, within a minute, also answered 200."}})
	// A whole trace explains it, also that of a service that does not say its name.
	send(object{"resourceSpans": []object{proxied(unnamed, "uservice3", "/", "200", ago-time.Second),
		resourceSpans("unknown_service:uservice3", timed(unnamed, 3, 2, "server", "handle_incoming_call", ago-time.Second, 0, 1000))}})
	p = open(t, browser, address+"/trace/"+plain, 1280)
	p.judge(".twin", said{yes: []string{"A request like it, instrumented: uservice3", "1.00 s later"}, no: []string{"same request"}})
}

func TestTheExplorerAnnouncesWhatItShows(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	id := newTraceID()
	ago := -time.Since(began) // young, and its first span is missing: the page goes on reading
	send(object{"resourceSpans": []object{resourceSpans("shop", timed(id, 1, 9, "server", "GET", ago, 0, 1000))}})
	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelectorAll(".detail > .card [data-span]").length === 1`)
	send(object{"resourceSpans": []object{resourceSpans("stock", timed(id, 2, 1, "server", "count", ago, 0, 2000))}})
	p.until(`document.querySelector("#announcer").textContent === "Trace of shop: 2 spans, 2.00 s, 0 errors."`)
}

func TestTheExplorerSaysWhoIsGone(t *testing.T) {
	browser := startBrowser(t)
	store := collector.New(slog.New(slog.DiscardHandler))
	var state atomic.Value
	state.Store("")
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch state.Load() {
		case "gone":
			panic(http.ErrAbortHandler)
		case "login":
			fmt.Fprint(w, "<html>Log in")
		default:
			store.APIHandler().ServeHTTP(w, r)
		}
	}))
	t.Cleanup(api.Close)
	tempoURL, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	state.Store("login")
	server := httptest.NewServer(explorer.New(explorer.Options{Tempo: tempoURL, Gateway: tempoURL}))
	t.Cleanup(server.Close)
	p := open(t, browser, server.URL, 1280)
	p.judge("#list-trouble", said{yes: []string{"No trace store answers", "is no Tempo"}})
	p.judge("#store.down", said{yes: []string{"No trace store answers"}})
	p.until(`!document.querySelector("#list .ghost")`) // nobody waits for nothing
	for range 2 {
		state.Store("")
		p.until(`document.querySelector("#list-trouble").hidden && document.querySelector("#store.up") && !document.querySelector("#list-empty").hidden`)
		state.Store("gone")
		p.judge("#list-trouble", said{yes: []string{"No trace store answers", "Is it running?"}})
		p.judge("#store.down", said{yes: []string{"No trace store answers"}})
	}
	server.CloseClientConnections()
	server.Close()
	p.judge("#store", said{yes: []string{"The explorer does not answer"}, no: []string{"store"}})
	p.judge("#list-trouble", said{yes: []string{"The explorer does not answer", "go run ./demo"}, no: []string{"trace store"}})
	p.mu.Lock() // the browser's own lines about failed requests
	p.said = slices.DeleteFunc(p.said, func(s string) bool {
		return strings.Contains(s, "502") || strings.Contains(s, "ERR_CONNECTION_REFUSED") || strings.Contains(s, "ERR_EMPTY_RESPONSE")
	})
	p.mu.Unlock()
}

func TestTheExplorersPageStaysInPlace(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	id := newTraceID()
	send(object{"resourceSpans": []object{resourceSpans("shop", timed(id, 1, 0, "server", "GET", 30*time.Second, 0, 1000))}})
	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelector("[data-span]")`)
	const top = `document.querySelector("#detail-title").getBoundingClientRect().top + scrollY`
	before := js[float64](p, top)
	p.click(`.caller[data-service="uservice3"] button`)
	p.until(`document.querySelector(".answer.good, .answer.bad")`)
	if after := js[float64](p, top); after != before {
		t.Errorf("an answer moves the page by %v pixels", after-before)
	}
	p = open(t, browser, address+"/trace/"+id, 360)
	p.until(`document.querySelector("[data-span]")`)
	if at := js[float64](p, top); at > 260 {
		t.Errorf("on a narrow screen the trace begins %v pixels down", at)
	}
	js[any](p, `void (document.querySelector("input[name=fail][value=redis]").checked = true)`)
	if shown := js[bool](p, `document.querySelector("input[name=fail]").closest("fieldset").offsetHeight > 0`); !shown {
		t.Error("on a narrow screen a failure that was asked for is not shown")
	}
}
