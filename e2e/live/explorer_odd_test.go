package live

import (
	"testing"
	"time"
)

// TestTheExplorerSaysNothingFalseOfOddTraces has traces that no demo in good order makes.
func TestTheExplorerSaysNothingFalseOfOddTraces(t *testing.T) {
	browser := startBrowser(t)
	const ago = 40 * time.Second
	failed := func(spans object) object {
		for _, scope := range spans["scopeSpans"].([]object) {
			for _, span := range scope["spans"].([]object) {
				span["status"] = object{"code": "STATUS_CODE_ERROR"}
			}
		}
		return spans
	}
	unlogged := func(id, service string) []object {
		return []object{hopOf("client", "gateway", "started", id, 1),
			{"from": "gateway", "to": service, "action": "unknown", "left": object{"source": "recorded", "headers": []object{headerOf(id, 2)}},
				"arrived": object{"source": "unknown", "headers": []object{}}}}
	}
	served := func(id string, from int) []object {
		return []object{resourceSpans("front", timed(id, 1, 0, "server", "GET", ago, 0, 1000), timed(id, 2, 1, "client", "call", ago, 0, 1000)),
			resourceSpans("back", timed(id, 3, 2, "server", "serve", ago, from, from+200))}
	}
	const outside = "serve of back lies outside call of front, which called it: the clocks of the two disagree, or it began late."
	for _, tc := range []struct {
		name  string
		hops  func(id string) []object
		spans func(id string) []object
		says  map[string]said // by selector
	}{
		{"the gateway reached no plain service", func(id string) []object { return unlogged(id, "uservice1") }, func(id string) []object {
			return []object{failed(proxied(id, "uservice1", "/", "502", ago))}
		}, map[string]said{story: {[]string{"The trace ends at ReverseProxy of gateway. Nothing says whether the call reached it."}, []string{"Redis"}}}},
		{"the gateway reached nobody", func(id string) []object { return unlogged(id, "uservice3") }, func(id string) []object {
			return []object{failed(proxied(id, "uservice3", "/", "502", ago))}
		}, map[string]said{
			story: {[]string{"the call did not reach it and gateway answered 502 itself", "ReverseProxy of gateway failed. No span here says where the error began."},
				[]string{"came back"}},
			".where .table-box:last-child tbody tr:last-child": {[]string{"ReverseProxy", "–"}, []string{"0 ms", "%"}},
			".hop:last-child": {[]string{"uber-trace-id carries the span id of ReverseProxy of gateway.", "not recorded"}, nil},
		}},
		{"a service hangs", nil, func(id string) []object {
			return []object{resourceSpans("uservice3", timed(id, 3, 0, "server", "handle_incoming_call", ago, 0, 1000)), failed(resourceSpans("uservice3",
				timed(id, 5, 3, "client", "other_uservice_call", ago, 200, 1000, attribute("http.request.method", "GET"))))}
		}, map[string]said{story: {[]string{"uservice4 is instrumented, yet no span of it is here.", "the call did not reach it, it is still at work, it did not receive",
			"The error began in other_uservice_call of uservice3"}, []string{"No span here says"}}}},
		{"a clock is ahead", nil, func(id string) []object { return served(id, 5000) }, map[string]said{story: {[]string{outside}, nil}}},
		{"a clock is behind", nil, func(id string) []object { return served(id, -5000) }, map[string]said{story: {[]string{outside}, nil}}},
		{"nobody's clock", nil, func(id string) []object {
			return append(served(id, 900), resourceSpans("front", timed(id, 4, 1, "consumer", "later", ago, 4000, 4100)))
		}, map[string]said{story: {[]string{"No span covers this time."}, []string{"clock"}}}},
		{"a root without a name", nil, func(id string) []object {
			return []object{resourceSpans("shop", timed(id, 1, 0, "server", "", ago, 0, 1000))}
		}, map[string]said{".d-sub, .t-root": {[]string{"(no name)"}, []string{"shop"}}}},
		{"a root of nobody", nil, func(id string) []object {
			return []object{resourceSpans("", timed(id, 1, 0, "server", "GET", ago, 0, 1000))}
		}, map[string]said{".d-title, .t-title, .t-chips": {[]string{"unknown service\nunknown service\nunknown service"}, nil},
			".d-sub, .t-root": {[]string{"GET\nGET"}, []string{"arrived"}}}},
		{"a root that nobody sent", nil, func(id string) []object {
			return []object{resourceSpans("shop", timed(id, 2, 1, "server", "GET", ago, 0, 1000))}
		}, map[string]said{".d-sub, .t-root": {[]string{"its first span has not arrived\nits first span has not arrived"}, []string{"yet"}}}},
		{"an id that nobody went on with", func(id string) []object {
			header := headerOf(id, 1)
			header["sampled"] = false
			return []object{hopOf("client", "gateway", "ignored-format", newTraceID(), 1, header)}
		}, func(string) []object { return nil }, map[string]said{
			".detail": {[]string{"A request brought this id, and nobody here went on in its trace"}, []string{"This call was not sampled", "on their way"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := newTraceID()
			address, send := inProcess(t, ledgerOfHops(id, "unknown", tc.hops))
			send(object{"resourceSpans": tc.spans(id)})
			p := open(t, browser, address+"/trace/"+id, 1280)
			for selector, s := range tc.says {
				p.judge(selector, s)
			}
		})
	}
	t.Run("zeros are no id", func(t *testing.T) {
		address, _ := inProcess(t, nil)
		p := open(t, browser, address, 1280)
		js[any](p, `history.pushState(null, "", "/trace/000"), void dispatchEvent(new PopStateEvent("popstate"))`)
		p.judge(".detail", said{yes: []string{"This is not a trace id", "not all of them 0"}, no: []string{"refused", "keeps asking"}})
	})
}

// TestTheExplorerCountsAPartThatTheLedgerCouldNotTie has a request whose last part only an answer names.
func TestTheExplorerCountsAPartThatTheLedgerCouldNotTie(t *testing.T) {
	browser := startBrowser(t)
	const ago = 40 * time.Second
	first, middle, last := newTraceID(), newTraceID(), newTraceID()
	address, send := inProcess(t, ledgerOf(middle, object{"outcome": "cut", "summary": "cut", "hops": []object{
		hopOf("client", "gateway", "started", first, 1), hopOf("gateway", "uservice3", "not-received", middle, 3)}}))
	call := calling(timed(middle, 5, 3, "client", "other_uservice_call", ago, 200, 900))
	call["events"] = []object{{"name": "Got response!", "attributes": []object{attribute("traceresponse", "00-"+last+"-00000000000000aa-01")}}}
	send(object{"resourceSpans": []object{resourceSpans("uservice3", timed(middle, 3, 0, "server", "handle_incoming_call", ago, 100, 900), call)}})
	p := open(t, browser, address+"/trace/"+middle, 1280)
	p.judge(story, said{yes: []string{"uservice4 answered from another trace", "Open part 3 of 3", "cut in three", "Open part 1 of 3"}, no: []string{"half"}})
}
