package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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

// request calls uservice3 through the proxy.
func (v *visit) request(ctx context.Context) (response, error) {
	return get(ctx, v.http, answerTimeout, v.o.URLs[topology.Gateway]+"/", topology.Host(topology.Uservice3))
}

// ask asks one of the parts.
func (v *visit) ask(ctx context.Context, part, path string, params url.Values) (response, error) {
	if len(params) > 0 {
		path += "?" + params.Encode()
	}
	return get(ctx, v.http, askTimeout, v.o.URLs[part]+path, "")
}

// askJSON asks one of the parts for JSON. An answer that is not 200, or no JSON, is a statusError.
func (v *visit) askJSON(ctx context.Context, part, path string, params url.Values) (gjson.Result, error) {
	res, err := v.ask(ctx, part, path, params)
	switch {
	case err != nil:
		return gjson.Result{}, err
	case res.status != http.StatusOK:
		return gjson.Result{}, statusError{res.status, firstLine(res.body)}
	case !gjson.ValidBytes(res.body):
		return gjson.Result{}, statusError{res.status, "an answer that is not JSON"}
	}
	return gjson.ParseBytes(res.body), nil
}

// statusError is an answer that is of no use.
type statusError struct {
	status int
	line   string
}

func (e statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.line) }

// firstLine is what is shown of a body; the rest may be a whole page.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return term.Fit(strings.TrimSpace(line), 120, "...")
}

// unreachable judges a question to a part that got no useful answer.
func (v *visit) unreachable(part string, err error) outcome {
	target := v.o.URLs[part]
	addr := hostOf(target)
	if useless, ok := errors.AsType[statusError](err); ok {
		out := broken(fmt.Sprintf("%s answers %d at %s: %s", v.o.title(part), useless.status, addr, useless.line), "other answers")
		out.retry = useless.status >= 500 // it may be starting
		return out
	}
	v.down[part] = true
	// The numbers of connection errors differ by system, the words hardly.
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(err.Error(), w) })
	}
	_, unknownName := errors.AsType[*net.DNSError](err)
	switch {
	case unknownName:
		return broken("the name in "+target+" is not known on this machine", "moved")
	case errors.Is(err, context.DeadlineExceeded), says("timeout"):
		return broken("no answer from "+addr+" in time", "hangs", "packets swallowed")
	case says("refused"):
		return broken("connection refused: nobody listens at "+addr, "not running", "moved")
	case says("malformed HTTP", "tls:", "HTTP response to HTTPS"):
		return broken("what listens at "+addr+" does not speak plain HTTP", "no HTTP")
	case says("EOF", "reset", "forcibly closed"):
		return broken(addr+" closes the connection without an answer", "starting or stopping")
	}
	return broken(fmt.Sprintf("%s cannot be asked: %v", addr, err), "not reachable")
}
