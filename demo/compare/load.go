package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxLatency is the longest latency that the histogram holds; a request is given up after it.
	maxLatency = 30 * time.Second
	// retryAfter is a connection's pause after an error, lest errors make a load of their own.
	retryAfter = 10 * time.Millisecond
)

// newHistogram holds latencies from a microsecond to maxLatency with three digits, in 180 KB.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), 3)
}

// load is a closed loop: each connection sends its next request when it has the answer to the last,
// so that a slower service is asked less. Connections are kept alive. It is lighter than net/http's
// client, which would take as much of the machine as the services.
type load struct {
	name        string
	env         map[string]string // variables of the services
	addr        string            // host:port
	host        string            // of the Host header
	connections int
	warmUp      time.Duration // at first, not recorded
	duration    time.Duration // after that; requests under way at its end are waited for, and recorded
	requests    int           // if not zero, each connection sends no more
}

// result is what became of a load.
type result struct {
	answered  int64 // with 200, from the first to the last
	inTime    int64 // of these, within the duration
	errors    map[string]int64
	latencies *hdrhistogram.Histogram // in microseconds, of what was asked after the warm-up and answered with 200
}

// run applies the load until it is over or ctx ends, which is an error.
func (l load) run(ctx context.Context) (*result, error) {
	res := &result{errors: map[string]int64{}, latencies: newHistogram()}
	request := []byte("GET / HTTP/1.1\r\nHost: " + l.host + "\r\nUser-Agent: demo-compare\r\nAccept: text/html\r\n\r\n")
	begin := time.Now().Add(l.warmUp)
	end := begin.Add(l.duration)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range l.connections {
		all.Go(func() {
			conn := connection{addr: l.addr}
			defer conn.close()
			for n := 0; l.requests == 0 || n < l.requests; n++ {
				asked := time.Now()
				if ctx.Err() != nil || !asked.Before(end) {
					return
				}
				err := conn.ask(ctx, request)
				answered := time.Now()
				mu.Lock()
				res.add(err, asked, answered, begin, end)
				mu.Unlock()
				if err != nil {
					time.Sleep(retryAfter)
				}
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return res, nil
}

// add counts a request.
func (r *result) add(err error, asked, answered, begin, end time.Time) {
	if err != nil {
		r.errors[err.Error()]++
		return
	}
	r.answered++
	if answered.After(begin) && !answered.After(end) {
		r.inTime++
	}
	if !asked.Before(begin) {
		_ = r.latencies.RecordValue(min(answered.Sub(asked), maxLatency).Microseconds())
	}
}

// connection is kept as long as it works.
type connection struct {
	addr    string
	conn    net.Conn // nil before the first request and after an error
	answers *bufio.Reader
	unwatch func() bool // forgets the context that closes conn
}

// ask sends the request and reads its answer. Errors are few and short: they are counted by text.
func (c *connection) ask(ctx context.Context, request []byte) error {
	if c.conn == nil {
		conn, err := (&net.Dialer{Timeout: maxLatency}).DialContext(ctx, "tcp", c.addr)
		if err != nil {
			return fmt.Errorf("connect: %w", kindOf(err))
		}
		c.conn, c.answers = conn, bufio.NewReader(conn)
		c.unwatch = context.AfterFunc(ctx, func() { conn.Close() })
	}
	status, last, err := c.exchange(request)
	if err != nil || last {
		c.close()
	}
	switch {
	case err != nil:
		return kindOf(err)
	case status != http.StatusOK:
		return fmt.Errorf("answered %d %s", status, http.StatusText(status))
	}
	return nil
}

// exchange reads an answer to its end, and reports whether it is the last of the connection.
func (c *connection) exchange(request []byte) (status int, last bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(maxLatency)); err != nil {
		return 0, false, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, false, err
	}
	res, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return 0, false, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Close, errors.Join(err, res.Body.Close())
}

func (c *connection) close() {
	if c.conn != nil {
		c.unwatch()
		c.conn.Close()
		c.conn = nil
	}
}

// kindOf is an error without what differs from one connection to the next.
func kindOf(err error) error {
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return errors.New("timeout")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("connection closed without an answer")
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return errors.New("no HTTP answer")
}
