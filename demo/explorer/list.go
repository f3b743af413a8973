package explorer

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	maxListed = 50
	// listedFor is how far a list looks back.
	listedFor = 24 * time.Hour
	// listTimeout is for all searches of one list. The page gives up after 15 s, and asks again.
	listTimeout = 12 * time.Second
	// mostRecent is a hint for a TraceQL query, which Tempo takes since 2.8. Without it, one that finds
	// more traces than it is asked for returns any of them.
	mostRecent = " with (most_recent=true)"
)

// filter chooses traces. The zero filter takes all.
type filter struct {
	service string
	min     time.Duration // in whole milliseconds
	errors  bool
}

// list is the answer of GET /api/traces.
type list struct {
	Traces []story.Listed `json:"traces"` // the newest first
	// Services have sent spans of these traces.
	Services []string `json:"services"`
	Foot     string   `json:"foot"`  // says that there may be more
	Empty    *empty   `json:"empty"` // says why there are none; nil if there are some
	// MinProblem says what is wrong with the parameter min, which then chooses nothing.
	MinProblem string `json:"min_problem,omitempty"`
}

type empty struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// traces answers GET /api/traces with the newest. The parameters service, min and errors choose among
// them.
func (e *explorer) traces(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	shortest, problem := parseMin(query.Get("min"))
	ctx, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	l, err := e.list(ctx, filter{query.Get("service"), shortest, query.Has("errors")})
	if err != nil {
		e.failStore(w, r, err)
		return
	}
	l.MinProblem = problem
	answer(w, http.StatusOK, l)
}

// parseMin reads "1.5s", "200ms" or "200", which are milliseconds. Of anything else it says what is
// wanted.
func parseMin(text string) (d time.Duration, problem string) {
	text = strings.NewReplacer(" ", "", ",", ".", "min", "m").Replace(strings.ToLower(text))
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += "ms"
	}
	d, err := time.ParseDuration(cmp.Or(text, "0"))
	if err != nil || d < 0 {
		return 0, "Write a time such as 500ms or 1.5s."
	}
	return d.Truncate(time.Millisecond), ""
}

// list makes a list of the newest traces that a filter lets through.
func (e *explorer) list(ctx context.Context, f filter) (*list, error) {
	found, err := e.newest(ctx, time.Now().Add(-listedFor), maxListed, f.queries()...)
	if err != nil {
		return nil, err
	}
	found = found[:min(len(found), maxListed)]
	wishes, riddle := e.wishes(ctx, found), e.riddle()
	l := &list{Traces: []story.Listed{}, Services: []string{}}
	for _, s := range found {
		row := story.List(s, wishes[s.ID])
		row.Before = riddle != nil && s.Start.Before(riddle.Began)
		l.Traces = append(l.Traces, row)
		for name := range s.Services {
			if name != "" && !slices.Contains(l.Services, name) {
				l.Services = append(l.Services, name)
			}
		}
	}
	slices.Sort(l.Services)
	switch {
	case len(found) == maxListed:
		l.Foot = fmt.Sprintf("These are the newest %d. To find older ones, use the filters or an id.", maxListed)
	case len(found) == 0 && f == filter{}:
		l.Empty = &empty{"No traces yet", "The trace store has none of the last 24 hours. Call a service: its trace appears here once its spans " +
			"reach the store; a call that is not sampled has none."}
	case len(found) == 0:
		l.Empty = &empty{"No trace matches", "Nothing in the last 24 hours passes these filters."}
	}
	return l, nil
}

// newest searches the newest traces for which one of some TraceQL queries holds, at most limit for each.
func (e *explorer) newest(
	ctx context.Context, since time.Time, limit int, queries ...string,
) (all []tempo.Summary, err error) {
	found := make([][]tempo.Summary, len(queries))
	g, ctx := errgroup.WithContext(ctx)
	for i, q := range queries {
		g.Go(func() (err error) {
			found[i], err = e.client().Summaries(ctx, url.Values{
				"q":     {q + mostRecent},
				"limit": {fmt.Sprint(limit)},
				"start": {fmt.Sprint(since.Unix())}, "end": {fmt.Sprint(time.Now().Add(time.Minute).Unix())}, // clocks differ
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all = slices.Concat(found...)
	slices.SortFunc(all, func(a, b tempo.Summary) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(a.ID, b.ID))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(s tempo.Summary) bool {
		again := seen[s.ID]
		seen[s.ID] = true
		return again
	}), nil
}

// queries writes the filter as TraceQL. A service of the demo may have sent no span: it is also found by
// its host name, which the gateway's span has.
func (f filter) queries() []string {
	whose := []string{"{}"}
	if f.service != "" {
		whose = []string{fmt.Sprintf("{resource.service.name=%q}", f.service)}
	}
	if slices.Contains(services(), f.service) {
		whose = append(whose, askedFor(f.service))
	}
	for i := range whose {
		if f.errors {
			whose[i] += " && {status=error}"
		}
		if f.min > 0 {
			whose[i] += fmt.Sprintf(" && {traceDuration>=%dms}", f.min.Milliseconds())
		}
	}
	return whose
}
