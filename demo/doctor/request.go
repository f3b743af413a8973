package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// gateway sends the request.
func (v *visit) gateway(ctx context.Context) outcome {
	v.sent = time.Now()
	res, err := v.call(ctx, topology.Uservice3)
	v.response, v.answered = res, time.Now()
	if err != nil {
		return v.unreachable(topology.Gateway, err)
	}
	// Our services' pages name a trace, or say that there is none; those of errors too.
	v.ours = res.header.Get("traceresponse") != "" || strings.Contains(string(res.body), "<p>Trace: ")
	detail := said(res)
	switch {
	case res.status == http.StatusOK && v.ours:
		return fine("uservice3 answered 200 through %s", v.o.title(topology.Gateway))
	case v.ours && traceOf(res) != "":
		return broken(detail, "the trace tells")
	case v.ours && res.status >= 500:
		return broken(detail, "a service fails")
	case res.status >= 502 && res.status <= 504:
		return broken(detail, "uservice3 down")
	}
	out := broken(detail, "other program", "no route")
	out.retry = res.status == http.StatusNotFound // Traefik listens before it has read its routes
	return out
}

// said is an answer in one line: its status, and the first words of its page that say more.
func said(res response) string {
	page := string(res.body)
	_, below, _ := strings.Cut(page, "</h1>")
	below, _, _ = strings.Cut(below, "</p>")
	text, _, _ := strings.Cut(cmp.Or(firstText(below), firstText(page)), "Trace: ")
	text = strings.TrimPrefix(text, strconv.Itoa(res.status)+" ")
	text = strings.TrimPrefix(text, http.StatusText(res.status))
	return strings.TrimRight(fmt.Sprintf("answered %d %s: %s", res.status, http.StatusText(res.status), text), ": ")
}

var tags = regexp.MustCompile(`(?s)<(style|title|script)\b.*?</(style|title|script)>|<[^>]*>`)

// firstText is the first words of a page.
func firstText(page string) string {
	return firstLine([]byte(strings.Join(strings.Fields(tags.ReplaceAllString(page, " ")), " ")))
}

// pageTrace is a trace's id on uservice3's page, of an error too, with the link to it.
var pageTrace = regexp.MustCompile(`Trace: (?:<code>)?(?:<a href="([^"]+)"[^>]*>)?([0-9a-f]{32})`)

// traceOf is the id of the trace that an answer names, in its header or on its page; "" for none.
func traceOf(res response) string {
	if h := header.Decode("traceresponse", res.header.Get("traceresponse")); h.Valid {
		return h.TraceID
	}
	if m := pageTrace.FindSubmatch(res.body); m != nil {
		return string(m[2])
	}
	return ""
}

// traceID reads which trace the service says the request was.
func (v *visit) traceID(ctx context.Context) outcome {
	value := v.response.header.Get("traceresponse")
	h := header.Decode("traceresponse", value)
	v.id = traceOf(v.response)
	v.sampled = v.id != "" && (!h.Valid || *h.Sampled) // a page names sampled traces only
	switch {
	case v.sampled && value == "":
		return broken("the answer has no traceresponse header; its page names "+v.id, "traceresponse changed")
	case value == "":
		return broken("the answer has no traceresponse header", "tracing off")
	case !h.Valid:
		return broken(fmt.Sprintf("traceresponse is %q, which names no trace", value), "traceresponse changed")
	case v.sampled:
		return fine("%s, sampled", v.id)
	}
	detail := v.id + " was not sampled, so no span of it is sent"
	headers, _ := v.arrived(ctx)
	switch caller := header.Decode(header.UberTraceID, headers[header.UberTraceID]); {
	case caller.Valid && !*caller.Sampled:
		return broken(detail, "proxy does not sample")
	case caller.Valid:
		return broken(detail, "uservice3 does not sample")
	}
	return broken(detail, "proxy does not sample", "uservice3 does not sample").yet()
}

// tempoReady asks the trace back end whether it is there.
func (v *visit) tempoReady(ctx context.Context) outcome {
	switch res, err := v.ask(ctx, topology.Tempo, "/ready", nil); {
	case err != nil:
		return v.unreachable(topology.Tempo, err)
	case res.status == http.StatusServiceUnavailable:
		return broken("not ready: "+firstLine(res.body), "tempo starting").yet()
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("/ready answers %d: %s", res.status, firstLine(res.body)), "other program")
	}
	return fine("ready at %s", v.o.URLs[topology.Tempo])
}
