// Command uservice3 is uservice1 with OpenTelemetry: its traces show where the time goes.
//
// Read this file: it is the lesson. otel.go sets OpenTelemetry up; your own service takes a
// copy of it and of the otel_*.go beside it. You may skip config.go, server.go, web.go and mock.go, which hardly differ.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// handleIncomingCall asks Redis, then the other service, and answers with a page.
func (s *service) handleIncomingCall(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	defer s.recoverPanic(ctx, w)
	span := trace.SpanFromContext(ctx)
	setTraceResponse(w.Header(), span.SpanContext())
	s.logRequest(ctx, r)
	if !s.checkRequest(ctx, w, r) {
		return
	}
	wish, err := decodeWishes(r.URL.RawQuery)
	if err != nil {
		s.fail(ctx, w, http.StatusBadRequest, "fail and slow take redis or database.", err)
		return
	}
	span.AddEvent("Request decoded!", trace.WithAttributes(attribute.Bool("happened", true)))
	if err := s.callRedis(ctx, wish); err != nil {
		s.fail(ctx, w, http.StatusInternalServerError, "Redis did not answer.", err)
		return
	}
	if err := s.callOtherUService(ctx, r.URL.RawQuery); err != nil {
		status, sentence := http.StatusBadGateway, "The call to the service behind this one failed."
		if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
			status, sentence = http.StatusGatewayTimeout, "The service behind this one took too long."
		}
		s.fail(ctx, w, status, sentence, err)
		return
	}
	span.SetStatus(codes.Ok, "")
	s.answer(ctx, w, http.StatusOK, helloWorld)
}

// callRedis is a mock: it takes as long as a Redis command over a slow network would.
func (s *service) callRedis(ctx context.Context, wish wishes) (err error) {
	// Redis sends no spans: only this span shows how long Redis took. So it ends when Redis answers.
	ctx, span := s.tracer.Start(ctx, "redis_call", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		semconv.DBSystemNameRedis, semconv.DBOperationName("GET"), attribute.String("test-attribute-1", "test-values-1")))
	defer endSpan(span, &err)
	return s.redis.call(ctx, wish)
}

// callOtherUService calls the upstream, passes the query on, and reads the whole answer.
func (s *service) callOtherUService(ctx context.Context, rawQuery string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.upstream, nil)
	if err != nil {
		return fmt.Errorf("other service: %w", err)
	}
	req.URL.RawQuery = rawQuery
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("other service: %w", err)
	}
	defer res.Body.Close()
	// The span ends with the body, so this event comes before it.
	trace.SpanFromContext(res.Request.Context()).AddEvent("Got response!", trace.WithAttributes(
		semconv.HTTPResponseStatusCode(res.StatusCode), attribute.String("traceresponse", res.Header.Get("Traceresponse"))))
	if res.StatusCode == http.StatusSwitchingProtocols { // its body is the bare connection, which no timeout ends
		return fmt.Errorf("other service: answered %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	if err != nil {
		return fmt.Errorf("other service: read answer: %w", err)
	}
	if len(body) > maxAnswerBytes {
		return fmt.Errorf("other service: answer is longer than %d bytes", maxAnswerBytes)
	}
	s.log.InfoContext(ctx, "answer of other service", "status", res.StatusCode, "body", string(body))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("other service: answered %s", res.Status)
	}
	return nil
}

// service answers requests after it has asked Redis and the other service.
type service struct {
	web
	client  *http.Client
	timeout time.Duration // of the whole outgoing call

	tracer trace.Tracer
}

func newService(conf config, log *slog.Logger) *service {
	client := &http.Client{Transport: &http.Transport{ // without a Proxy: services call each other directly
		MaxIdleConnsPerHost: 8192,            // the default of 2 would close all others after one use
		IdleConnTimeout:     idleTimeout / 2, // we give up first, so that no connection is reset in use
	}}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // go nowhere else
	client.Transport = otelhttp.NewTransport(client.Transport, spanName("other_uservice_call")...)
	return &service{
		web:     web{conf, log},
		client:  client,
		timeout: clientTimeout,

		tracer: otel.Tracer(scopeName),
	}
}

func (s *service) handler() http.Handler {
	var handler http.Handler = http.HandlerFunc(s.handleIncomingCall)
	handler = otelhttp.NewHandler(handler, "handle_incoming_call", spanName("handle_incoming_call")...)
	return handler
}

const (
	clientTimeout  = 10 * time.Second // leaves time to answer with a page that says so
	maxAnswerBytes = 64 << 10         // bounds what is read of an upstream's answer
)

//go:embed hello-world.html
var helloWorld string

// serviceConfig is what only this service has to be told.
type serviceConfig struct {
	upstream string
	redis    mock
}

func (c *serviceConfig) register(flags *flag.FlagSet) {
	c.redis.name = "redis"
	flags.StringVar(&c.upstream, "upstream", "", "`URL` of the other service, such as http://127.0.0.1:7879; required")
	flags.DurationVar(&c.redis.min, "redis-min", 100*time.Millisecond, "least `duration` of the mock Redis command")
	flags.DurationVar(&c.redis.max, "redis-max", 199*time.Millisecond, "greatest `duration` of the mock Redis command")
}

func (c *serviceConfig) check() error {
	target, err := url.Parse(c.upstream)
	switch {
	case c.upstream == "":
		err = errors.New("no upstream: set -upstream or UPSTREAM, for example http://127.0.0.1:7879")
	case err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		err = fmt.Errorf("-upstream %q: want http://host:port", c.upstream[strings.LastIndexByte(c.upstream, '@')+1:])
	}
	return errors.Join(err, c.redis.check(writeTimeout-clientTimeout-slowness-time.Second))
}
