package collector

import (
	"bytes"
	"context"
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
	const part, times = 8, 1600 << 20 / maxDecoding / maxRequestBytes
	empty := func(number protowire.Number) []byte { return bytes.Repeat(within(number, nil), maxRequestBytes/part/2) }
	c := New(discard)
	for name, test := range map[string]struct {
		body  []byte
		times uint64 // of its length, at most
	}{
		"empty resources":  {empty(1), times},
		"empty scopes":     {within(1, empty(2)), times},
		"empty spans":      {within(1, within(2, empty(2))), times},
		"empty attributes": {within(1, within(2, within(2, empty(9)))), times},
		"empty events":     {within(1, within(2, within(2, empty(11)))), times},
		"empty links":      {within(1, within(2, within(2, empty(13)))), times},
		"empty values":     {within(1, within(1, within(1, within(2, within(5, empty(1)))))), times},
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

// unread is a body that must not be read before it is its turn.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a body is read before it is its turn")
	return 0, context.Canceled
}

func TestExportsWaitUnreadForTheirTurn(t *testing.T) {
	c := New(discard)
	for range maxReading {
		c.reading <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := httptest.NewRequest("POST", "/v1/traces", unread{t}).WithContext(ctx)
	r.Header.Set("Content-Type", contentProtobuf)
	w := httptest.NewRecorder()
	if c.OTLPHandler().ServeHTTP(w, r); w.Code != 503 {
		t.Errorf("over HTTP: answered %d %s", w.Code, w.Body)
	}
	client := coltracepb.NewTraceServiceClient(dial(t, c))
	if _, err := client.Export(ctx, samples(sampleTime)[0]); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("over gRPC: %v", err)
	}
	<-c.reading
	for range maxDecoding {
		c.decoding <- struct{}{}
	}
	done := make(chan error)
	go func() {
		_, err := client.Export(t.Context(), samples(sampleTime)[0])
		done <- err
	}()
	select {
	case <-done:
		t.Errorf("more than %d exports are decoded at a time", maxDecoding)
	case <-time.After(50 * time.Millisecond):
	}
	<-c.decoding
	if err := <-done; err != nil {
		t.Error(err)
	}
	// All give back what they took.
	if len(c.reading) != maxReading-1 || len(c.decoding) != maxDecoding-1 {
		t.Errorf("%d are read and %d decoded", len(c.reading), len(c.decoding))
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
