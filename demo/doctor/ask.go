package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	askTimeout    = 5 * time.Second  // for one question to a back end
	answerTimeout = 20 * time.Second // for the request itself: uservice3 gives up after 15 s
	maxBody       = 16 << 20
)

// response is an answer over HTTP.
type response struct {
	status int
	header http.Header
	body   []byte
}

// get asks a URL, with pairs of a header's name and value. An error is one of the connection; any
// status is an answer.
func get(
	ctx context.Context, client *http.Client, timeout time.Duration, target, host string, headers ...string,
) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return response{}, err
	}
	req.Host = host // empty: the URL's
	req.Header.Set("User-Agent", "grafana-tempo-go-demo-doctor")
	for pair := range slices.Chunk(headers, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	res, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	return response{res.StatusCode, res.Header, body}, err
}

// call sends a request to a service through the gateway.
func (v *visit) call(ctx context.Context, service string) (response, error) {
	return get(ctx, v.http, answerTimeout, v.o.URLs[topology.Gateway]+"/", topology.Host(service))
}

// ask asks one of the parts.
func (v *visit) ask(ctx context.Context, part, path string, params url.Values) (response, error) {
	if len(params) > 0 {
		path += "?" + params.Encode()
	}
	return get(ctx, v.http, askTimeout, v.o.URLs[part]+path, "")
}

// askJSON asks one of the parts for JSON. An answer that is not 200, or no JSON, is a useless error.
func (v *visit) askJSON(ctx context.Context, part, path string, params url.Values) (gjson.Result, error) {
	res, err := v.ask(ctx, part, path, params)
	if err == nil && (res.status != http.StatusOK || !gjson.ValidBytes(res.body)) {
		err = useless(res)
	}
	if err != nil {
		return gjson.Result{}, err
	}
	return gjson.ParseBytes(res.body), nil
}

// useless is an answer of which nothing can be made.
type useless response

func (u useless) Error() string { return fmt.Sprintf("status %d: %s", u.status, firstLine(u.body)) }

// firstLine is what is shown of a body; the rest may be a whole page.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return term.Fit(strings.TrimSpace(line), 120, "...")
}

// failures are by words in errors of connections: the numbers differ by system, the words hardly.
var failures = []struct {
	words, detail string // a regular expression, and what to say of an address
	causes        []cause
}{
	{"no such host", "the name in %s is not known on this machine", []cause{"moved"}},
	{"deadline exceeded|timeout", "no answer from %s in time", []cause{"hangs"}},
	{"refused", "connection refused: nobody listens at %s", []cause{"not running", "moved"}},
	{"malformed HTTP|tls:|HTTP response to HTTPS", "what listens at %s does not speak plain HTTP", []cause{"other program"}},
	{"EOF|reset|forcibly closed", "%s closes the connection without an answer", []cause{"not reachable"}},
}

// unreachable judges a question to a part that got no useful answer.
func (v *visit) unreachable(part string, err error) outcome {
	addr := hostOf(v.o.URLs[part])
	if answer, ok := errors.AsType[useless](err); ok {
		out := broken(fmt.Sprintf("%s at %s answers with %v", v.o.title(part), addr, answer), "in trouble")
		out.retry = answer.status >= 500 // it may be starting
		return out
	}
	v.down[part] = true
	for _, f := range failures {
		if regexp.MustCompile(f.words).MatchString(err.Error()) {
			return broken(fmt.Sprintf(f.detail, addr), f.causes...)
		}
	}
	return broken(fmt.Sprintf("%s cannot be asked: %v", addr, err), "not reachable")
}
