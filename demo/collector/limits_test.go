package collector

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// within wraps a message as field number of another one.
func within(number protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), message)
}

// TestExportsTakeBoundedMemory decodes what takes the most memory for its length. It is a part of
// what one export may be, and so the memory is the same part of what one may take.
func TestExportsTakeBoundedMemory(t *testing.T) {
	const part, most = 8, 1600 << 20
	empty := func(number protowire.Number) []byte { return bytes.Repeat(within(number, nil), maxRequestBytes/part/2) }
	c := New(discard)
	for name, test := range map[string]struct {
		body  []byte
		times uint64 // of its length, at most
	}{
		"empty resources":  {empty(1), most / maxDecoding / maxRequestBytes},
		"empty scopes":     {within(1, empty(2)), most / maxDecoding / maxRequestBytes},
		"empty spans":      {within(1, within(2, empty(2))), most / maxDecoding / maxRequestBytes},
		"empty attributes": {within(1, within(2, within(2, empty(9)))), most / maxDecoding / maxRequestBytes},
		"empty events":     {within(1, within(2, within(2, empty(11)))), most / maxDecoding / maxRequestBytes},
		"empty links":      {within(1, within(2, within(2, empty(13)))), most / maxDecoding / maxRequestBytes},
		"empty values":     {within(1, within(1, within(1, within(2, within(5, empty(1)))))), most / maxDecoding / maxRequestBytes},
		"no UTF-8":         {within(1, within(2, within(1, within(1, bytes.Repeat([]byte{0xff}, maxRequestBytes/part))))), 16},
		"2048 real spans":  {wire(t, demoBatches(1, 2048/demoSpans)[0]), 16},
	} {
		t.Run(name, func(t *testing.T) {
			if len(test.body) > maxRequestBytes/3 {
				t.Errorf("%d bytes, of %d", len(test.body), maxRequestBytes)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if w := post(c.OTLPHandler(), contentProtobuf, test.body); w.Code != 200 && w.Code != 400 {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
			runtime.ReadMemStats(&after)
			if times := (after.TotalAlloc - before.TotalAlloc) / uint64(len(test.body)); times > test.times {
				t.Errorf("%d bytes are allocated for each byte, want at most %d", times, test.times)
			}
		})
	}
}

// held is a log handler that keeps every record until it is released.
type held struct {
	slog.Handler
	entered, release chan struct{}
}

func (h held) Handle(context.Context, slog.Record) error {
	h.entered <- struct{}{}
	<-h.release
	return nil
}

func (h held) Enabled(context.Context, slog.Level) bool { return true }

// Exports whose spans are dropped are held where that is logged, so that none of them gives its
// room back.
func TestFewExportsAreDecodedAtATime(t *testing.T) {
	h := held{entered: make(chan struct{}), release: make(chan struct{})}
	c := New(slog.New(h))
	c.store = newStore(1)
	client := coltracepb.NewTraceServiceClient(dial(t, c))
	answered := make(chan struct{})
	for range maxDecoding + 2 {
		go func() {
			_, _ = client.Export(t.Context(), export(nil, newSpan(1, 1, 0, "x", 0, 1)))
			answered <- struct{}{}
		}()
	}
	for range maxDecoding {
		<-h.entered
	}
	stored := make(chan struct{})
	go func() {
		defer close(stored)
		if w := post(c.OTLPHandler(), contentProtobuf, nil); w.Code != 200 {
			t.Errorf("over HTTP: answered %d %s", w.Code, w.Body)
		}
	}()
	select {
	case <-h.entered:
		t.Errorf("more than %d exports are decoded at a time", maxDecoding)
	case <-stored:
		t.Errorf("over HTTP one more is")
	case <-time.After(50 * time.Millisecond):
	}
	close(h.release)
	<-h.entered
	<-h.entered
	for range maxDecoding + 2 {
		<-answered
	}
	<-stored
}

// unread is a body that must not be read before it is its turn.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a body is read before it is its turn")
	return 0, context.Canceled
}

func TestABodyIsReadWhenThereIsRoomForIt(t *testing.T) {
	c := New(discard)
	for range maxReading {
		c.reading <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := httptest.NewRequest("POST", "/v1/traces", unread{t}).WithContext(ctx)
	r.Header.Set("Content-Type", contentProtobuf)
	w := httptest.NewRecorder()
	c.OTLPHandler().ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("over HTTP: answered %d %s", w.Code, w.Body)
	}
	client := coltracepb.NewTraceServiceClient(dial(t, c))
	late, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := client.Export(late, samples(sampleTime)[0]); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("over gRPC: %v", err)
	}
	<-c.reading
	if _, err := client.Export(t.Context(), samples(sampleTime)[0]); err != nil {
		t.Error(err)
	}
}

func TestSilentClientsGiveTheirTurnBack(t *testing.T) {
	c := New(discard)
	c.patience = 50 * time.Millisecond
	for range maxReading/4 + 1 {
		conn := dial(t, c)
		for range 4 {
			if _, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, coltracepb.TraceService_Export_FullMethodName); err != nil {
				t.Fatal(err)
			}
		}
	}
	conn := dial(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := coltracepb.NewTraceServiceClient(conn).Export(ctx, samples(sampleTime)[0]); err != nil {
		t.Error(err)
	}
	large := metadata.AppendToOutgoingContext(ctx, "x", strings.Repeat("x", 64<<10))
	if _, err := coltracepb.NewTraceServiceClient(conn).Export(large, samples(sampleTime)[0]); err == nil {
		t.Error("64 kB of metadata are taken")
	}
}
