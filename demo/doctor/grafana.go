package doctor

import (
	"cmp"
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
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

// dataSources asks each back end a question by way of Grafana.
func (v *visit) dataSources(ctx context.Context) outcome {
	var good, down, problems, unreached []string
	var causes []cause
	for _, s := range []struct{ uid, probe string }{ // the data source of a part has its name
		{topology.Tempo, "/api/echo"},
		{prometheus, "/api/v1/query?query=1"},
		{loki, "/loki/api/v1/labels"},
	} {
		if v.o.URLs[s.uid] == "" {
			continue
		}
		if v.down[s.uid] {
			down = append(down, s.uid)
			continue
		}
		problem, cause := v.askSource(ctx, s.uid, s.probe)
		switch cause {
		case "":
			good = append(good, s.uid)
			continue
		case "data source unreachable":
			unreached = append(unreached, s.uid)
		}
		problems = append(problems, s.uid+": "+problem)
		if !slices.Contains(causes, cause) {
			causes = append(causes, cause)
		}
	}
	switch {
	case len(problems) > 0:
		return broken(strings.Join(problems, "; "), causes...).with(strings.Join(unreached, " and "))
	case len(good) == 0:
		return skipped("needs: " + strings.Join(down, ", "))
	case len(down) > 0:
		return fine("%s answer; %s not asked, being down", strings.Join(good, ", "), strings.Join(down, ", "))
	}
	return fine("%s answer through Grafana", strings.Join(good, ", "))
}

// askSource asks for a data source's own health, which not all of them tell, and sends a question
// to its back end through Grafana's proxy.
func (v *visit) askSource(ctx context.Context, uid, probe string) (problem string, why cause) {
	health, err := v.ask(ctx, grafana, "/api/datasources/uid/"+uid+"/health", nil)
	answer, proxyErr := v.ask(ctx, grafana, "/api/datasources/proxy/uid/"+uid+probe, nil)
	said := gjson.ParseBytes(health.body)
	switch {
	case health.status/100 == 2 && said.Get("status").String() != "ERROR", answer.status/100 == 2:
		return "", ""
	case err != nil || proxyErr != nil:
		return cmp.Or(err, proxyErr).Error(), "grafana stopped"
	case answer.status == http.StatusNotFound && health.status == http.StatusNotFound:
		return "Grafana knows no data source of this uid", "not provisioned"
	case answer.status == http.StatusUnauthorized, answer.status == http.StatusForbidden, answer.status == http.StatusFound:
		return "Grafana does not let a visitor ask", "visitors without a role"
	}
	message := cmp.Or(said.Get("message").String(), firstLine(answer.body))
	return fmt.Sprintf("status %d: %s", answer.status, message), "data source unreachable"
}

// traceLink follows the link that the service's page has for its trace.
func (v *visit) traceLink(ctx context.Context) outcome {
	viewer, base := "Grafana", v.o.URLs[grafana]
	if base == "" {
		viewer, base = "the page", v.o.URLs[topology.Explorer]
	}
	if base == "" {
		return absent("page for traces")
	}
	m := pageTrace.FindSubmatch(v.response.body)
	if m == nil || len(m[1]) == 0 {
		return broken("the page of uservice3 has no link to its trace", "no trace link")
	}
	link := html.UnescapeString(string(m[1]))
	if !strings.Contains(link, v.id) {
		return broken("the link on the page is not one to this trace: "+link, "wrong trace link")
	}
	if problem := checkPanes(link, v.id); problem != "" && viewer == "Grafana" {
		return broken("the link on the page is none that Explore understands: "+problem, "wrong trace link")
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

// checkPanes says what is wrong with a deep link into Explore, whose parameter panes is JSON.
func checkPanes(link, id string) string {
	u, err := url.Parse(link)
	if err != nil {
		return err.Error()
	}
	panes := u.Query().Get("panes")
	if !gjson.Valid(panes) {
		return "its parameter panes is not JSON"
	}
	for _, uid := range gjson.Get(panes, `@values.#.queries.#(query=="`+id+`").datasource.uid`).Array() {
		if uid.String() == topology.Tempo {
			return ""
		}
	}
	return "no query in its panes asks the data source tempo for the trace"
}
