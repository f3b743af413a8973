package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
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
	userAgent     = "grafana-tempo-go-demo-doctor"
)

// newClient asks all parts. Without a dial it uses the network.
func newClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // not the environment's: the parts are on this machine, or where the flags say
	if dial != nil {
		transport.DialContext = dial
	}
	return &http.Client{
		Transport: plain{transport}, Timeout: answerTimeout,
		// A redirect is an answer to judge, mostly one that asks for a login.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// plain refuses 101 Switching Protocols. The body of such an answer is the connection, and neither a
// context nor a timeout would end a read of it.
type plain struct{ *http.Transport }

func (p plain) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := p.Transport.RoundTrip(req)
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		return nil, errors.New("malformed HTTP: 101 Switching Protocols, which nobody asked for")
	}
	return res, err
}

// response is an answer over HTTP.
type response struct {
	status int
	header http.Header
	body   []byte
}

// String is what is shown of an answer, whose body may be a whole page.
func (r response) String() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(r.body)), "\n")
	return fmt.Sprintf("%d %s", r.status, term.Fit(strings.TrimSpace(line), 120, "..."))
}

// get asks a URL, of a host if one is given. An error is one of the connection; any status is an answer.
func get(ctx context.Context, client *http.Client, timeout time.Duration, target, host string) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
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
	return response{res.StatusCode, res.Header, body}, err
}

// call sends a request to a service through the gateway.
func (e *examination) call(ctx context.Context, service string) (response, error) {
	return get(ctx, e.http, answerTimeout, e.o.URLs[topology.Gateway]+"/", topology.Host(service))
}

// ask asks one of the parts for a path; in it, __id__ is the trace's, and __since__ two minutes before
// the request.
func (e *examination) ask(ctx context.Context, part, path string) (response, error) {
	if e.o.URLs[part] == "" {
		return response{}, fmt.Errorf("%s is not in this stack", part)
	}
	since := strconv.FormatInt(e.sent.Add(-2*time.Minute).UnixNano(), 10)
	path = strings.NewReplacer("__id__", e.id, "__since__", since).Replace(path)
	host := ""
	if part == grafana && strings.HasPrefix(e.o.URLs[part], "http://127.0.0.1:") {
		host = "localhost" // Grafana answers to this name alone: GF_SERVER_ENFORCE_DOMAIN
	}
	return get(ctx, e.http, askTimeout, e.o.URLs[part]+path, host)
}

// askJSON asks for JSON. An answer that is not 200, or no JSON, is an error.
func (e *examination) askJSON(ctx context.Context, part, path string) (gjson.Result, error) {
	res, err := e.ask(ctx, part, path)
	switch {
	case err != nil:
		return gjson.Result{}, err
	case res.status != http.StatusOK || !json.Valid(res.body): // gjson's Valid would recurse without a bound
		return gjson.Result{}, fmt.Errorf("answers with status %v", res)
	}
	return gjson.ParseBytes(res.body), nil
}

// put asks a question, and reports whether the answer is what is wanted.
func (e *examination) put(ctx context.Context, q question) (answer string, good bool, err error) {
	if q.value == "" {
		var res response
		res, err = e.ask(ctx, q.part, q.path)
		answer = res.String()
	} else {
		var found gjson.Result
		found, err = e.askJSON(ctx, q.part, q.path)
		answer = found.Get(q.value).String()
	}
	return answer, err == nil && regexp.MustCompile(q.want).MatchString(answer), err
}

// askAll judges a link by its questions alone.
func (e *examination) askAll(ctx context.Context, link string) outcome {
	var answers []string
	for _, q := range questions[link] {
		if q.about != "" && (e.o.URLs[q.about] == "" || e.down[q.about]) {
			continue
		}
		answer, good, err := e.put(ctx, q)
		says := cmp.Or(q.about, q.path) + " answers "
		switch {
		case err != nil:
			return e.unreachable(q.part, err)
		case !good:
			return broken(says+answer, q.otherwise).yet()
		}
		status, _, _ := strings.Cut(answer, " ")
		answers = append(answers, says+status)
	}
	if len(answers) == 0 {
		return skipped("needs: a back end that is up")
	}
	return fine("%s", strings.Join(slices.Compact(answers), ", "))
}

// failure is known by words in errors: the numbers differ by system, the words hardly.
type failure struct {
	words, detail string // a regular expression, and what to say of an address and the error
	causes        []cause
}

var failures = []failure{
	{"^answers with status 5", "%s %v", []cause{"in trouble"}},
	{"^answers", "%s %v", []cause{"other program", "in trouble"}},
	{"no such host", "the name in %s is not known on this machine", []cause{"moved"}},
	{"deadline exceeded|timeout", "no answer from %s in time", []cause{"hangs"}},
	{"refused", "connection refused: nobody listens at %s", []cause{"not running", "moved"}},
	{"malformed HTTP|tls:|response to HTTPS", "what listens at %s does not speak plain HTTP", []cause{"other program"}},
	{"EOF|reset|forcibly closed", "%s closes the connection without an answer", []cause{"not reachable"}},
	{"", "%s cannot be asked: %v", []cause{"not reachable"}},
}

// unreachable judges a question to a part that got no useful answer.
func (e *examination) unreachable(part string, err error) outcome {
	i := slices.IndexFunc(failures, func(f failure) bool { return regexp.MustCompile(f.words).MatchString(err.Error()) })
	f := failures[i]
	e.down[part] = i > 1
	detail := strings.ReplaceAll(f.detail, "%s", hostOf(e.o.URLs[part]))
	out := broken(strings.ReplaceAll(detail, "%v", err.Error()), f.causes...)
	out.retry = i == 0 // it may be starting
	return out
}
