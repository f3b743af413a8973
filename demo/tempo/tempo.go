// Package tempo asks a Grafana Tempo, or package collector, for traces and makes trees of them. It asks a
// Loki, or package collector, for the log lines of a trace.
package tempo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// ErrNotTempo is what all methods return, wrapped, for an answer that no Tempo gives: a login page,
// for one.
var ErrNotTempo = errors.New("the answer is not Tempo's")

// ErrNotFound is what Trace returns, wrapped, for an id that is not known, or not yet.
var ErrNotFound = errors.New("trace not found")

// maxAnswerBytes bounds how much of an answer is read. Tempo itself refuses far smaller traces.
const maxAnswerBytes = 256 << 20

// Client asks one trace store, or log store. It is safe for concurrent use.
type Client struct {
	// Store is what the errors call it; empty means trace store.
	Store string
	// URL is where the trace store's API is, such as http://127.0.0.1:3200.
	URL string
	// HTTP makes the requests; nil means http.DefaultClient. Deadlines come from the contexts.
	HTTP *http.Client
}

// Ready returns nil when the trace store is up and ready, and otherwise why not.
func (c *Client) Ready(ctx context.Context) error {
	_, _, err := c.get(ctx, "/ready", nil, contentJSON)
	return err
}

// Trace returns a trace by its id of up to 32 hexadecimal digits, padded with zeros, or
// ErrNotFound. It may be incomplete: spans arrive as the services send them.
func (c *Client) Trace(ctx context.Context, id string) (*Trace, error) {
	id, err := traceid.Trace(id)
	if err != nil {
		return nil, err
	}
	data, partial, err := c.read(ctx, id, contentProtobuf) // in a fifth of the time of JSON
	if errors.Is(err, ErrNotTempo) {                       // Tempo keeps text that is not UTF-8, and mends it in JSON alone
		data, partial, err = c.read(ctx, id, contentJSON)
	}
	if refusal, ok := errors.AsType[*Refusal](err); err != nil && !(ok && refusal.Status == http.StatusNotFound) {
		return nil, err
	}
	spans := newSpans(data)
	if len(spans) == 0 {
		return nil, fmt.Errorf("%w: %s does not know %s", ErrNotFound, c.shown(), id)
	}
	t := NewTrace(id, spans)
	t.Partial = partial
	return t, nil
}

func (c *Client) read(ctx context.Context, id, accept string) (data *tracepb.TracesData, partial string, err error) {
	path := "/api/v2/traces/" + id
	body, mediaType, err := c.get(ctx, path, nil, accept)
	if err != nil {
		return nil, "", err
	}
	if data, partial, err = readTrace(body, mediaType); err != nil {
		err = fmt.Errorf("GET %s%s: %w: %w", c.shown(), path, ErrNotTempo, err)
	}
	return data, partial, err
}

// Refusal is an answer of the trace store with another status than 200.
type Refusal struct {
	Status int
	// Says is the first line of the answer, and may be empty.
	Says string
}

func (r *Refusal) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("%d %s: %s", r.Status, http.StatusText(r.Status), r.Says), ": ")
}

// shown is the URL without its password.
func (c *Client) shown() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return c.URL
	}
	return u.Redacted()
}

// get returns the body of a 200 and its media type. Any other status is a wrapped *Refusal.
func (c *Client) get(
	ctx context.Context, path string, params url.Values, accept string,
) (body []byte, mediaType string, err error) {
	u, store := strings.TrimSuffix(c.URL, "/")+path, cmp.Or(c.Store, "trace store")
	if len(params) > 0 {
		u += "?" + params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, "", fmt.Errorf("the %s's URL %q is wrong, it should look like http://127.0.0.1:3200: %w", store, c.URL, err)
	}
	req.Header.Set("Accept", accept)
	res, err := cmp.Or(c.HTTP, http.DefaultClient).Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", fmt.Errorf("no answer from the %s in time: %w", store, err)
		}
		return nil, "", fmt.Errorf("no %s answers at %s, start it (go run ./demo, or docker compose up) "+
			"or correct the address: %w", store, c.shown(), err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		page, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		line, _, _ := strings.Cut(strings.TrimSpace(string(page)), "\n")
		return nil, "", fmt.Errorf("GET %s: %w", req.URL.Redacted(), &Refusal{res.StatusCode, strings.TrimSpace(line)})
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err != nil {
		return nil, "", fmt.Errorf("GET %s: the answer broke off: %w", req.URL.Redacted(), err)
	}
	mediaType, _, _ = mime.ParseMediaType(res.Header.Get("Content-Type"))
	return body, mediaType, nil
}
