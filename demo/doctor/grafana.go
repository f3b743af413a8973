package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// grafana asks whether it is healthy, which needs no login.
func (v *visit) grafana(ctx context.Context) outcome {
	if v.o.Grafana == "" {
		return absent("this stack has no Grafana")
	}
	var health struct {
		Database string `json:"database"`
		Version  string `json:"version"`
	}
	var err error
	v.poll(ctx, v.within(20*time.Second), "Grafana is starting", func(ctx context.Context) bool {
		err = v.askJSON(ctx, v.o.Grafana, "/api/health", nil, &health)
		var starting *statusError
		return err == nil || !errors.As(err, &starting) || starting.status != http.StatusServiceUnavailable
	})
	switch {
	case err != nil:
		return v.unreachable("grafana", "grafana", v.o.Grafana, err)
	case health.Database != "ok":
		return broken(fmt.Sprintf("its database is %q", health.Database),
			Cause{"Grafana cannot write its volume, or the disk is full.", v.logs("grafana")})
	}
	return fine("version %s, its database is ok", health.Version)
}

// dataSource is one that the demo provisions.
type dataSource struct {
	uid, part string
	// probe is a question to the back end, asked through Grafana's proxy.
	probe string
}

// dataSources asks each back end a question by way of Grafana.
func (v *visit) dataSources(ctx context.Context) outcome {
	if v.o.Grafana == "" {
		return absent("this stack has no Grafana")
	}
	sources := []dataSource{{"tempo", "tempo", "/api/echo"}}
	if v.o.Prometheus != "" {
		sources = append(sources, dataSource{"prometheus", "prometheus", "/api/v1/query?query=1"})
	}
	if v.o.Loki != "" {
		sources = append(sources, dataSource{"loki", "loki", "/loki/api/v1/labels"})
	}
	var good, bad, skip []string
	var causes []Cause
	for _, s := range sources {
		if v.down[s.part] {
			skip = append(skip, s.uid)
			continue
		}
		what, cause := v.askSource(ctx, s)
		if what == "" {
			good = append(good, s.uid)
			continue
		}
		bad = append(bad, s.uid+": "+what)
		causes = append(causes, cause)
	}
	switch {
	case len(bad) > 0:
		return broken(strings.Join(bad, "; "), causes...)
	case len(good) == 0:
		return skipped("needs: " + strings.Join(skip, ", "))
	case len(skip) > 0:
		return fine("%s answer; %s not asked, being down", strings.Join(good, ", "), strings.Join(skip, ", "))
	}
	return fine("%s answer through Grafana", strings.Join(good, ", "))
}

// askSource asks for a data source's own health, and where it cannot tell, or says no, asks its back end.
func (v *visit) askSource(ctx context.Context, s dataSource) (what string, cause Cause) {
	logs := v.logs("grafana")
	health, err := v.ask(ctx, v.o.Grafana, "/api/datasources/uid/"+s.uid+"/health", nil)
	if err != nil {
		return err.Error(), Cause{"Grafana has stopped answering.", logs}
	}
	var said struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(health.body, &said)
	if health.is2xx() && said.Status != "ERROR" {
		return "", Cause{}
	}
	probe, err := v.ask(ctx, v.o.Grafana, "/api/datasources/proxy/uid/"+s.uid+s.probe, nil)
	switch {
	case err != nil:
		return err.Error(), Cause{"Grafana has stopped answering.", logs}
	case probe.is2xx():
		return "", Cause{}
	case probe.status == http.StatusNotFound && health.status == http.StatusNotFound:
		return "Grafana knows no data source of this uid", Cause{"It was not provisioned.",
			"see conf/grafana/datasources; docker compose logs grafana | grep -i provision"}
	case probe.status == http.StatusUnauthorized || probe.status == http.StatusForbidden || probe.status == http.StatusFound:
		return "Grafana does not let a visitor ask", Cause{"Anonymous visitors have no role, or one without data sources.",
			v.change("set GF_AUTH_ANONYMOUS_ENABLED=true and GF_AUTH_ANONYMOUS_ORG_ROLE=Editor", "grafana")}
	}
	text := said.Message
	if text == "" {
		text = firstLine(probe.body)
	}
	return fmt.Sprintf("status %d: %s", probe.status, text), Cause{
		fmt.Sprintf("Grafana cannot reach %s, though it answers here: the data source's URL is wrong, or they share no network.", s.part),
		"see its url in conf/grafana/datasources/datasources.yaml; " + logs}
}

// pageLink is the link to the trace on uservice3's page.
var pageLink = regexp.MustCompile(`Trace: <code><a href="([^"]+)"`)

// traceLink follows the link that the service's page has for its trace.
func (v *visit) traceLink(ctx context.Context) outcome {
	viewer, base := "Grafana", v.o.Grafana
	if base == "" {
		viewer, base = "the page", v.o.Explorer
	}
	if base == "" {
		return absent("this stack has no page for traces")
	}
	m := pageLink.FindSubmatch(v.response.body)
	if m == nil {
		return broken("the page of "+caller+" has no link to its trace",
			Cause{"TRACE_LINK is not set.", v.change("set TRACE_LINK as docker-compose.yaml does", caller)})
	}
	link := html.UnescapeString(string(m[1]))
	wrong := Cause{"TRACE_LINK has a wrong form; the format has changed over the versions of Grafana.",
		v.change("set TRACE_LINK as docker-compose.yaml does", caller)}
	if u, err := url.Parse(link); err != nil || !strings.Contains(link, v.id) {
		return broken("the link on the page is not one to this trace: "+link, wrong)
	} else if viewer == "Grafana" {
		if why := checkPanes(u, v.id); why != "" {
			return broken("the link on the page is none that Explore understands: "+why, wrong)
		}
	}
	res, err := v.get(ctx, askTimeout, link, "")
	switch {
	case err != nil && v.states[linkGrafana] == Broken:
		return skipped("needs: " + linkGrafana)
	case err != nil:
		return broken(fmt.Sprintf("the link leads to %s, where nothing answers", hostOf(link)),
			Cause{fmt.Sprintf("%s is elsewhere, at %s: its port was changed, and %s still has the old TRACE_LINK.", viewer, base, caller),
				v.restart(caller)})
	case res.status/100 == 3:
		return broken(fmt.Sprintf("%s wants a login: it leads on to %s", viewer, res.header.Get("Location")),
			Cause{"Anonymous visitors are not let in, or may not use Explore.",
				v.change("set GF_AUTH_ANONYMOUS_ENABLED=true and GF_AUTH_ANONYMOUS_ORG_ROLE=Editor", "grafana")})
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("%s answers %d: %s", viewer, res.status, firstText(res.body)), wrong)
	}
	return fine("%s opens it: 200 from %s", viewer, hostOf(link))
}

// checkPanes says what is wrong with a deep link into Explore, whose state is JSON in the parameter panes; empty for nothing.
func checkPanes(u *url.URL, id string) string {
	var panes map[string]struct {
		Queries []struct {
			Query      string `json:"query"`
			DataSource struct {
				UID string `json:"uid"`
			} `json:"datasource"`
		} `json:"queries"`
	}
	if err := json.Unmarshal([]byte(u.Query().Get("panes")), &panes); err != nil {
		return "its parameter panes is not JSON"
	}
	for _, pane := range panes {
		for _, q := range pane.Queries {
			if q.Query == id && q.DataSource.UID == "tempo" {
				return ""
			}
		}
	}
	return "no query in its panes asks the data source tempo for the trace"
}
