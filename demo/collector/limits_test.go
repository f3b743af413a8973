package collector

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"runtime"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
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
	for name, body := range map[string][]byte{
		"empty resources":  empty(1),
		"empty scopes":     within(1, empty(2)),
		"empty spans":      within(1, within(2, empty(2))),
		"empty attributes": within(1, within(2, within(2, empty(9)))),
		"empty events":     within(1, within(2, within(2, empty(11)))),
		"empty links":      within(1, within(2, within(2, empty(13)))),
		"empty values":     within(1, within(1, within(1, within(2, within(5, empty(1)))))),
	} {
		t.Run(name, func(t *testing.T) {
			took := allocated(func() {
				if w := post(c.OTLPHandler(), contentProtobuf, body); w.Code != 200 && w.Code != 400 {
					t.Errorf("answered %d %s", w.Code, w.Body)
				}
			})
			t.Logf("%d bytes for each byte of the export", took/uint64(len(body)))
			if took*part*maxDecoding > most {
				t.Errorf("%d exports like this could take %d MiB", maxDecoding, took*part*maxDecoding>>20)
			}
		})
	}
}

// allocated returns how many bytes f allocates, whether they are freed again or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// held is a log handler that keeps every record until it is released.
type held struct {
	slog.Handler
	entered chan struct{}
	release chan struct{}
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
	for range 3 * maxDecoding {
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
	for range 2 * maxDecoding {
		<-h.entered
	}
	for range 3 * maxDecoding {
		<-answered
	}
	<-stored
}

func TestRequestsThatDoNotArriveTakeNoRoom(t *testing.T) {
	c := New(discard)
	conn := dial(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range maxDecoding + 1 {
		if _, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, coltracepb.TraceService_Export_FullMethodName); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := coltracepb.NewTraceServiceClient(conn).Export(ctx, samples(sampleTime)[0]); err != nil {
		t.Error(err)
	}
}

// TestRoomForExportsIsGivenBack hangs where a way out of an export forgets it.
func TestRoomForExportsIsGivenBack(t *testing.T) {
	c := New(discard)
	padding := within(99, make([]byte, 128<<10)) // a field that nobody knows
	for name, test := range map[string]struct {
		contentType string
		body        []byte
		want        int
	}{
		"stored":       {contentProtobuf, append(wire(t, samples(sampleTime)[0]), padding...), 200},
		"malformed":    {contentProtobuf, append(padding[:len(padding):len(padding)], 0xff), 400},
		"without ids":  {contentProtobuf, append(within(1, within(2, within(2, nil))), padding...), 400},
		"no JSON":      {contentJSON, []byte(`{"padding":"` + base64.StdEncoding.EncodeToString(padding)), 400},
		"JSON, stored": {contentJSON, []byte(`{"padding":"` + base64.StdEncoding.EncodeToString(padding) + `"}`), 200},
	} {
		for range maxDecoding + 1 {
			if w := post(c.OTLPHandler(), test.contentType, test.body); w.Code != test.want {
				t.Fatalf("%s: answered %d %s, want %d", name, w.Code, w.Body, test.want)
			}
		}
	}
}

// TestBatchesOfExportersFit holds the bound to being far above what an exporter sends: the demo's
// have 2048 spans.
func TestBatchesOfExportersFit(t *testing.T) {
	batch := demoBatches(t, 1, 2048/demoSpans)[0]
	if len(batch) > maxRequestBytes/3 {
		t.Errorf("2048 spans take %d bytes, of %d", len(batch), maxRequestBytes)
	}
	c := New(discard)
	took := allocated(func() {
		if w := post(c.OTLPHandler(), contentProtobuf, batch); w.Code != 200 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
	if ratio := float64(took) / float64(len(batch)); ratio > 16 {
		t.Errorf("%d bytes are allocated for %d", took, len(batch))
	}
}
