package compare

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// maxLatency is how long a request may take until it is given up.
const maxLatency = 30 * time.Second

// load is a closed loop: each connection sends its next request when it has the answer to the last,
// so that a slower service is asked less. Connections are kept alive.
type load struct {
	name        string
	env         map[string]string // variables of the services
	addr        string            // host:port
	host        string            // of the Host header
	connections int
	duration    time.Duration // requests under way at its end are waited for, and recorded
	requests    uint64        // if not zero, no more are sent
}

// result is what became of a load.
type result struct {
	vegeta.Metrics                  // of what was answered with 200
	failed         map[string]int64 // the rest, by error
}

// atOnce is a pace without pauses, until it is over.
type atOnce struct {
	vegeta.ConstantPacer
	over func(sent uint64) bool
}

func (a atOnce) Pace(_ time.Duration, sent uint64) (wait time.Duration, stop bool) {
	return 0, a.over(sent)
}

// run applies the load until it is over or ctx ends, which is an error.
func (l load) run(ctx context.Context) (*result, error) {
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	client := &http.Client{Timeout: maxLatency, Transport: &http.Transport{
		MaxIdleConnsPerHost: l.connections,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err == nil {
				context.AfterFunc(ended, func() { conn.Close() })
			}
			return conn, err
		},
	}}
	workers := uint64(l.connections)
	attacker := vegeta.NewAttacker(
		vegeta.Client(client), vegeta.Workers(workers), vegeta.MaxWorkers(workers), vegeta.MaxBody(0))
	target := vegeta.Target{Method: http.MethodGet, URL: "http://" + l.addr + "/", Header: http.Header{"Host": {l.host}}}
	pace := atOnce{over: func(sent uint64) bool { return ctx.Err() != nil || l.requests != 0 && sent >= l.requests }}

	res := &result{failed: map[string]int64{}}
	for r := range attacker.Attack(vegeta.NewStaticTargeter(target), pace, l.duration, "") {
		if r.Code == http.StatusOK {
			res.Add(r)
		} else {
			res.failed[strings.TrimSpace(r.Error[strings.LastIndex(r.Error, ":")+1:])]++ // without addresses
		}
	}
	res.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return res, nil
}
