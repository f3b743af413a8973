package live

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/explorer"
	"example.com/grafana-tempo-go-demo/demo/ledger"
)

// inProcess starts a collector and an explorer in this process, for traces that the test makes up.
// hops may be nil: nobody keeps a ledger.
func inProcess(t *testing.T, hops *ledger.Ledger) (explorerURL string, send func(otlp any)) {
	t.Helper()
	store := collector.New(slog.New(slog.DiscardHandler))
	api := httptest.NewServer(store.APIHandler())
	t.Cleanup(api.Close)
	tempoURL, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := explorer.Options{Tempo: tempoURL, Loki: tempoURL, Gateway: tempoURL}
	if hops != nil {
		o.Ledger = hops
	}
	page := httptest.NewServer(explorer.New(o))
	t.Cleanup(page.Close)
	otlp := store.OTLPHandler()
	return page.URL, func(data any) {
		body, err := json.Marshal(data)
		if err != nil {
			t.Error(err)
			return
		}
		path := "/v1/traces"
		if strings.Contains(string(body), `"resourceLogs"`) {
			path = "/v1/logs"
		}
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		otlp.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			answer, _ := io.ReadAll(w.Body)
			t.Errorf("the collector answered %d %s", w.Code, answer)
		}
	}
}

// object is a JSON object of OTLP.
type object map[string]any

func attribute(key, value string) object {
	return object{"key": key, "value": object{"stringValue": value}}
}

// spanOf makes a span that started some time ago.
func spanOf(traceID, parent string, n int, name string, ago, lasts time.Duration) object {
	start := time.Now().Add(-ago)
	return object{
		"traceId": traceID, "spanId": fmt.Sprintf("%016x", n+1), "parentSpanId": parent, "name": name, "kind": 2,
		"startTimeUnixNano": fmt.Sprint(start.UnixNano()), "endTimeUnixNano": fmt.Sprint(start.Add(lasts).UnixNano()),
	}
}

func resourceSpans(service string, spans ...object) object {
	return object{"resource": object{"attributes": []object{attribute("service.name", service)}}, "scopeSpans": []object{{"spans": spans}}}
}

func TestTheExplorerShowsForeignTextAsText(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	id := newTraceID()
	span := spanOf(id, "", 1, evil+"\x00\x1b[31m\u202egnp", time.Second, time.Second/2)
	span["attributes"] = []object{attribute(evil, evil+"\u200b\r")}
	span["events"] = []object{{"name": evil, "timeUnixNano": span["startTimeUnixNano"], "attributes": []object{attribute("stack", "one\n\ttwo "+evil)}}}
	span["status"] = object{"code": 2, "message": evil}
	send(object{"resourceSpans": []object{resourceSpans(evil+"\x07", span)}})
	line := object{"traceId": id, "spanId": span["spanId"], "timeUnixNano": span["endTimeUnixNano"], "severityText": evil,
		"body": object{"stringValue": evil + "\x07"}, "attributes": []object{attribute(evil, evil+"\u200b")}}
	elsewhere := object{"traceId": id, "spanId": "00000000000000ff", "timeUnixNano": span["startTimeUnixNano"]}
	send(object{"resourceLogs": []object{{"resource": object{"attributes": []object{attribute("service.name", evil)}}, "scopeLogs": []object{{"logRecords": []object{line, elsewhere}}}}}})

	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelector("[data-span]")`)
	p.until(`document.querySelector("#list a")`)
	if got := p.texts(".logs .wf-note"); len(got) != 1 || got[0] != "its span is not here" {
		t.Errorf("of a line whose span is missing the page says %q", got)
	}
	p.click(".log-text a") // opens the line's span, which has the line
	js[any](p, `void document.querySelector(".logs .log:last-child summary").click()`)
	js[any](p, `void document.querySelector(".fold summary").click()`)
	p.until(`document.querySelectorAll(".span-box .log").length === 1 && document.querySelector(".logs .kv") && document.querySelector(".span-box .kv") && document.querySelector(".json").textContent`)
	if n := js[int](p, `document.querySelectorAll("main img, main script").length`); n != 0 {
		t.Errorf("%d elements came out of a span's text", n)
	}
	for _, selector := range []string{".d-title", ".wf-span", ".wf-service", ".span-box h3", ".kv dt", ".kv dd", ".events strong", ".story .note", ".json", "#list .t-title", ".chip", ".legend-name", "tbody th", ".log .who", ".log .badge", ".log-text", ".log summary"} {
		text := strings.Join(p.texts(selector), "\n")
		if !strings.Contains(text, "<img src=x onerror=") {
			t.Errorf("%s does not show the text as it is: %q", selector, text)
		}
		if strings.ContainsAny(text, "\x00\x07\x1b\u202e\u200b\r") {
			t.Errorf("%s has characters that cannot be seen: %q", selector, text)
		}
	}
	if name := p.texts(".wf-span")[0]; !strings.HasSuffix(name, "␀␛[31m⟨U+202E⟩gnp") {
		t.Errorf("the controls are shown as %q", name)
	}
}

func TestTheExplorerDrawsAThousandSpans(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	id := newTraceID()
	const spans, services = 1000, 6
	byService := map[string][]object{}
	for n := range spans {
		parent := ""
		if n > 0 {
			parent = fmt.Sprintf("%016x", (n-1)/3+1) // a tree in which each span has three children
		}
		ago := 10*time.Second - time.Duration(n)*5*time.Millisecond
		service := fmt.Sprintf("service-%d", n%services)
		byService[service] = append(byService[service], spanOf(id, parent, n, fmt.Sprintf("step %d", n), ago, time.Second))
	}
	var groups []object
	for service, list := range byService {
		groups = append(groups, resourceSpans(service, list...))
	}
	send(object{"resourceSpans": groups})

	p := open(t, browser, address+"/trace/"+id, 1280)
	p.until(`document.querySelector("[data-span]")`)
	// From the first span to the last, half a window at a time: the page draws in the frame after.
	drawn := js[struct{ Spans, Most int }](p, `(async () => {
		const tree = document.querySelector(".waterfall"), seen = new Set();
		let most = 0;
		for (let end = false; !end; tree.scrollTop += 300) {
			for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
			const rows = [...document.querySelectorAll("[data-span]")];
			most = Math.max(most, rows.length);
			for (const row of rows) seen.add(row.dataset.span);
			end = tree.scrollTop + tree.clientHeight >= tree.scrollHeight - 1;
		}
		return {Spans: seen.size, Most: most};
	})()`)
	if drawn.Spans != spans {
		t.Errorf("%d spans of %d are drawn", drawn.Spans, spans)
	}
	if drawn.Most > 100 {
		t.Errorf("%d rows exist at once, though few can be seen", drawn.Most)
	}
	p.until(`[...document.querySelectorAll("[data-span]")].some((r) => Number(r.getAttribute("aria-rowindex")) === 1001)`)
}

func TestTheExplorersListStaysUsableUnderLoad(t *testing.T) {
	browser := startBrowser(t)
	address, send := inProcess(t, nil)
	request := func() {
		raw, _ := hex.DecodeString(newTraceID())
		id := hex.EncodeToString(raw)
		root := spanOf(id, "", 1, "GET", 20*time.Millisecond, 20*time.Millisecond)
		root["attributes"] = []object{attribute("server.address", "uservice1.localhost")}
		send(object{"resourceSpans": []object{resourceSpans("gateway", root, spanOf(id, fmt.Sprintf("%016x", 2), 2, "ReverseProxy", 19*time.Millisecond, 18*time.Millisecond))}})
	}
	for range 60 {
		request()
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond) // 200 a second
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				request()
			}
		}
	}()
	defer func() { close(stop); <-stopped }()

	p := open(t, browser, address, 1280)
	p.until(`document.querySelectorAll("#list a").length === 50`)
	first := js[string](p, `document.querySelector("#list a").dataset.id`)
	p.until(fmt.Sprintf(`document.querySelector("#list a").dataset.id !== %q`, first)) // it updates by itself
	held := js[string](p, `(() => { const a = document.querySelectorAll("#list a")[4]; a.focus(); return a.dataset.id; })()`)
	p.until(`!document.querySelector("#newer").hidden`) // newer traces are announced, and do not move the list
	js[any](p, `performance.clearResourceTimings()`)
	p.until(`performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/traces")).length >= 3`) // it has asked on
	if now := js[string](p, `document.activeElement.dataset.id`); now != held {
		t.Errorf("the focus moved from %s to %s", held, now)
	}
	if at := js[int](p, `[...document.querySelectorAll("#list a")].indexOf(document.activeElement)`); at != 4 {
		t.Errorf("the row in hand moved from place 4 to %d", at)
	}
	p.press(kb.ArrowDown)
	p.until(`[...document.querySelectorAll("#list a")].indexOf(document.activeElement) === 5`)
	p.click("#newer")
	p.until(fmt.Sprintf(`document.querySelector('#list a').dataset.id !== %q && document.querySelectorAll("#list li").length <= 51`, first))
	if chips := p.texts("#list .chip.dark"); len(chips) == 0 || chips[0] != "uservice1" {
		t.Errorf("the service that was asked for is shown as %q", chips)
	}
}
