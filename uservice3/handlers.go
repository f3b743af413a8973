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
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	// clientTimeout is for the whole outgoing call. With the mock's bounds it stays below the server's write timeout,
	// so that a slow upstream becomes a page that says so.
	clientTimeout = 10 * time.Second
	// maxAnswerBytes bounds what is read of an upstream's answer.
	maxAnswerBytes = 64 << 10
	// maxIdleConns is how many connections to the upstream are kept for the next calls. net/http's default of two per
	// host closes all others after one use each.
	maxIdleConns = 8192
)

//go:embed hello-world.html
var helloWorld string

// serviceConfig is what this service alone is set up with.
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
	case err != nil:
		err = fmt.Errorf("-upstream: %w", err)
	case c.upstream == "":
		err = errors.New("no upstream: set -upstream or UPSTREAM, for example http://127.0.0.1:7879")
	case target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		err = fmt.Errorf("-upstream %q: want http://host:port", c.upstream)
	}
	return errors.Join(err, c.redis.check(writeTimeout-clientTimeout-slowness-time.Second))
}

// service answers requests after it has asked Redis and the other service.
type service struct {
	web
	client   *http.Client
	timeout  time.Duration // of the whole outgoing call
	upstream string
	redis    mock

	tracer trace.Tracer
}

func newService(conf config, log *slog.Logger) *service {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // services talk to each other directly, whatever proxy the machine has for the internet
	transport.MaxIdleConns = maxIdleConns
	transport.MaxIdleConnsPerHost = maxIdleConns
	transport.IdleConnTimeout = idleTimeout / 2 // ours give up before the upstream's do, so that none is reset in use
	client := &http.Client{Transport: transport}
	// From here on a Client.Timeout would take a goroutine for each call, as with any transport that is not net/http's own.
	client.Transport = otelhttp.NewTransport(client.Transport, spanName("other_uservice_call"))
	return &service{
		web: web{
			log: log,

			traceLink: conf.traceLink,
		},
		client:   client,
		timeout:  clientTimeout,
		upstream: conf.upstream,
		redis:    conf.redis,

		tracer: otel.Tracer(scopeName),
	}
}

func (s *service) handler() http.Handler {
	handler := s.recoverPanics(http.HandlerFunc(s.handleIncomingCall))
	handler = otelhttp.NewHandler(handler, "handle_incoming_call", spanName("handle_incoming_call"))
	return handler
}

// handleIncomingCall asks Redis, then the other service, and answers with a page.
func (s *service) handleIncomingCall(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
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
		status, sentence := http.StatusBadGateway, "The service behind this one did not answer well."
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
	ctx, span := s.tracer.Start(ctx, "redis_call", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		semconv.DBSystemNameRedis, semconv.DBOperationName("GET"), attribute.String("test-attribute-1", "test-values-1")))
	defer func() { endSpan(span, err) }()
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
	trace.SpanFromContext(res.Request.Context()).AddEvent("Got response!", trace.WithAttributes( // before the body, which ends the span
		semconv.HTTPResponseStatusCode(res.StatusCode), attribute.String("traceresponse", res.Header.Get("traceresponse"))))
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
