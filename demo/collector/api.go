package collector

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// serveTrace answers /api/v2/traces/{traceID}: the trace within an object, which is empty for an
// unknown one. As Tempo does, it sends protobuf to those who accept that, and otherwise protobuf's JSON:
// ids in base64, 64-bit integers as strings, enums by name, zero values left out.
func (c *Collector) serveTrace(w http.ResponseWriter, r *http.Request) {
	id, err := parseTraceID(r.PathValue("traceID"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data := &tracepb.TracesData{}
	if t := c.store.get(id); t != nil {
		data = t.data()
	}
	const contentTempo = "application/protobuf" // not OTLP's
	mediaType, answer := contentJSON, []byte(nil)
	if r.Header.Get("Accept") == contentTempo { // the trace is field 1 of the answer
		mediaType = contentTempo
		encoded, _ := proto.Marshal(data) // it was decoded, so it can be encoded
		answer = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), encoded)
	} else {
		encoded, _ := protojson.Marshal(data)
		answer = fmt.Appendf(nil, `{"trace":%s}`, encoded)
	}
	w.Header().Set("Content-Type", mediaType)
	_, _ = w.Write(answer) // the client may be gone
}

// parseTraceID takes up to 32 hexadecimal digits, padded with zeros. Its errors are Tempo's.
func parseTraceID(s string) (traceID, error) {
	var id traceID
	for i, c := range s {
		if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return id, fmt.Errorf("trace IDs can only contain hex characters: invalid character '%c' at position %d", c, i+1)
		}
	}
	if len(s) > traceid.TraceDigits {
		return id, errors.New("trace IDs can't be larger than 128 bits")
	}
	_, err := hex.Decode(id[:], []byte(traceid.Pad(s, traceid.TraceDigits)))
	return id, err
}

func (c *Collector) serveSearch(w http.ResponseWriter, r *http.Request) {
	q, err := parseSearch(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", contentJSON)
	_ = json.NewEncoder(w).Encode(q.run(c.store.recent())) // the client may be gone
}
