package live

import (
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
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// began is the same for all spans, so that their times fit together.
var began = time.Now()

// timed makes a span of a trace that began some time ago; from and to are milliseconds since then.
func timed(traceID string, n, parent int, kind, name string, ago time.Duration, from, to int, attributes ...object) object {
	parentID := ""
	if parent > 0 {
		parentID = fmt.Sprintf("%016x", parent+1)
	}
	s := spanOf(traceID, parentID, n, name, 0, 0)
	s["startTimeUnixNano"] = fmt.Sprint(began.Add(-ago + time.Duration(from)*time.Millisecond).UnixNano())
	s["endTimeUnixNano"] = fmt.Sprint(began.Add(-ago + time.Duration(to)*time.Millisecond).UnixNano())
	s["kind"] = "SPAN_KIND_" + strings.ToUpper(kind)
	s["attributes"] = attributes
	return s
}

// proxied makes the gateway's two spans, numbers 1 and 2, of a request that took a second.
func proxied(traceID, service, path, status string, ago time.Duration) object {
	code := attribute("http.response.status_code", status)
	return resourceSpans("gateway",
		timed(traceID, 1, 0, "server", "GET", ago, 0, 1000, attribute("server.address", service+".localhost"),
			attribute("http.request.method", "GET"), attribute("url.path", path), attribute("url.query", ""), code),
		timed(traceID, 2, 1, "client", "ReverseProxy", ago, 0, 1000, code))
}

func TestTheExplorerOffersToCallTheTwin(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	plain := newTraceID()
	send(object{"resourceSpans": []object{proxied(plain, "uservice1", "/", "200", 5*time.Minute)}})
	p := open(t, browser, address+"/trace/"+plain, 1280)
	p.until(`document.querySelector(".twin .invite button")?.textContent === "Call uservice3 now" && !document.querySelector(".twin [data-span]")`)
}

func TestTheExplorersWaitEndsWithAReason(t *testing.T) {
	browser := startBrowser(t)
	address, _ := inProcess(t, ledger.New(1))
	p := open(t, browser, address+"/trace/"+newTraceID(), 1280)
	p.judge(".detail", said{yes: []string{"Looking for this trace"}})
	p.judge(".detail", said{yes: []string{"Neither the trace store nor the hop ledger has this id", "Look again"}, no: []string{"Waiting"}})
	js[any](p, `history.pushState(null, "", "/trace/000"), void dispatchEvent(new PopStateEvent("popstate"))`)
	p.judge(".detail", said{yes: []string{"This is not a trace id", "not all of them 0"}, no: []string{"refused", "keeps asking", "Look again"}})
}

func TestTheExplorerExplainsTheMarksThatItDraws(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const ago = 30 * time.Second
	healthy, failed, plain, outside := newTraceID(), newTraceID(), newTraceID(), newTraceID()
	seen := resourceSpans("uservice2", timed(outside, 1, 0, "server", "GET", ago, 0, 1000))
	seen["resource"] = object{"attributes": []object{attribute("service.name", "uservice2"), attribute("telemetry.distro.name", tempo.OutsideDistro)}}
	send(object{"resourceSpans": []object{seen}})
	send(object{"resourceSpans": []object{resourceSpans("shop", timed(healthy, 1, 0, "server", "GET", ago, 0, 3940))}})
	broken := timed(failed, 1, 0, "server", "GET", ago, 0, 1000)
	broken["status"] = object{"code": 2}
	broken["events"] = []object{{"name": "exception", "timeUnixNano": broken["endTimeUnixNano"]}}
	send(object{"resourceSpans": []object{resourceSpans("shop", broken)}})
	send(object{"resourceSpans": []object{proxied(plain, "uservice1", "/", "200", ago)}})
	for id, want := range map[string]string{
		healthy: "at work, waits", failed: "at work, waits, failed, error recorded", plain: "at work, waits, critical path, no span here covers it",
		outside: "at work, waits, seen from outside, not measured inside",
	} {
		p := open(t, browser, address+"/trace/"+id, 1280)
		p.until(`document.querySelector(".detail > .card .key li")`)
		if got := strings.Join(p.texts(".detail > .card .key li"), ", "); got != want {
			t.Errorf("the marks are %q, want %q", got, want)
		}
		if drawn := js[bool](p, `Boolean(document.querySelector(".wf-bars .critical"))`); drawn != strings.Contains(want, "critical path") {
			t.Errorf("of %q the critical path is drawn: %t", want, drawn)
		}
		// What is hatched no span covers, or nobody measured inside, and nothing else is hatched.
		if hatched := js[int](p, `[...document.querySelectorAll(".wf-bars *")].flatMap((e) => [getComputedStyle(e), getComputedStyle(e, "::after")])
			.filter((s) => s.backgroundImage.includes("repeating")).length`); hatched > 0 != (id == plain || id == outside) {
			t.Errorf("of %q %d are hatched", want, hatched)
		}
	}
	p := open(t, browser, address+"/trace/"+healthy, 1280)
	p.until(`document.querySelector(".tick.last")?.textContent === "3.94 s"`)
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
	p.until(`document.querySelector("#announcer").textContent === "Trace of shop: 0 of 2 spans failed, 2.00 s."`)
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
