package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// proxy sends the request.
func (v *visit) proxy(ctx context.Context) outcome {
	v.sent = time.Now()
	res, err := v.request(ctx)
	v.response, v.answered = res, time.Now()
	if err != nil {
		return v.unreachable(topology.Gateway, err)
	}
	body := string(res.body)
	// Our services' error pages name a trace too.
	ours := res.header.Get("traceresponse") != "" || strings.Contains(body, "<p>Trace: ")
	detail := fmt.Sprintf("answered %d %s: %s", res.status, http.StatusText(res.status), firstText(body))
	switch {
	case res.status == http.StatusOK && (ours || strings.Contains(body, "Hello, world!")):
		return fine("uservice3 answered 200 through %s", v.o.name(topology.Gateway))
	case ours && res.status >= 500:
		return broken(detail, "uservice4 fails", "uservice3 fails")
	case res.status >= 502 && res.status <= 504:
		return broken(detail, "uservice3 down")
	case res.status == http.StatusNotFound: // Traefik listens before it has read its routes
		return broken(detail, "other program", "no route").yet()
	}
	return broken(detail, "other program")
}

var tags = regexp.MustCompile(`(?s)<(style|title|script)\b.*?</(style|title|script)>|<[^>]*>`)

// firstText is the first words of a page.
func firstText(page string) string {
	return cmp.Or(firstLine([]byte(tags.ReplaceAllString(page, ""))), "(an empty answer)")
}

// pageTrace is a trace's id on uservice3's page, with the link to it.
var pageTrace = regexp.MustCompile(`Trace: <code>(?:<a href="([^"]+)".*>)?[0-9a-f]{32}`)

// traceID reads which trace the service says the request was.
func (v *visit) traceID(context.Context) outcome {
	value := v.response.header.Get("traceresponse")
	switch {
	case value == "" && pageTrace.Match(v.response.body):
		return broken("no traceresponse header, though the page names a trace", "traceresponse stripped")
	case value == "":
		return broken("the answer has no traceresponse header", "tracing off", "plain service")
	}
	h := ledger.Decode("traceresponse", value)
	if !h.Valid {
		return broken(fmt.Sprintf("traceresponse is %q, which names no trace", value), "traceresponse replaced")
	}
	v.id = h.TraceID
	if *h.Sampled {
		return fine("%s, sampled", v.id)
	}
	detail := v.id + " was not sampled, so nothing of it is sent anywhere"
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
