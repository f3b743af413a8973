package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
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

func (r response) is2xx() bool { return r.status/100 == 2 }

// get asks a URL. The error is of the connection; any status is an answer.
func (v *visit) get(ctx context.Context, timeout time.Duration, target, host string) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return response{}, err
	}
	req.Host = host // empty: the URL's
	req.Header.Set("User-Agent", "grafana-tempo-go-demo-doctor")
	res, err := v.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return response{}, err
	}
	return response{res.StatusCode, res.Header, body}, nil
}

// ask asks one of the back ends.
func (v *visit) ask(ctx context.Context, base, path string, params url.Values) (response, error) {
	target := strings.TrimSuffix(base, "/") + path
	if len(params) > 0 {
		target += "?" + params.Encode()
	}
	return v.get(ctx, askTimeout, target, "")
}

// askJSON asks one of the back ends for JSON. An answer that is not 200, or no JSON, is an error too.
func (v *visit) askJSON(ctx context.Context, base, path string, params url.Values, into any) error {
	res, err := v.ask(ctx, base, path, params)
	if err != nil {
		return err
	}
	if res.status != http.StatusOK {
		return &statusError{base + path, res.status, firstLine(res.body)}
	}
	if err := json.Unmarshal(res.body, into); err != nil {
		return &statusError{base + path, res.status, "an answer that is not JSON"}
	}
	return nil
}

// statusError is an answer that is of no use.
type statusError struct {
	url    string
	status int
	line   string
}

func (e *statusError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("%s answers %d: %s", e.url, e.status, e.line), ": ")
}

// firstLine is what is shown of a body; the rest may be a whole page.
func firstLine(body []byte) string {
	for line := range strings.Lines(string(body[:min(len(body), 1024)])) {
		if line = strings.TrimSpace(line); line != "" {
			if len(line) > 120 {
				line = strings.ToValidUTF8(line[:120], "") + "..."
			}
			return line
		}
	}
	return ""
}

// failure is what kind of trouble a connection had.
type failure int

const (
	failed failure = iota
	refused
	timedOut
	unknownName
	cutOff
	notHTTP
)

// kindOf looks through the layers of an error. The numbers of a refused connection differ by system, and on Windows they
// are not Go's; the word is the same.
func kindOf(err error) failure {
	var dns *net.DNSError
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.As(err, &dns):
		return unknownName
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return timedOut
	case strings.Contains(text, "refused"):
		return refused
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, "tls:"), strings.Contains(text, "HTTP response to HTTPS"):
		return notHTTP
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(text, "reset"), strings.Contains(text, "forcibly closed"):
		return cutOff
	}
	return failed
}

// unreachable judges a connection to a part that did not come to an answer. flag is the part's flag of `demo doctor`.
func (v *visit) unreachable(name, flag, target string, err error) outcome {
	addr := target
	if u, parseErr := url.Parse(target); parseErr == nil {
		addr = u.Host
	}
	var useless *statusError
	if errors.As(err, &useless) {
		return broken(fmt.Sprintf("%s answers %d at %s: %s", name, useless.status, addr, useless.line),
			Cause{fmt.Sprintf("What listens at %s is not %s, or it is in trouble.", addr, name),
				v.logs(name) + "; or give its address with -" + flag})
	}
	v.down[name] = true
	up, start := v.restart(name), v.logs(name)
	if v.o.Kind == Compose {
		up = "docker compose ps -a " + name + "; " + up
	}
	moved := Cause{fmt.Sprintf("%s runs, and at another address.", name), "give it with -" + flag}
	switch kindOf(err) {
	case refused:
		return broken(fmt.Sprintf("connection refused: nobody listens at %s", addr),
			Cause{fmt.Sprintf("%s is not running: it was not started, or has ended.", name), up}, moved)
	case timedOut:
		return broken(fmt.Sprintf("no answer from %s in time, and no refusal either", addr),
			Cause{fmt.Sprintf("%s hangs: it is overloaded, short of memory, or paused.", name), start},
			Cause{"Something on the way swallows packets, such as a firewall.", "curl -v " + target})
	case unknownName:
		return broken(fmt.Sprintf("the name in %s is not known on this machine", target), moved)
	case cutOff:
		return broken(fmt.Sprintf("%s closes the connection without an answer", addr),
			Cause{fmt.Sprintf("%s is just starting, or just stopping; a container's port is open before its program is.", name), start})
	case notHTTP:
		return broken(fmt.Sprintf("what listens at %s does not speak plain HTTP", addr),
			Cause{fmt.Sprintf("Another program has the port of %s, or the address is its OTLP port.", name), "give the right address with -" + flag})
	}
	return broken(fmt.Sprintf("%s cannot be asked: %v", addr, err), Cause{fmt.Sprintf("%s is not reachable from here.", name), start})
}
