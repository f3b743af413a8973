package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

const (
	maxAnswerBytes  = 64 << 10         // bounds what is read of an answer
	idleConnTimeout = 30 * time.Second // longer than the usual interval, shorter than servers keep a connection
)

// All causes of a failure. They are few, as each is a time series for each target.
const (
	causeTimeout = "timeout" // no whole answer in time
	causeDNS     = "dns"     // the proxy's name is not known
	causeRefused = "refused" // no connection to the proxy
	causeBroken  = "broken"  // the connection broke, or what came is not HTTP
	causeStatus  = "status"  // an answer, and it is not 200
	causeBody    = "body"    // 200, but cut off, too long, or without what it should contain
)

var causes = []string{causeTimeout, causeDNS, causeRefused, causeBroken, causeStatus, causeBody}

// badAnswer is the error of an answer that came and is not good.
type badAnswer struct {
	cause string
	err   error
}

func (e *badAnswer) Error() string { return e.err.Error() }
func (e *badAnswer) Unwrap() error { return e.err }

// ErrorType is the span's error.type.
func (e *badAnswer) ErrorType() string { return e.cause }

// causeOf returns which of the causes made a check fail.
func causeOf(err error) string {
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return causeTimeout // before the others: an answer that stops in its middle is late, not wrong
	}
	if answer, ok := errors.AsType[*badAnswer](err); ok {
		return answer.cause
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return causeDNS
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return causeRefused
	}
	return causeBroken
}

// probe asks for the page of a host as a visitor would, through the proxy.
type probe struct {
	client *http.Client
	scheme string
	expect string
}

func newProbe(conf config) *probe {
	proxy, _ := url.Parse(conf.proxy) // which parseConfig has checked
	addr := proxy.Host
	if proxy.Port() == "" {
		addr = net.JoinHostPort(proxy.Hostname(), proxy.Scheme) // package net knows the schemes' ports
	}
	var dialer net.Dialer
	transport := &http.Transport{ // without the machine's proxy for the internet
		IdleConnTimeout: idleConnTimeout,
		// The URL names the target, and so does the span's url.full. The connection goes to the proxy, which
		// knows names under .localhost; Go's resolver does not.
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, addr)
		},
	}
	return &probe{
		client: &http.Client{
			Transport: otelhttp.NewTransport(transport, spanName("target_call")...),
			// A page elsewhere is not the answer that was asked for.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		scheme: proxy.Scheme,
		expect: conf.expect,
	}
}

// check returns nil when host answers well before ctx ends. causeOf names the cause of its error.
func (p *probe) check(ctx context.Context, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.scheme+"://"+host+"/", nil)
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	req.Header.Set("User-Agent", "prober")
	res, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK { // its body is for people, and that of a 101 is the connection, which no timeout ends
		return &badAnswer{causeStatus, fmt.Errorf("%s: answered %s", host, res.Status)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return &badAnswer{causeBody, fmt.Errorf("%s: read answer: %w", host, err)}
	case len(body) > maxAnswerBytes:
		return &badAnswer{causeBody, fmt.Errorf("%s: answer is longer than %d bytes", host, maxAnswerBytes)}
	case !strings.Contains(string(body), p.expect):
		return &badAnswer{causeBody, fmt.Errorf("%s: answer lacks %q", host, p.expect)}
	}
	return nil
}
