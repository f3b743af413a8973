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

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// gateway sends the request.
func (v *visit) gateway(ctx context.Context) outcome {
	v.sent = time.Now()
	res, err := v.request(ctx)
	v.response, v.answered = res, time.Now()
	if err != nil {
		return v.unreachable(topology.Gateway, err)
	}
	body := string(res.body)
	// Our services' error pages name a trace too.
	v.ours = res.header.Get("traceresponse") != "" || strings.Contains(body, "<p>Trace: ")
	detail := said(res)
	switch {
	case res.status == http.StatusOK && (v.ours || strings.Contains(body, "Hello, world!")):
		v.ours = true // perhaps a plain service
		return fine("uservice3 answered 200 through %s", v.o.title(topology.Gateway))
	case v.ours && traceOf(res) != "":
		return broken(detail, "the trace tells")
	case v.ours && res.status >= 500:
		return broken(detail, "uservice4 fails", "uservice3 fails")
	case res.status >= 502 && res.status <= 504:
		return broken(detail, "uservice3 down")
	case res.status == http.StatusNotFound: // Traefik listens before it has read its routes
		return broken(detail, "other program", "no route").yet()
	}
	return broken(detail, "other program")
}

// said is an answer in one line: its status, and the first words of its page that say more.
func said(res response) string {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", res.status, http.StatusText(res.status)))
	for _, text := range append(blocks.FindAllString(string(res.body), 3), string(res.body)) {
		text = strings.TrimPrefix(firstText(text), status)
		text = strings.TrimSpace(strings.TrimPrefix(text, strconv.Itoa(res.status)))
		if text != "" && !strings.HasPrefix(text, "Trace: ") {
			return "answered " + status + ": " + text
		}
	}
	return "answered " + status
}

var (
	blocks = regexp.MustCompile(`(?s)<(h1|p)>.*?</(h1|p)>`)
	tags   = regexp.MustCompile(`(?s)<(style|title|script)\b.*?</(style|title|script)>|<[^>]*>`)
)

// firstText is the first words of a page.
func firstText(page string) string {
	text := strings.Join(strings.Fields(tags.ReplaceAllString(page, " ")), " ")
	return cmp.Or(firstLine([]byte(text)), "(an empty answer)")
}

// pageTrace is a trace's id on uservice3's page, of an error too, with the link to it.
var pageTrace = regexp.MustCompile(`Trace: (?:<code>)?(?:<a href="([^"]+)"[^>]*>)?([0-9a-f]{32})`)

// traceOf is the id of the trace that an answer names, in its header or on its page; "" for none.
func traceOf(res response) string {
	if h := ledger.Decode("traceresponse", res.header.Get("traceresponse")); h.Valid {
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
	h := ledger.Decode("traceresponse", value)
	v.id = traceOf(v.response)
	v.sampled = v.id != "" && (!h.Valid || *h.Sampled) // a page names sampled traces only
	switch {
	case v.sampled && value == "":
		return broken("the answer has no traceresponse header; its page names "+v.id, "traceresponse stripped")
	case value == "":
		return broken("the answer has no traceresponse header", "tracing off", "plain service")
	case !h.Valid:
		return broken(fmt.Sprintf("traceresponse is %q, which names no trace", value), "traceresponse replaced")
	case v.sampled:
		return fine("%s, sampled", v.id)
	}
	detail := v.id + " was not sampled, so no span of it is sent"
	switch caller := ledger.Decode(ledger.UberTraceID, v.arrived(ctx)[ledger.UberTraceID]); {
	case caller.Valid && !*caller.Sampled:
		return broken(detail, "proxy does not sample")
	case caller.Valid:
		return broken(detail, "uservice3 does not sample")
	}
	if v.o.Kind == Local {
		return broken(detail, "proxy does not sample", "uservice3 does not sample")
	}
	return broken(detail, "tracing off", "proxy does not sample", "uservice3 does not sample")
}

// tempoReady asks the trace back end whether it is there.
func (v *visit) tempoReady(ctx context.Context) outcome {
	switch res, err := v.ask(ctx, topology.Tempo, "/ready", nil); {
	case err != nil:
		return v.unreachable(topology.Tempo, err)
	case res.status == http.StatusServiceUnavailable:
		return broken("not ready: "+firstLine(res.body), "tempo starting", "tempo cannot write").yet()
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("/ready answers %d: %s", res.status, firstLine(res.body)), "not tempo")
	}
	return fine("ready at %s", v.o.URLs[topology.Tempo])
}
