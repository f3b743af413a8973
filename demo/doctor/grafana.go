package doctor

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// traceLink follows the link that the service's page has for its trace.
func (e *examination) traceLink(ctx context.Context) outcome {
	viewer, base := "Grafana", e.o.URLs[grafana]
	if base == "" {
		viewer, base = "the page", e.o.URLs[topology.Explorer]
	}
	if base == "" {
		return absent
	}
	var link string
	if m := pageTrace.FindSubmatch(e.response.body); m != nil {
		link = html.UnescapeString(string(m[1]))
	}
	u, err := url.Parse(link)
	if err != nil || !strings.Contains(link, e.id) ||
		viewer == "Grafana" && !strings.Contains(u.Query().Get("panes"), `"tempo"`) {
		detail := fmt.Sprintf("the page of uservice3 has no link by which %s opens this trace: %s", viewer, link)
		return broken(strings.TrimSuffix(detail, ": "), "wrong trace link")
	}
	res, err := get(ctx, e.http, askTimeout, link, "")
	switch {
	case err != nil && e.states[linkGrafana] == Broken:
		return skipped("needs: " + linkGrafana)
	case err != nil:
		return broken(fmt.Sprintf("the link leads to %s, where nothing answers", hostOf(link)), "old trace link").
			with(viewer + " is elsewhere, at " + base)
	case res.status/100 == 3:
		return broken(viewer+" wants a login: it leads on to "+res.header.Get("Location"), "visitors not let in")
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("%s answers %d: %s", viewer, res.status, pageText(res.body)), "wrong trace link")
	}
	return fine("%s opens it: 200 from %s", viewer, hostOf(link))
}
