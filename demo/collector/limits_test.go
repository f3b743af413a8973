package collector

import (
	"bytes"
	"context"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// within wraps a message as field number of another one.
func within(number protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), message)
}

// TestExportsTakeBoundedMemory decodes what takes the most memory for its length.
func TestExportsTakeBoundedMemory(t *testing.T) {
	empty := func(number protowire.Number, n int) []byte { return bytes.Repeat(within(number, nil), n) }
	const few, many = maxMessages - 8, maxMessages + 1
	batch := wire(t, demoBatches(1, 2048/demoSpans)[0])
	c := New(discard)
	for name, test := range map[string]struct {
		body []byte
		code int
		most int // MiB
	}{
		"empty spans":           {within(1, within(2, empty(2, few))), 400, 160}, // a tenth of it is the race detector's
		"empty attributes":      {within(1, within(2, within(2, empty(9, few)))), 400, 150},
		"empty values":          {within(1, within(1, within(1, within(2, within(5, empty(1, few)))))), 200, 150},
		"too many of them":      {within(1, within(2, within(2, empty(9, many)))), 413, 1},
		"text that is no UTF-8": {within(1, within(2, within(1, within(1, bytes.Repeat([]byte{0xff}, 1<<20))))), 200, 16},
		"2048 spans":            {batch, 200, 16 * len(batch) >> 20},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if w := post(c.OTLPHandler(), contentProtobuf, test.body); w.Code != test.code {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
			runtime.ReadMemStats(&after)
			body := uint64(6 * len(test.body)) // to read it
			if took := after.TotalAlloc - before.TotalAlloc; took > uint64(test.most)<<20+body {
				t.Errorf("%d MiB are allocated, want at most %d", took>>20, test.most)
			}
		})
	}
	if w := post(c.OTLPHandler(), contentJSON, bytes.Repeat([]byte("{"), many)); w.Code != 413 {
		t.Errorf("JSON: answered %d", w.Code)
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
	c.OTLPHandler().ServeHTTP(w, r)
	client := coltracepb.NewTraceServiceClient(dial(t, c))
	if _, err := client.Export(ctx, samples(sampleTime)[0]); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("over gRPC: %v", err)
	}
	<-c.reading // one is through
	if _, err := client.Export(t.Context(), samples(sampleTime)[0]); err != nil || len(c.reading) != maxReading-1 {
		t.Errorf("then: %v, and %d have their turn", err, len(c.reading))
	}
}

func TestSilentClientsGiveTheirTurnBack(t *testing.T) {
	c := New(discard)
	silent := dial(t, c)
	for range maxReading + 1 {
		if _, err := silent.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, coltracepb.TraceService_Export_FullMethodName); err != nil {
			t.Fatal(err)
		}
	}
	conn := dial(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := coltracepb.NewTraceServiceClient(conn).Export(ctx, samples(sampleTime)[0]); err != nil {
		t.Error(err)
	}
}
