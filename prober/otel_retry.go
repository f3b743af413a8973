package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"google.golang.org/grpc"
)

// This file has spans and log lines wait for a back end that is away. A reader may skip it.

// retry waits briefly, so that telemetry flows again within seconds of the back end's return. How long a
// batch is tried at most is up to OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_BSP_EXPORT_TIMEOUT and OTEL_BLRP_EXPORT_TIMEOUT.
var retry = otlptracegrpc.RetryConfig{
	Enabled: true, InitialInterval: 250 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Hour,
}

// attemptTimeout bounds one attempt to send a batch.
const attemptTimeout = 10 * time.Second

// attempts logs, once a minute at most, that the back end is not reached, and when it is reached again.
type attempts struct {
	log    *slog.Logger
	logged time.Time // that it is away
	away   bool
}

func (a *attempts) ended(err error) {
	if err != nil && time.Since(a.logged) >= time.Minute {
		a.logged, a.away = time.Now(), true
		a.log.Warn("telemetry does not reach the back end; requests are answered all the same", "error", err)
	} else if err == nil && a.away {
		a.away = false
		a.log.Info("telemetry reaches the back end again")
	}
}

// intercept is one attempt to send spans.
func (a *attempts) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	err := invoke(ctx, method, request, reply, conn, options...)
	if err != nil && strings.Contains(err.Error(), "invalid UTF-8") {
		mend(request)
		err = invoke(ctx, method, request, reply, conn, options...)
	}
	a.ended(err)
	return err
}

// RoundTrip is one attempt to send log lines. Their exporter repeats it after a status of 503, but not when
// a connection is refused or a name is not known: so that becomes a 503.
func (a *attempts) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols { // its body is the bare connection, which no timeout ends
		res.Body.Close()
		err = errors.New(res.Status)
	}
	if err != nil {
		res = &http.Response{StatusCode: http.StatusServiceUnavailable, Body: io.NopCloser(strings.NewReader(err.Error()))}
	} else if res.StatusCode >= 500 {
		err = errors.New(res.Status)
	}
	a.ended(err)
	return res, nil
}
