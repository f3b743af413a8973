package doctor

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// grafana asks whether it is healthy, which needs no login.
func (v *visit) grafana(ctx context.Context) outcome {
	health, err := v.askJSON(ctx, grafana, "/api/health", nil)
	if err != nil {
		return v.unreachable(grafana, err)
	}
	if database := health.Get("database").String(); database != "ok" {
		return broken(fmt.Sprintf("its database is %q", database), "no database")
	}
	return fine("version %s, its database is ok", health.Get("version"))
}

// dataSources asks each back end a question through Grafana's proxy.
func (v *visit) dataSources(ctx context.Context) outcome {
	var good, problems []string
	var why cause = "data source"
	for _, s := range []struct{ uid, question string }{ // the data source of a part has its name
		{topology.Tempo, "/api/echo"},
		{prometheus, "/api/v1/query?query=1"},
		{loki, "/loki/api/v1/labels"},
	} {
		if v.o.URLs[s.uid] == "" || v.down[s.uid] {
			continue
		}
		answer, err := v.ask(ctx, grafana, "/api/datasources/proxy/uid/"+s.uid+s.question, nil)
		if err != nil {
			return v.unreachable(grafana, err)
		}
		switch answer.status {
		case http.StatusOK:
			good = append(good, s.uid)
			continue
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusFound:
			why = "visitors not let in"
		}
		problems = append(problems, fmt.Sprintf("%s: status %d %s", s.uid, answer.status, firstLine(answer.body)))
	}
	switch {
	case len(problems) > 0:
		return broken(strings.Join(problems, "; "), why)
	case len(good) == 0:
		return skipped("needs: tempo, prometheus or loki")
	}
	return fine("%s answer through Grafana", strings.Join(good, ", "))
}

// traceLink follows the link that the service's page has for its trace.
func (v *visit) traceLink(ctx context.Context) outcome {
	viewer, base := "Grafana", v.o.URLs[grafana]
	if base == "" {
		viewer, base = "the page", v.o.URLs[topology.Explorer]
	}
	if base == "" {
		return absent
	}
	var link string
	if m := pageTrace.FindSubmatch(v.response.body); m != nil {
		link = html.UnescapeString(string(m[1]))
	}
	if !strings.Contains(link, v.id) || viewer == "Grafana" && !opensTrace(link, v.id) {
		detail := fmt.Sprintf("the page of uservice3 has no link by which %s opens this trace: %s", viewer, link)
		return broken(strings.TrimSuffix(detail, ": "), "wrong trace link")
	}
	res, err := get(ctx, v.http, askTimeout, link, "")
	switch {
	case err != nil && v.states[linkGrafana] == Broken:
		return skipped("needs: " + linkGrafana)
	case err != nil:
		return broken(fmt.Sprintf("the link leads to %s, where nothing answers", hostOf(link)), "old trace link").
			with(viewer + " is elsewhere, at " + base)
	case res.status/100 == 3:
		return broken(fmt.Sprintf("%s wants a login: it leads on to %s", viewer, res.header.Get("Location")), "visitors not let in")
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("%s answers %d: %s", viewer, res.status, firstText(string(res.body))), "wrong trace link")
	}
	return fine("%s opens it: 200 from %s", viewer, hostOf(link))
}

// opensTrace reports whether a deep link into Explore, whose parameter panes is JSON, asks for a trace.
func opensTrace(link, id string) bool {
	u, err := url.Parse(link)
	if err != nil {
		return false
	}
	uids := gjson.Get(u.Query().Get("panes"), `@values.#.queries.#(query=="`+id+`").datasource.uid`)
	return strings.Contains(uids.Raw, strconv.Quote(topology.Tempo))
}
