package tempo

import (
	"errors"
	"fmt"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// Read reads the one trace of a file that has Tempo's JSON, the answer of /api/v2/traces. The error says
// what the file has instead.
func Read(file []byte) (*Trace, error) {
	answer, err := parse(file)
	if err != nil {
		return nil, err
	}
	for _, other := range []struct{ has, is string }{
		{"data.0.spans", "Jaeger's JSON"},
		{"resourceSpans", "OTLP's JSON"},
		{"batches", "the JSON of Grafana, or of Tempo's first API"},
	} {
		if answer.Get(other.has).Exists() {
			return nil, fmt.Errorf("it is %s", other.is)
		}
	}
	data, partial, err := readTrace(file, contentJSON)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	id := ""
	for _, rs := range data.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				id = traceid.Hex(s.GetTraceId(), traceid.TraceDigits)
				ids[id] = true
			}
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("it has no span")
	}
	if id, err = traceid.Trace(id); len(ids) > 1 || err != nil {
		return nil, errors.New("its spans are not of one trace")
	}
	t := NewTrace(id, newSpans(data))
	t.Partial = partial
	return t, nil
}
