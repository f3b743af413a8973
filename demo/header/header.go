// Package header decodes the headers by which a trace travels from one process to the next, and back.
package header

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxValue is how many bytes of a header's value are kept. Decoding sees all of it.
const maxValue = 1024

// Names of the headers that Decode knows, as HTTP/2 writes them.
const (
	UberTraceID   = "uber-trace-id"
	TraceParent   = "traceparent"
	TraceState    = "tracestate"
	Baggage       = "baggage"
	TraceResponse = "traceresponse"
)

// Names are the propagation headers of a request, in the order shown. No other is ever kept.
var Names = []string{UberTraceID, TraceParent, TraceState, Baggage}

// format is how a header writes a context.
type format struct {
	name, separator string
	trace           int // the part that is the trace id; the span id follows, and the flags are the fourth part
	reader          propagation.TextMapPropagator
	want            string
}

// The formats:
//   - uber-trace-id: https://www.jaegertracing.io/docs/1.76/sdk-migration/#propagation-format
//   - traceparent: https://www.w3.org/TR/trace-context/
//   - traceresponse: https://www.w3.org/TR/trace-context-2/#traceresponse-header, like traceparent
var (
	uberTraceID = format{UberTraceID, ":", 0, jaeger.Jaeger{},
		"want trace:span:parent:flags, lower-case hexadecimal, with ids of up to 32 and 16 digits that are not all 0"}
	traceParent = format{TraceParent, "-", 1, propagation.TraceContext{},
		"want 00-trace-span-flags, lower-case hexadecimal, with ids of 32 and 16 digits that are not all 0"}
	formats = map[string]format{UberTraceID: uberTraceID, TraceParent: traceParent, TraceResponse: traceParent}
)

// Header is a propagation header, decoded. Its ids are empty unless it is a valid context.
type Header struct {
	Name    string `json:"name"`              // in lower case
	Value   string `json:"value"`             // as it was seen, cut after 1024 bytes
	Problem string `json:"problem,omitempty"` // what would be right, if OpenTelemetry's reader of this format does not take it

	TraceID string `json:"trace_id,omitempty"` // 32 hexadecimal digits, also for a 64-bit id
	SpanID  string `json:"span_id,omitempty"`  // 16 hexadecimal digits
	Sender  string `json:"sender,omitempty"`   // whose span that is, where the hop ledger knows it
	Flags   string `json:"flags,omitempty"`    // as written, such as 1 or 01
	Sampled *bool  `json:"sampled,omitempty"`  // the flags' lowest bit; nil where there is no context
}

// Unsampled reports whether the sender says that it does not record its span.
func (h Header) Unsampled() bool { return h.Sampled != nil && !*h.Sampled }

// Headers are the propagation headers of a request, by names in lower case; several values of one
// are joined by commas, as in the services' logs. Nil means "not recorded".
type Headers map[string]string

// Pick returns the propagation headers among all of a request's; it is never nil. Whoever records a
// request and then changes its headers calls it first.
func Pick(all http.Header) Headers {
	picked := Headers{}
	for _, name := range Names {
		if values := all.Values(name); len(values) > 0 {
			picked[name] = strings.Join(values, ", ")
		}
	}
	return picked
}

// Decode decodes the propagation headers among others, in the order of Names. Nil stays nil.
func (all Headers) Decode() []Header {
	if all == nil {
		return nil
	}
	decoded := []Header{}
	for _, name := range Names {
		if value, ok := all[name]; ok {
			decoded = append(decoded, Decode(name, value))
		}
	}
	return decoded
}

// Decode decodes a header with OpenTelemetry's own readers. Of several values that are joined by commas,
// the first counts, as for a reader of http.Header. Headers of other names are not judged.
func Decode(name, value string) Header {
	h := Header{Name: name, Value: Cut(value, maxValue)}
	f, ok := formats[name]
	if !ok {
		return h
	}
	first, _, _ := strings.Cut(value, ",")
	ctx := f.reader.Extract(context.Background(), propagation.MapCarrier{f.name: first})
	c := trace.SpanContextFromContext(ctx)
	if !c.IsValid() {
		h.Problem = f.want
		return h
	}
	h.TraceID, h.SpanID, h.Sampled = c.TraceID().String(), c.SpanID().String(), new(c.IsSampled())
	h.Flags = Cut(strings.Split(first, f.separator)[3], 32)
	return h
}

// Cut shortens a text from elsewhere to n bytes.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

// Part is a piece of a header's value. Kind is trace or span; it is empty for the rest.
type Part struct {
	Text string `json:"text"`
	Kind string `json:"kind,omitempty"`
}

// Parts returns the value in pieces; one that is not valid is a single piece.
func (h Header) Parts() []Part {
	f := formats[h.Name]
	all := strings.SplitN(h.Value, f.separator, f.trace+3)
	if h.TraceID == "" || len(all) < f.trace+3 {
		return []Part{{Text: h.Value}}
	}
	before := strings.Join(append(all[:f.trace:f.trace], ""), f.separator)
	return []Part{{Text: before}, {all[f.trace], "trace"}, {Text: f.separator}, {all[f.trace+1], "span"},
		{Text: f.separator + all[f.trace+2]}}
}
