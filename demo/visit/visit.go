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
	Page       []byte  `json:"-"`           // at most 1 MiB of it
	// TraceResponse is the header of that name, 00-<trace id>-<span id>-<flags>; the plain pair
	// sends none. https://www.w3.org/TR/trace-context-2/#traceresponse-header
	TraceResponse string `json:"traceresponse,omitempty"`
}

// Get sends one GET through the gateway, a base URL.
func Get(ctx context.Context, client *http.Client, gateway string, want Request, userAgent string) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway, nil)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	for name, dependency := range map[string]string{"fail": want.Fail, "slow": want.Slow} {
		if dependency != "" {
			query.Set(name, dependency)
		}
	}
	req.URL = req.URL.JoinPath("/")
	req.URL.RawQuery = query.Encode()
	req.Host = topology.Host(want.Service)
	if port := req.URL.Port(); port != "" { // as a browser would send it
		req.Host = net.JoinHostPort(req.Host, port)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "text/html")

	sent := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(io.LimitReader(res.Body, maxPageBytes))
	asked := url.URL{Scheme: req.URL.Scheme, Host: req.Host, Path: req.URL.Path, RawQuery: req.URL.RawQuery}
	return &Answer{
		Service:       want.Service,
		URL:           asked.String(),
		Status:        res.StatusCode,
		DurationMS:    float64(time.Since(sent).Microseconds()) / 1000,
		Page:          page,
		TraceResponse: res.Header.Get("traceresponse"),
	}, err
}

// Client returns a client for parts that are on this machine or beside it, whatever HTTP_PROXY says. To
// it a redirect is an answer, mostly one that asks for a login.
func Client() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: plain{&http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     30 * time.Second,
		}},
	}
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
