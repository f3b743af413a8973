package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

const (
	askTimeout    = 5 * time.Second  // for one question
	answerTimeout = 20 * time.Second // for the request itself, and for a trace: uservice3 gives up after 15 s
	maxBody       = 16 << 20
	userAgent     = "grafana-tempo-go-demo-doctor"
)

// response is an answer over HTTP.
type response struct {
	status int
	body   []byte
}

// String is what is shown of an answer, whose body may be a whole page.
func (r response) String() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(r.body)), "\n")
	return fmt.Sprintf("%d %s", r.status, term.Fit(line, 120, "..."))
}

// get asks a URL, of a host if one is given. An error is one of the connection; any status is an answer.
func get(ctx context.Context, client *http.Client, target, host string) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return response{}, err
	}
	req.Host = host // empty: the URL's
	req.Header.Set("User-Agent", userAgent)
	res, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	return response{res.StatusCode, body}, err
}

// call sends a request to a service through the gateway.
func (e *examination) call(ctx context.Context, service string) (*visit.Answer, error) {
	return visit.Get(ctx, e.http, e.o.URLs[topology.Gateway], visit.Request{Service: service}, userAgent)
}

// filled puts the trace's id, with and without leading zeros, and times into a path or a value. Just is two
// seconds before the request, and since two minutes.
func (e *examination) filled(text string) string {
	return strings.NewReplacer("__id__", e.id, "__short__", strings.TrimLeft(e.id, "0"),
		"__sent__", fmt.Sprintf("%.3f", float64(e.sent.UnixMilli())/1000),
		"__just__", fmt.Sprint(e.sent.Unix()-2), "__since__", fmt.Sprint(e.sent.Unix()-120),
		"__until__", fmt.Sprint(time.Now().Unix()+60)).Replace(text)
}

// errAnswer is wrapped for an answer that is not 200, or no JSON.
var errAnswer = errors.New("answers")

// askJSON asks one of the parts for JSON at a path, which is filled.
func (e *examination) askJSON(ctx context.Context, part, path string) (gjson.Result, error) {
	res, err := get(ctx, e.http, e.o.URLs[part]+e.filled(path), "")
	switch {
	case err != nil:
		return gjson.Result{}, err
	case res.status != http.StatusOK || !json.Valid(res.body): // gjson's Valid would recurse without a bound
		return gjson.Result{}, fmt.Errorf("%w %v", errAnswer, res)
	}
	return gjson.ParseBytes(res.body), nil
}

// put puts a question to a part, and reports whether the answer is what is wanted.
func (e *examination) put(ctx context.Context, part string, q question) (answer string, good bool, err error) {
	if q.value == "" {
		var res response
		res, err = get(ctx, e.http, e.o.URLs[part]+e.filled(q.path), "")
		answer = res.String()
	} else {
		var found gjson.Result
		found, err = e.askJSON(ctx, part, q.path)
		var values []string
		for _, value := range found.Get(e.filled(q.value)).Array() {
			values = append(values, value.String())
		}
		answer = strings.Join(values, ", ")
	}
	return answer, err == nil && regexp.MustCompile(q.want).MatchString(answer), err
}

// askAll judges a link by questions alone.
func (e *examination) askAll(ctx context.Context, c check) Link {
	var asked []string
	for _, q := range c.questions {
		if url, isPart := e.o.URLs[q.what]; isPart && url == "" {
			continue
		}
		answer, good, err := e.put(ctx, c.part, q)
		switch {
		case err != nil:
			return e.unreachable(c.part, err)
		case !good:
			return broken(q.what+": "+cmp.Or(answer, "none"), q.otherwise...).yet()
		}
		asked = append(asked, q.what)
	}
	return fine("%s", strings.Join(asked, ", "))
}

// unreachable judges a question to a part that got no useful answer.
func (e *examination) unreachable(part string, err error) Link {
	host := hostOf(e.o.URLs[part])
	if errors.Is(err, errAnswer) {
		return broken(fmt.Sprintf("%s %v", host, err), "other program").yet() // it may be starting
	}
	e.down[part] = true
	if inner := new(url.Error); errors.As(err, &inner) {
		err = inner.Err // the rest is the question
	}
	return broken(fmt.Sprintf("no answer from %s: %v", host, err), "not running")
}
