package collector

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

func (c *Collector) receiveLogs(req proto.Message) (rejected int, why string, err error) {
	var lines []span
	untraced := 0
	for i, rl := range req.(*collogspb.ExportLogsServiceRequest).ResourceLogs {
		for j, sl := range rl.ScopeLogs {
			from := newOrigin(&tracepb.ResourceSpans{Resource: rl.Resource, SchemaUrl: rl.SchemaUrl},
				&tracepb.ScopeSpans{Scope: sl.Scope, SchemaUrl: sl.SchemaUrl})
			// The demo's own services would log the answer. All that they log is on the terminal.
			ours := slices.ContainsFunc(topology.Services(), func(s topology.Service) bool { return s.Name == from.service })
			for k, l := range sl.LogRecords {
				l.SpanId = orNone(l.SpanId)
				if orNone(l.TraceId) == nil {
					if !ours {
						untraced++
					}
					continue
				}
				if err := checkIDs(l.TraceId, "span", l.SpanId); err != nil {
					return 0, "", fmt.Errorf("resourceLogs[%d].scopeLogs[%d].logRecords[%d]: %w", i, j, k, err)
				}
				l.TimeUnixNano = cmp.Or(l.TimeUnixNano, l.ObservedTimeUnixNano, uint64(time.Now().UnixNano()))
				lines = append(lines, span{line: l, origin: from, bytes: memoryOf(proto.Size(l))})
			}
		}
	}
	rejected, why = c.keep(lines, "log lines")
	if untraced > 0 {
		why = fmt.Sprintf("%d log lines have no trace id and are not kept here: log within a span, with its context. %s", untraced, why)
	}
	return rejected + untraced, why, nil
}

// lineQuery is what is understood of LogQL.
var lineQuery = regexp.MustCompile(`^\s*\{\s*service_name\s*=~\s*"\.\+"\s*\}\s*\|\s*trace_id\s*=\s*"([0-9a-f]{32})"\s*$`)

// stream is one of Loki's, with one line.
type stream struct {
	Stream map[string]string `json:"stream"` // labels, with what Loki calls structured metadata
	Values [1][2]string      `json:"values"` // time in Unix nanoseconds, text
}

// serveLines answers /loki/api/v1/query_range.
func (c *Collector) serveLines(w http.ResponseWriter, r *http.Request) {
	found, err := c.lines(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", contentJSON)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may be gone
		"status": "success", "data": map[string]any{"resultType": "streams", "result": found}})
}

// lines returns those of a trace, the earliest first.
func (c *Collector) lines(v url.Values) ([]stream, error) {
	query := lineQuery.FindStringSubmatch(v.Get("query"))
	if query == nil || v.Get("direction") != "forward" {
		return nil, errors.New(`this collector answers {service_name=~".+"} | trace_id="<32 hexadecimal digits>" with direction=forward, ` +
			`start, end and limit; ask a real Loki for more`)
	}
	var limit, start, end uint64 // the last two in Unix nanoseconds, 0 for any
	if err := parseNumbers(v, 64, map[string]*uint64{"limit": &limit, "start": &start, "end": &end}); err != nil {
		return nil, err
	}
	found := []stream{}
	var id traceID
	_, _ = hex.Decode(id[:], []byte(query[1])) // which was checked
	t := c.store.get(id)
	if t == nil {
		return found, nil
	}
	lines := slices.Clone(t.lines)
	slices.SortStableFunc(lines, func(a, b span) int { return cmp.Compare(a.line.TimeUnixNano, b.line.TimeUnixNano) })
	for _, l := range lines {
		if at := l.line.TimeUnixNano; at >= start && (end == 0 || at < end) && uint64(len(found)) < cmp.Or(limit, 100) {
			found = append(found, stream{l.labels(), [1][2]string{{strconv.FormatUint(at, 10), text(l.line.Body)}}})
		}
	}
	return found, nil
}

// labels are named as Loki names them, but for the dots in names of attributes, which it replaces.
func (s span) labels() map[string]string {
	labels := map[string]string{}
	addLabels(labels, "", s.line.Attributes)
	for name, value := range map[string]string{
		"service_name": s.origin.service, "trace_id": hex.EncodeToString(s.line.TraceId), "span_id": hex.EncodeToString(s.line.SpanId),
		"severity_text": s.line.SeverityText, "event_name": s.line.EventName,
	} {
		if value != "" {
			labels[name] = value
		}
	}
	if n := s.line.SeverityNumber; n != 0 {
		labels["severity_number"] = strconv.Itoa(int(n))
	}
	return labels
}

func addLabels(labels map[string]string, prefix string, attributes []*commonpb.KeyValue) {
	for _, kv := range attributes {
		if list := kv.Value.GetKvlistValue(); list != nil {
			addLabels(labels, prefix+kv.Key+".", list.Values)
		} else {
			labels[prefix+kv.Key] = text(kv.Value)
		}
	}
}

func text(value *commonpb.AnyValue) string {
	v := tempo.Plain(value)
	if s, ok := v.(string); ok || v == nil {
		return s
	}
	encoded, err := json.Marshal(v)
	if err != nil { // it holds what JSON cannot, such as NaN
		return fmt.Sprint(v)
	}
	return string(encoded)
}
