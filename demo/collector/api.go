package collector

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

func (c *Collector) serveReady(w http.ResponseWriter, _ *http.Request) {
	if c.stopped.Load() {
		http.Error(w, "Application is stopping", http.StatusServiceUnavailable)
		return
	}
	http.Error(w, "ready", http.StatusOK) // Tempo's, down to the newline
}

func (c *Collector) serveEcho(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "echo", http.StatusOK)
}

// serveTraceV1 answers /api/traces/{traceID}: the trace as such, or 404
// without a body.
func (c *Collector) serveTraceV1(w http.ResponseWriter, r *http.Request) {
	t, ok := c.findTrace(w, r)
	if !ok {
		return
	}
	if t == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if wantsProtobuf(r) {
		writeProtobuf(w, wireTrace(nil, t.data()))
		return
	}
	writeJSON(w, appendTrace(nil, t.data(), "batches"))
}

// serveTraceV2 answers /api/v2/traces/{traceID}: the trace within an object,
// which is empty for an unknown one.
func (c *Collector) serveTraceV2(w http.ResponseWriter, r *http.Request) {
	t, ok := c.findTrace(w, r)
	if !ok {
		return
	}
	if wantsProtobuf(r) {
		writeProtobuf(w, wireTraceByID(t))
		return
	}
	b := append([]byte(nil), `{"trace":`...)
	if t == nil {
		b = append(b, `{},"metrics":{}}`...)
		writeJSON(w, b)
		return
	}
	b = appendTrace(b, t.data(), "resourceSpans")
	b = append(b, `,"metrics":{"inspectedBytes":"`...)
	b = strconv.AppendInt(b, t.bytes, 10)
	b = append(b, `"}}`...)
	writeJSON(w, b)
}

// findTrace returns the trace that a request names, nil if there is none. A
// request that Tempo refuses it answers itself and returns false.
func (c *Collector) findTrace(w http.ResponseWriter, r *http.Request) (*trace, bool) {
	id, err := parseTraceID(r.PathValue("traceID"))
	if err == nil {
		err = checkTraceParams(r.URL.Query())
	}
	if err != nil {
		writeText(w, http.StatusBadRequest, err.Error())
		return nil, false
	}
	return c.store.get(id), true
}

// parseTraceID takes up to 32 hexadecimal digits in either case; missing ones
// are leading zeros.
func parseTraceID(s string) (traceID, error) {
	var id traceID
	for i, c := range s {
		if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return id, fmt.Errorf("trace IDs can only contain hex characters: invalid character '%c' at position %d", c, i+1)
		}
	}
	if len(s) > 2*len(id) {
		return id, errors.New("trace IDs can't be larger than 128 bits")
	}
	_, err := hex.Decode(id[:], []byte(strings.Repeat("0", 2*len(id)-len(s))+s))
	return id, err
}

// checkTraceParams refuses what Tempo refuses. None of the parameters changes
// the answer here, as there is one place only to look for a trace.
func checkTraceParams(q url.Values) error {
	mode := q.Get("mode")
	switch mode {
	case "", "all", "ingesters", "blocks", "external":
	default:
		return fmt.Errorf("invalid value for mode %s", mode)
	}
	if mode == "ingesters" {
		return nil
	}
	var times [2]int64
	for i, name := range []string{"start", "end"} {
		s := q.Get(name)
		if s == "" {
			continue
		}
		var err error
		if times[i], err = strconv.ParseInt(s, 10, 64); err != nil {
			return fmt.Errorf("invalid %s: %w", name, err)
		}
	}
	if start, end := times[0], times[1]; start != 0 && end != 0 && end <= start {
		return fmt.Errorf("http parameter start must be before end. received start=%d end=%d", start, end)
	}
	return nil
}

func (c *Collector) serveSearch(w http.ResponseWriter, r *http.Request) {
	q, err := parseSearch(r.URL.Query())
	if err != nil {
		writeText(w, http.StatusBadRequest, err.Error())
		return
	}
	res := q.run(c.store.recent())
	if wantsProtobuf(r) {
		writeProtobuf(w, wireSearch(res))
		return
	}
	writeJSON(w, appendSearch(nil, res))
}

func wantsProtobuf(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/protobuf")
}

func writeJSON(w http.ResponseWriter, b []byte) { writeBody(w, contentJSON, b) }

func writeProtobuf(w http.ResponseWriter, b []byte) { writeBody(w, "application/protobuf", b) }

func writeBody(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // the client may be gone
}

// writeText sends a text that may quote the request, so that nobody may take
// it for a page.
func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text)
}
