// Package visit asks a service for its page through the gateway, as a visitor would.
package visit

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

const (
	// timeout is longer than the services': they answer within 15 s whatever happens.
	timeout = 25 * time.Second
	// maxPageBytes bounds what is read of a page, so that its connection can be used again.
	maxPageBytes = 1 << 20
)

// Request says what to ask for.
type Request struct {
	Service string `json:"service"`
	Fail    string `json:"fail"` // what shall fail: redis, database, or empty
	Slow    string `json:"slow"` // what shall take two seconds more, likewise
}

// Answer is what an outsider can know of one request.
type Answer struct {
	Service    string  `json:"service"`
	URL        string  `json:"url"` // as a browser would ask, such as http://uservice3.localhost:8000/?fail=redis
	Status     int     `json:"status"`
	DurationMS float64 `json:"duration_ms"` // page included
	// TraceResponse is the header of that name, 00-<trace id>-<span id>-<flags>; the plain pair
	// sends none. https://www.w3.org/TR/trace-context-2/#traceresponse-header
	TraceResponse string `json:"traceresponse,omitempty"`
}

// Get sends one GET through the gateway, a base URL. It follows no redirect: that is an answer, too.
func Get(ctx context.Context, transport http.RoundTripper, gateway *url.URL, want Request, userAgent string) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u := gateway.JoinPath("/")
	query := url.Values{}
	for name, dependency := range map[string]string{"fail": want.Fail, "slow": want.Slow} {
		if dependency != "" {
			query.Set(name, dependency)
		}
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Host = topology.Host(want.Service)
	if port := u.Port(); port != "" { // as a browser would send it
		req.Host = net.JoinHostPort(req.Host, port)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "text/html")

	sent := time.Now()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxPageBytes)); err != nil {
		return nil, err
	}
	u.Host, u.User = req.Host, nil
	return &Answer{
		Service:       want.Service,
		URL:           u.String(),
		Status:        res.StatusCode,
		DurationMS:    float64(time.Since(sent).Microseconds()) / 1000,
		TraceResponse: res.Header.Get("traceresponse"),
	}, nil
}

// Transport returns the way to parts that are on this machine or beside it, whatever HTTP_PROXY says.
func Transport() http.RoundTripper {
	return plain{&http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     30 * time.Second,
	}}
}

// plain refuses 101 Switching Protocols: the body of that answer is the bare connection, of which no
// timeout ends a read.
type plain struct{ http.RoundTripper }

func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := p.RoundTripper.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		return nil, errors.New("the answer is 101 Switching Protocols, which was not asked for")
	}
	return res, err
}
