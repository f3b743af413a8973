package doctor

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/term"
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
	e.ours = res.header.Get("traceresponse") != "" || strings.Contains(string(res.body), "<p>Trace: ")
	status := fmt.Sprintf("%d %s", res.status, http.StatusText(res.status))
	text, _, _ := strings.Cut(strings.TrimPrefix(pageText(res.body), status), "Trace: ")
	detail := strings.TrimRight("answered "+status+": "+strings.TrimSpace(text), ": ")
	switch {
	case res.status == http.StatusOK && e.ours:
		return fine("uservice3 answered 200 through %s", e.o.title(topology.Gateway))
	case e.ours && traceOf(res) != "":
		return broken(detail, "the trace tells")
	case e.ours && res.status >= 500:
		return broken(detail, "a service fails")
	case res.status >= 502 && res.status <= 504:
		return broken(detail, "uservice3 down")
	}
	out := broken(detail, "other program", "no route")
	out.retry = res.status == http.StatusNotFound // Traefik listens before it has read its routes
	return out
}

var tags = regexp.MustCompile(`(?s)<(style|title|script)\b.*?</(style|title|script)>|<[^>]*>`)

// pageText is the first words of a page.
func pageText(page []byte) string {
	return term.Fit(strings.Join(strings.Fields(tags.ReplaceAllString(string(page), " ")), " "), 120, "...")
}

// pageTrace is a trace's id on uservice3's page, of an error too, with the link to it.
var pageTrace = regexp.MustCompile(`Trace: (?:<code>)?(?:<a href="([^"]+)"[^>]*>)?([0-9a-f]{32})`)

// traceOf is the id of the trace that an answer names, in its header or on its page; "" for none.
func traceOf(res response) string {
	if h := header.Decode("traceresponse", res.header.Get("traceresponse")); h.TraceID != "" {
		return h.TraceID
	}
	if m := pageTrace.FindSubmatch(res.body); m != nil {
		return string(m[2])
	}
	return ""
}

// traceID reads which trace the service says the request was.
func (e *examination) traceID(ctx context.Context) outcome {
	value := e.response.header.Get("traceresponse")
	h := header.Decode("traceresponse", value)
	e.id = traceOf(e.response)
	e.sampled = e.id != "" && (h.TraceID == "" || *h.Sampled) // a page names sampled traces only
	switch {
	case e.sampled && value == "":
		return broken("the answer has no traceresponse header; its page names "+e.id, "traceresponse changed")
	case value == "":
		return broken("the answer has no traceresponse header", "tracing off")
	case h.TraceID == "":
		return broken(fmt.Sprintf("traceresponse is %q, which names no trace", value), "traceresponse changed")
	case e.sampled:
		return fine("%s, sampled", e.id)
	}
	detail := e.id + " was not sampled, so no span of it is sent"
	said := func(sampled bool) bool {
		return slices.ContainsFunc(e.hops(ctx)[topology.Uservice3].Arrived, func(h header.Header) bool {
			return h.Sampled != nil && *h.Sampled == sampled
		})
	}
	switch {
	case said(false):
		return broken(detail, "proxy does not sample")
	case said(true):
		return broken(detail, "uservice3 does not sample")
	}
	return broken(detail, "proxy does not sample", "uservice3 does not sample").yet()
}
