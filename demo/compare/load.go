package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxLatency is the longest that is told apart in the histogram; a request is given up after it.
	maxLatency = 30 * time.Second
	// retryAfter is how long a connection waits after an error before it tries again, lest errors make a load of their own.
	retryAfter = 10 * time.Millisecond
)

// newHistogram holds latencies from a microsecond to maxLatency with three digits, in 180 KB.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), 3)
}

// load is a closed loop: each connection sends its next request when the one before it has been answered, so that a
// service that is slower is asked less. All connections are kept alive. It is lighter than net/http's client, which would
// take as much of the machine as the services.
type load struct {
	addr        string // host:port
	host        string // of the Host header
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
			defer context.AfterFunc(ctx, conn.abort)() // a read that waits for an answer ends with ctx
			for n := 0; ctx.Err() == nil && (l.requests == 0 || n < l.requests); n++ {
				asked := time.Now()
				if !asked.Before(end) {
					return
				}
				err := conn.ask(ctx, request)
				answered := time.Now()
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				if err != nil {
					res.errors[err.Error()]++
				} else {
					res.answered++
					if answered.After(begin) && !answered.After(end) {
						res.inTime++
					}
					if !asked.Before(begin) {
						_ = res.latencies.RecordValue(min(answered.Sub(asked), maxLatency).Microseconds())
					}
				}
				mu.Unlock()
				if err != nil {
					select {
					case <-ctx.Done():
					case <-time.After(retryAfter):
					}
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

// connection is kept as long as it works.
type connection struct {
	addr string

	mu      sync.Mutex // of conn and aborted, which abort shares
	conn    net.Conn
	aborted bool
	answers *bufio.Reader
}

// ask sends the request and reads its answer to the end. Errors are few and short, so that they can be counted by text.
func (c *connection) ask(ctx context.Context, request []byte) error {
	if c.conn == nil {
		conn, err := (&net.Dialer{Timeout: maxLatency}).DialContext(ctx, "tcp", c.addr)
		if err != nil {
			return fmt.Errorf("connect: %w", kindOf(err))
		}
		c.mu.Lock()
		c.conn = conn
		if c.aborted {
			conn.Close()
		}
		c.mu.Unlock()
		if c.answers == nil {
			c.answers = bufio.NewReader(conn)
		} else {
			c.answers.Reset(conn)
		}
	}
	status, keep, err := c.exchange(request)
	if err != nil || !keep {
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

func (c *connection) exchange(request []byte) (status int, keep bool, err error) {
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
	return res.StatusCode, !res.Close, errors.Join(err, res.Body.Close())
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// abort ends what the connection waits for, now and from now on.
func (c *connection) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	if c.conn != nil {
		c.conn.Close()
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
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		if number, ok := errors.AsType[syscall.Errno](call); ok {
			return number
		}
	}
	return errors.New("no HTTP answer")
}
