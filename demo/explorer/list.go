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
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	maxListed = 50
	// listTimeout is for all searches of one list. The page gives up after 15 s, and asks again.
	listTimeout = 12 * time.Second
	// mostRecent is a hint for a TraceQL query, which Tempo takes since 2.8. Without it, one that finds
	// more traces than it is asked for returns any of them.
	mostRecent = " with (most_recent=true)"
)

// window is how far a list looks back.
type window struct {
	name string // as a parameter has it
	span time.Duration
	past string // in words
}

var hour, day = window{"1h", time.Hour, "the last hour"}, window{"24h", 24 * time.Hour, "the last 24 hours"}

// filter chooses traces. The zero filter takes all.
type filter struct {
	service string
	min     time.Duration // in whole milliseconds, as summaries have a duration
	errors  bool
}

// list is the answer of GET /api/traces.
type list struct {
	Traces []story.Listed `json:"traces"` // the newest first
	// Services have sent spans of a trace that was found, listed or not.
	Services []string `json:"services"`
	Foot     string   `json:"foot"`  // says that there may be more
	Empty    *empty   `json:"empty"` // says why there are none; nil if there are some
	// MinProblem says what is wrong with the parameter min, which then chooses nothing.
	MinProblem string `json:"min_problem,omitempty"`
}

type empty struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	// Window is a wider one that has traces, which Offer says. Both are empty if there is none.
	Window string `json:"window,omitempty"`
	Offer  string `json:"offer,omitempty"`
}

// traces answers GET /api/traces with the newest. The parameters service, min and errors choose among
// them; window is 1h or 24h.
func (e *explorer) traces(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	shortest, problem := parseMin(query.Get("min"))
	f := filter{query.Get("service"), shortest, query.Has("errors")}
	in := hour
	if query.Get("window") == day.name {
		in = day
	}
	ctx, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	l, err := e.list(ctx, f, in)
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

// list makes a list of the traces of a window that a filter lets through.
func (e *explorer) list(ctx context.Context, f filter, in window) (*list, error) {
	now := time.Now()
	filtered := f != filter{}
	limit := maxListed
	if filtered {
		limit *= 2
	}
	var newest, chosen []tempo.Summary
	g, each := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		newest, err = e.newest(each, "{}", now.Add(-in.span), limit)
		return err
	})
	if filtered { // the newest may not include enough of them
		g.Go(func() (err error) {
			chosen, err = e.newest(each, f.traceQL(), now.Add(-in.span), maxListed)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	found := map[string]tempo.Summary{}
	for _, s := range slices.Concat(chosen, newest) {
		if found[s.ID].Services == nil {
			found[s.ID] = s
		}
	}
	known := e.learn(ctx, found, now, in)

	l := &list{Traces: []story.Listed{}, Services: []string{}}
	var passed []tempo.Summary
	for id, s := range found {
		for name := range s.Services {
			if name != "" && !slices.Contains(l.Services, name) {
				l.Services = append(l.Services, name)
			}
		}
		// Of a trace whose spans nobody counted, the store has to know.
		sure := s.Services == nil && slices.ContainsFunc(chosen, func(c tempo.Summary) bool { return c.ID == id })
		if f.passes(s, known[id].asked) || sure && s.Duration >= f.min {
			passed = append(passed, s)
		}
	}
	slices.Sort(l.Services)
	slices.SortFunc(passed, func(a, b tempo.Summary) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(a.ID, b.ID))
	})
	for _, s := range passed[:min(len(passed), maxListed)] {
		row := story.List(s, known[s.ID].asked, known[s.ID].received, now)
		row.Before = s.Start.Before(e.faultBegan())
		l.Traces = append(l.Traces, row)
	}
	switch len(l.Traces) {
	case 0:
		l.Empty = e.nothing(ctx, f, in, now)
	case maxListed:
		that := ""
		if filtered {
			that = " that match"
		}
		l.Foot = fmt.Sprintf("The newest %d of %s%s. To find older ones, use the filters or an id.", maxListed, in.past, that)
	}
	return l, nil
}

func (f filter) passes(s tempo.Summary, asked string) bool {
	_, sent := s.Services[f.service]
	_, failed := countSpans(s)
	return s.Duration >= f.min && (failed > 0 || !f.errors) &&
		(f.service == "" || sent || s.Service == f.service || asked == f.service)
}

func countSpans(s tempo.Summary) (all, failed int) {
	for _, n := range s.Services {
		all += n.Spans
		failed += n.Errors
	}
	return all, failed
}

// nothing says why a list is empty, and whether a wider window has something.
func (e *explorer) nothing(ctx context.Context, f filter, in window, now time.Time) *empty {
	says := &empty{Title: "No trace in " + in.past,
		Text: "Call a service. Its trace appears here once its spans reach the trace store; " +
			"a call that is not sampled has none."}
	if f != (filter{}) {
		says.Title, says.Text = "No trace matches", "Nothing in "+in.past+" passes these filters."
	}
	if in == day {
		return says
	}
	older, err := e.newest(ctx, f.traceQL(), now.Add(-day.span), 1)
	if err != nil {
		e.unheard(err)
	}
	if len(older) > 0 {
		says.Window, says.Offer = day.name, "Look at "+day.past
	}
	return says
}

// newest searches the newest traces that TraceQL describes.
func (e *explorer) newest(ctx context.Context, traceQL string, since time.Time, limit int) ([]tempo.Summary, error) {
	return e.client().Summaries(ctx, url.Values{
		"q":     {traceQL + mostRecent},
		"limit": {fmt.Sprint(limit)},
		"start": {fmt.Sprint(since.Unix())}, "end": {fmt.Sprint(time.Now().Add(time.Minute).Unix())}, // clocks differ
	})
}

// traceQL writes the filter as a query.
func (f filter) traceQL() string {
	var all []string
	if f.service != "" {
		all = append(all, ofService(f.service))
	}
	if f.errors {
		all = append(all, "{status=error}")
	}
	if f.min > 0 {
		all = append(all, fmt.Sprintf("{traceDuration>=%dms}", f.min.Milliseconds()))
	}
	return cmp.Or(strings.Join(all, " && "), "{}")
}

// ofService finds the traces of a service. A plain one sends no spans: it is found by the host name on the
// gateway's.
func ofService(name string) string {
	for _, s := range topology.Services() {
		if s.Name == name && !s.Instrumented {
			return askedFor(s.Host())
		}
	}
	return fmt.Sprintf("{resource.service.name=%q}", name)
}

// askedFor finds the traces of requests for a host name.
func askedFor(host string) string { return fmt.Sprintf("{span.server.address=%q}", host) }

// faultBegan is when the fault began that the reader looks for, or the zero time.
func (e *explorer) faultBegan() time.Time {
	if e.Faults != nil {
		if r := e.Faults.State().Riddle; r != nil {
			return r.Began
		}
	}
	return time.Time{}
}
