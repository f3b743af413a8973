package doctor

import (
	"cmp"
	"context"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// gateway sends the request.
func (e *examination) gateway(ctx context.Context) outcome {
	e.sent = time.Now()
	res, err := e.call(ctx, topology.Uservice3)
	e.response, e.answered = res, time.Now()
	if err != nil {
		return e.unreachable(topology.Gateway, err)
	}
	// Our services' pages name a trace, or say that there is none; those of errors too.
	e.ours = strings.Contains(string(res.body), "<p>Trace: ")
	detail := fmt.Sprintf("answered %d %s", res.status, http.StatusText(res.status))
	switch {
	case res.status == http.StatusOK && e.ours:
		return fine("uservice3 answered 200 through %s", e.o.name(topology.Gateway))
	case e.ours:
		return broken(detail, "a service fails")
	case res.status >= 502 && res.status <= 504:
		return broken(detail, "uservice3 down")
	}
	out := broken(detail+", and not as uservice3 does", "no route")
	out.retry = res.status == http.StatusNotFound // Traefik listens before it has read its routes
	return out
}

// traceID reads which trace the service says the request was.
func (e *examination) traceID(ctx context.Context) outcome {
	value := e.response.header.Get("traceresponse")
	h := header.Decode("traceresponse", value)
	e.id = h.TraceID
	switch {
	case h.TraceID == "":
		return broken(fmt.Sprintf("traceresponse is %q, which names no trace", value), "tracing off")
	case !h.Unsampled():
		return fine("%s, sampled", e.id)
	}
	decided := ""
	for _, arrived := range e.hops(ctx)[topology.Uservice3].Arrived {
		if arrived.Unsampled() {
			decided = e.o.name(topology.Gateway)
		} else if arrived.TraceID != "" {
			decided = topology.Uservice3
		}
	}
	out := broken(e.id+" was not sampled, so no span of it is sent", "not sampled")
	out.retry = decided == ""
	return out.with(cmp.Or(decided, "uservice3, or "+e.o.name(topology.Gateway)+" before it,"))
}

// pageLink is the link to a trace on uservice3's page.
var pageLink = regexp.MustCompile(`Trace: (?:<code>)?<a href="([^"]+)"`)

// traceLink follows the link that the service's page has for its trace.
func (e *examination) traceLink(ctx context.Context) outcome {
	link := ""
	if m := pageLink.FindSubmatch(e.response.body); m != nil {
		link = html.UnescapeString(string(m[1]))
	}
	if !strings.Contains(link, e.id) {
		return broken("the page of uservice3 has no link to this trace", "wrong trace link")
	}
	res, err := get(ctx, e.http, askTimeout, link, "")
	switch {
	case err != nil:
		return broken("nothing answers at "+hostOf(link)+", where the link leads", "wrong trace link")
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("%s, where the link leads, answers %v", hostOf(link), res), "wrong trace link")
	}
	return fine("200 from %s", hostOf(link))
}
