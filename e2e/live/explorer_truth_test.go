package live

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
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

func TestTheExplorerCountsEachMomentOnce(t *testing.T) {
	browser := startBrowser(t)
	const ago = 40 * time.Second
	for _, tc := range []struct {
		name     string
		spans    func(id string) []object
		services []string // service, time and share
		banner   string
	}{
		{"the exporter of the service in the middle is dead", func(id string) []object {
			return []object{proxied(id, "uservice3", "/", "200", ago), resourceSpans("uservice4",
				timed(id, 6, 4, "server", "handle_incoming_call", ago, 100, 900),
				timed(id, 7, 6, "client", "database_call", ago, 100, 900))}
		}, []string{"uservice4 800 ms 80 %", "unexplained 200 ms 20 %", "gateway 0 ms 0.0 %"}, "200 ms unexplained, 20 % of the total."},
		{"a plain service", func(id string) []object {
			return []object{proxied(id, "uservice1", "/", "200", ago)}
		}, []string{"unexplained 1.00 s 100 %", "gateway 0 ms 0.0 %"}, "1.00 s unexplained, 100 % of the total."},
		{"a call that nobody answered", func(id string) []object {
			return []object{resourceSpans("uservice3", timed(id, 3, 0, "server", "handle_incoming_call", ago, 0, 1000),
				timed(id, 5, 3, "client", "other_uservice_call", ago, 200, 1000, attribute("http.request.method", "GET")))}
		}, []string{"unexplained 800 ms 80 %", "uservice3 200 ms 20 %"}, "800 ms unexplained, 80 % of the total."},
		{"one span of the way is lost", func(id string) []object {
			return []object{proxied(id, "uservice3", "/", "200", ago),
				resourceSpans("uservice3", timed(id, 3, 2, "server", "handle_incoming_call", ago, 0, 1000)),
				resourceSpans("uservice4", timed(id, 6, 5, "server", "handle_incoming_call", ago, 100, 900))}
		}, []string{"uservice4 800 ms 80 %", "uservice3 200 ms 20 %", "gateway 0 ms 0.0 %"}, ""},
		{"two calls side by side, and nobody for a while", func(id string) []object {
			return []object{resourceSpans("a", timed(id, 1, 0, "server", "start", ago, 0, 600)),
				resourceSpans("b", timed(id, 2, 1, "internal", "one", ago, 0, 600)),
				resourceSpans("c", timed(id, 3, 1, "internal", "two", ago, 0, 600), timed(id, 4, 1, "consumer", "later", ago, 800, 1000))}
		}, []string{"c 500 ms 50 %", "b 300 ms 30 %", "unexplained 200 ms 20 %", "a 0 ms 0.0 %"}, "200 ms unexplained, 20 % of the total."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address, send := inProcess(t, nil)
			id := newTraceID()
			send(object{"resourceSpans": tc.spans(id)})
			p := open(t, browser, address+"/trace/"+id, 1280)
			p.until(`document.querySelector(".where tbody tr")`)
			rows := js[[]string](p, `[...document.querySelectorAll(".where table")[0].querySelectorAll("tbody tr")]
				.map((r) => [0, 2, 3].map((i) => r.cells[i].textContent).join(" "))`)
			if !slices.Equal(rows, tc.services) {
				t.Errorf("the time went to %q, want %q", rows, tc.services)
			}
			banner := strings.Join(p.texts(".mystery .note-title"), "")
			if banner != tc.banner {
				t.Errorf("the page says %q, want %q", banner, tc.banner)
			}
			hatched, bar := js[int](p, `document.querySelectorAll(".detail > .card .wf-row.dark").length`), ""
			if tc.banner != "" {
				bar, _, _ = strings.Cut(tc.banner, " unexplained")
				if shown := p.texts(".wf-row.dark .wf-num"); hatched != 1 || shown[0] != bar {
					t.Errorf("%d rows are hatched, for %q", hatched, shown)
				}
			} else if hatched != 0 {
				t.Error("something is drawn as unexplained")
			}
			if drawn := js[int](p, `[...document.querySelectorAll("[data-span]")].filter((r) =>
				r.querySelector(".wf-span").textContent === "ReverseProxy" && r.querySelector(".self")?.offsetWidth > 2).length`); drawn > 0 {
				t.Error("the time for which the proxy waited is drawn as its own")
			}
		})
	}
}

func TestTheExplorerComparesLikeWithLike(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const ago = 5 * time.Minute
	request := func(service, path, status string, ago time.Duration) string {
		id := newTraceID()
		spans := []object{proxied(id, service, path, status, ago)}
		if service == "uservice3" {
			spans = append(spans, resourceSpans(service, timed(id, 3, 2, "server", "handle_incoming_call", ago, 0, 1000)))
		}
		send(object{"resourceSpans": spans})
		return id
	}
	healthy := request("uservice1", "/", "200", ago)
	request("uservice3", "/", "502", ago)
	request("uservice3", "/favicon.ico", "404", ago)
	request("uservice3", "/elsewhere", "200", ago)
	request("uservice3", "/", "200", ago-3*time.Minute)

	p := open(t, browser, address+"/trace/"+healthy, 1280)
	p.until(`document.querySelector(".twin .invite button")?.textContent === "Call uservice3 now"`)
	if n := js[int](p, `document.querySelectorAll(".twin [data-span]").length`); n > 0 {
		t.Error("it is compared with another request")
	}
	like := request("uservice3", "/", "200", ago+50*time.Second)
	p = open(t, browser, address+"/trace/"+healthy, 1280)
	p.until(`document.querySelectorAll(".twin [data-span]").length === 3`)
	if link := js[string](p, `document.querySelector(".twin a").getAttribute("href")`); link != "/trace/"+like {
		t.Errorf("it is compared with %s, want %s", link, like)
	}
}

func TestTheExplorerSaysHowFarItLooks(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	id := newTraceID()
	send(object{"resourceSpans": []object{proxied(id, "uservice1", "/", "200", 2*time.Hour)}})
	p := open(t, browser, address, 1280)
	p.until(`document.querySelector("#list-empty").innerText.includes("No trace in the last hour")`)
	p.click("#list-empty button")
	p.until(fmt.Sprintf(`document.querySelector('#list a[data-id="%s"]')`, id))
}

// ledgerOf answers for one trace with these requests, and for any other that it knows none.
func ledgerOf(id string, requests ...object) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := []object{}
		if r.URL.Query().Get("trace") == id {
			known = requests
		}
		_ = json.NewEncoder(w).Encode(object{"requests": known})
	})
}

// ledgerOfHops is a ledger of one request with these hops; nil for no hops.
func ledgerOfHops(id, outcome string, hops func(id string) []object) http.Handler {
	if hops == nil {
		return nil
	}
	return ledgerOf(id, object{"outcome": outcome, "summary": outcome, "hops": hops(id)})
}

func TestTheExplorersWaitEndsWithAReason(t *testing.T) {
	browser := startBrowser(t)
	id := newTraceID()
	address, _ := inProcess(t, ledgerOf(id, object{"outcome": "whole", "summary": "", "hops": []object{{
		"from": "client", "to": "gateway", "action": "started", "trace_id": id, "left": object{},
		"arrived": object{"source": "recorded", "headers": []object{{"name": "uber-trace-id", "trace_id": id, "sampled": false, "valid": true}}},
	}}}))
	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelector(".detail").innerText.includes("This call was not sampled")`)

	p = open(t, browser, address+"/trace/"+newTraceID(), 1280)
	p.until(`document.querySelector(".detail").innerText.includes("Neither the trace store nor the hop ledger knows this id")`)
	p.until(`document.querySelector(".detail .state button")?.textContent === "Look again"`)
}

func TestTheExplorersLedgerUsesTheEvents(t *testing.T) {
	browser := startBrowser(t)
	id, other := newTraceID(), newTraceID()
	header := object{"name": "uber-trace-id", "value": id + ":0000000000000002:0:1", "valid": true, "trace_id": id, "span_id": fmt.Sprintf("%016x", 2)}
	address, send := inProcess(t, ledgerOf(id, object{"outcome": "cut", "summary": "cut", "hops": []object{{
		"from": "client", "to": "uservice4", "action": "continued", "trace_id": id, "left": object{"source": "inferred", "headers": []object{header}},
		"arrived":       object{"source": "recorded", "headers": []object{header}},
		"traceresponse": object{"source": "inferred", "valid": true, "trace_id": id, "span_id": fmt.Sprintf("%016x", 3)},
	}, {"from": "uservice4", "to": "warehouse", "action": "not-received", "trace_id": other, "left": object{}, "arrived": object{}}}}))
	response := "00-" + id + fmt.Sprintf("-%016x-01", 3)
	call := timed(id, 1, 0, "client", "GET", 30*time.Second, 0, 1000)
	call["events"] = []object{{"name": "Got response!", "timeUnixNano": call["endTimeUnixNano"], "attributes": []object{attribute("traceresponse", response)}}}
	send(object{"resourceSpans": []object{resourceSpans("shop", call),
		resourceSpans("uservice4", timed(id, 2, 1, "server", "handle_incoming_call", 30*time.Second, 0, 1000))}})

	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelectorAll(".hop").length === 2`)
	p.until(fmt.Sprintf(`document.querySelector(".back-again").textContent.includes(%q)`, response))
	if says := p.texts(".ledger")[0]; strings.Contains(says, "not written down") {
		t.Error("the ledger calls unwritten what an event has")
	}
	if who := p.texts(".hop-who"); who[0] != "shop → uservice4" {
		t.Errorf("the first hop is shown as %q", who[0])
	}
	colours := js[[]string](p, `[...document.querySelectorAll(".who")].map((w) => w.classList[1])`)
	if slices.Sort(colours); len(slices.Compact(colours)) != 3 {
		t.Errorf("two services and two foreign ones have the colours %q", colours)
	}
	if link := js[string](p, `document.querySelector(".story .note:first-child a")?.getAttribute("href")`); link != "/trace/"+other {
		t.Errorf("the first note leads to %q, want the other half, %s", link, other)
	}
	if good := p.texts(".story .note.good"); len(good) > 0 {
		t.Errorf("a trace cut in two is praised: %q", good)
	}
}

// fromTheKernel marks spans as the eBPF instrumentation does.
func fromTheKernel(service string, spans ...object) object {
	group := resourceSpans(service, spans...)
	group["resource"] = object{"attributes": []object{attribute("service.name", service),
		attribute("telemetry.distro.name", "opentelemetry-ebpf-instrumentation")}}
	return group
}

func TestTheExplorerSaysWhatTheKernelSees(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const ago = 40 * time.Second
	id, half := newTraceID(), newTraceID()
	code := attribute("http.response.status_code", "200")
	first := func(id string) object {
		return fromTheKernel("uservice1",
			timed(id, 3, 2, "server", "GET /", ago, 0, 1000, code), timed(id, 4, 3, "internal", "processing", ago, 0, 1000),
			timed(id, 5, 4, "client", "GET", ago, 200, 1000, code))
	}
	send(object{"resourceSpans": []object{proxied(id, "uservice1", "/", "200", ago), first(id),
		fromTheKernel("uservice2", timed(id, 6, 5, "server", "GET /", ago, 200, 1000, code), timed(id, 7, 6, "internal", "processing", ago, 200, 1000))}})
	send(object{"resourceSpans": []object{proxied(half, "uservice1", "/", "200", ago), first(half)}}) // uservice2 is not watched
	send(object{"resourceSpans": []object{proxied(newTraceID(), "uservice1", "/", "200", ago)}})

	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelector(".where tbody tr")`)
	if seen := js[int](p, `document.querySelectorAll("[data-span].outside").length`); seen != 5 {
		t.Errorf("%d spans are drawn as seen from outside, want 5", seen)
	}
	if named := js[[]string](p, `[...document.querySelectorAll(".legend li")].map((li) => li.textContent)`); !slices.Contains(named, "uservice22 spans, seen from outside") {
		t.Errorf("the legend has %q", named)
	}
	if hatched := js[int](p, `document.querySelectorAll(".wf-row.dark").length`); hatched != 0 {
		t.Error("time that spans cover is drawn as unexplained")
	}
	story := strings.Join(p.texts(".story .note"), "\n")
	for _, want := range []string{"Seen from outside, 800 ms in uservice2 and 200 ms in uservice1.", "What happened inside is unexplained"} {
		if !strings.Contains(story, want) {
			t.Errorf("the page says %q, want %q", story, want)
		}
	}
	if good := p.texts(".story .note.good"); len(good) > 0 {
		t.Errorf("what the kernel cannot split is told as an answer: %q", good)
	}
	p.until(`document.querySelector(".twin .invite")`) // the instrumented twin tells more
	js[any](p, `void document.querySelector("[data-span].outside").click()`)
	p.until(`document.querySelector(".span-box").innerText.includes("from outside, by the kernel (eBPF)")`)

	p = open(t, browser, address+"/trace/"+half, 1280)
	p.until(`document.querySelector(".where tbody tr")`)
	if banner := strings.Join(p.texts(".mystery .note-title"), ""); banner != "800 ms unexplained, 80 % of the total." {
		t.Errorf("of a call that nobody saw arrive the page says %q", banner)
	}
}
