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
)

// calling adds the answer's status to a client span: somebody answered it.
func calling(span object) object {
	span["attributes"] = []object{attribute("http.response.status_code", "200")}
	return span
}

func TestTheExplorerExplainsTheMarksThatItDraws(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const ago = 30 * time.Second
	healthy, failed, plain, outside := newTraceID(), newTraceID(), newTraceID(), newTraceID()
	seen := resourceSpans("uservice2", timed(outside, 1, 0, "server", "GET", ago, 0, 1000))
	seen["resource"] = object{"attributes": []object{attribute("service.name", "uservice2"), attribute("telemetry.distro.name", "opentelemetry-ebpf-instrumentation")}}
	send(object{"resourceSpans": []object{seen}})
	send(object{"resourceSpans": []object{resourceSpans("shop", timed(healthy, 1, 0, "server", "GET", ago, 0, 3940))}})
	broken := timed(failed, 1, 0, "server", "GET", ago, 0, 1000)
	broken["status"] = object{"code": 2}
	broken["events"] = []object{{"name": "exception", "timeUnixNano": broken["endTimeUnixNano"]}}
	send(object{"resourceSpans": []object{resourceSpans("shop", broken)}})
	send(object{"resourceSpans": []object{proxied(plain, "uservice1", "/", "200", ago)}})
	for id, want := range map[string]string{
		healthy: "at work, waits", failed: "at work, waits, failed, error recorded", plain: "at work, waits, no span here covers it",
		outside: "at work, waits, seen from outside, not measured inside",
	} {
		p := open(t, browser, address+"/trace/"+id, 1280)
		p.until(`document.querySelector(".detail > .card .key li")`)
		if got := strings.Join(p.texts(".detail > .card .key li"), ", "); got != want {
			t.Errorf("the marks are %q, want %q", got, want)
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
