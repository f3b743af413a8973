package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
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

// fromTheKernel marks spans as the eBPF instrumentation does.
func fromTheKernel(service string, spans ...object) object {
	group := resourceSpans(service, spans...)
	group["resource"] = object{"attributes": []object{attribute("service.name", service),
		attribute("telemetry.distro.name", "opentelemetry-ebpf-instrumentation")}}
	return group
}

// TestTheExplorerComparesWithTheTwin has nothing to compare at first, and offers to call for it.
func TestTheExplorerComparesWithTheTwin(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const ago = 5 * time.Minute
	plain, twin := newTraceID(), newTraceID()
	send(object{"resourceSpans": []object{proxied(plain, "uservice1", "/", "200", ago)}})
	p := open(t, browser, address+"/trace/"+plain, 1280)
	p.until(`document.querySelector(".twin .invite button")?.textContent === "Call uservice3 now" && !document.querySelector(".twin [data-span]")`)
	send(object{"resourceSpans": []object{proxied(twin, "uservice3", "/", "200", ago-time.Second),
		resourceSpans("uservice3", timed(twin, 3, 2, "server", "handle_incoming_call", ago-time.Second, 0, 2000))}})
	p = open(t, browser, address+"/trace/"+plain, 1280)
	p.until(`document.querySelectorAll(".twin [data-span]").length === 3`)
	if link := js[string](p, `document.querySelector(".twin a").getAttribute("href")`); link != "/trace/"+twin {
		t.Errorf("it is compared with %s, want %s", link, twin)
	}
	p.until(`[...document.querySelectorAll(".tick.last")].map((t) => t.textContent).join() === "2.00 s,2.00 s"`) // one scale
}

func TestTheExplorersWaitEndsWithAReason(t *testing.T) {
	browser := startBrowser(t)
	address, _ := inProcess(t, ledger.New(1))
	p := open(t, browser, address+"/trace/"+newTraceID(), 1280)
	p.judge(".detail", said{yes: []string{"Waiting for this trace"}})
	p.judge(".detail", said{yes: []string{"Neither the trace store nor the hop ledger knows this id", "Look again"}, no: []string{"Waiting"}})
	js[any](p, `history.pushState(null, "", "/trace/000"), void dispatchEvent(new PopStateEvent("popstate"))`)
	p.judge(".detail", said{yes: []string{"This is not a trace id", "not all of them 0"}, no: []string{"refused", "keeps asking", "Look again"}})
}
