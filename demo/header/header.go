// Package header decodes the headers by which a trace travels from one process to the next, and back.
package header

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/traceid"
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

// Header is a propagation header, decoded. Its ids are empty unless it is a valid context.
type Header struct {
	Name    string `json:"name"`              // in lower case
	Value   string `json:"value"`             // as it was seen, cut after 1024 bytes
	Valid   bool   `json:"valid"`             // OpenTelemetry's reader of this format takes it
	Problem string `json:"problem,omitempty"` // why not, in plain words
	Note    string `json:"note,omitempty"`    // what is odd about it, or its display, that is no problem

	TraceID string `json:"trace_id,omitempty"` // 32 hexadecimal digits, also for a 64-bit id
	SpanID  string `json:"span_id,omitempty"`  // 16 hexadecimal digits
	Sender  string `json:"sender,omitempty"`   // whose span that is, where the hop ledger knows it
	Flags   string `json:"flags,omitempty"`    // as written, such as 1 or 01
	Sampled *bool  `json:"sampled,omitempty"`  // the flags' lowest bit; nil where there are no flags
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

// Decode decodes a header with OpenTelemetry's own readers, and says what they object to. Of several
// values that are joined by commas, the first counts, as for a reader of http.Header. Work and result
// are bounded by the value's length. Headers of other names are not judged. The formats:
//   - uber-trace-id: https://www.jaegertracing.io/docs/1.76/sdk-migration/#propagation-format
//   - traceparent: https://www.w3.org/TR/trace-context/
//   - traceresponse: https://www.w3.org/TR/trace-context-2/#traceresponse-header, like traceparent
func Decode(name, value string) Header {
	h := decode(name, value)
	if first, _, several := strings.Cut(value, ","); several && !h.Valid {
		if f := decode(name, first); f.Valid {
			f.Value = h.Value
			f.note("it came several times, and the first is read")
			return f
		}
	}
	return h
}

func decode(name, value string) Header {
	h := Header{Name: name, Value: value}
	if len(value) > maxValue {
		h.Value = strings.ToValidUTF8(value[:maxValue], "")
		h.note("it has %d bytes, of which %d are kept", len(value), len(h.Value))
	}
	switch name {
	case UberTraceID:
		h.Problem = h.decodeJaeger(value)
	case TraceParent, TraceResponse:
		h.Problem = h.decodeW3C(value)
	}
	h.Valid = h.Problem == ""
	return h
}

func (h *Header) note(format string, args ...any) {
	if h.Note != "" {
		h.Note += "; "
	}
	h.Note += fmt.Sprintf(format, args...)
}

// extract reads a context as the services do, and reports whether there is one.
func (h *Header) extract(propagator propagation.TextMapPropagator, name, value string) bool {
	ctx := propagator.Extract(context.Background(), propagation.MapCarrier{name: value})
	c := trace.SpanContextFromContext(ctx)
	if c.IsValid() {
		h.TraceID, h.SpanID, h.Sampled = c.TraceID().String(), c.SpanID().String(), new(c.IsSampled())
	}
	return c.IsValid()
}

// decodeJaeger reads {trace}:{span}:{parent}:{flags} and returns what is wrong with it.
func (h *Header) decodeJaeger(value string) string {
	if n := strings.Count(value, ":") + 1; n != 4 {
		problem := fmt.Sprintf("it has %s instead of the 4 of trace:span:parent:flags", term.Count(n, "part"))
		if strings.Contains(strings.ToLower(value), "%3a") {
			problem += "; its colons are percent-encoded"
		}
		return problem
	}
	parts := strings.Split(value, ":")
	h.Flags = Cut(parts[3], 32)
	if !h.extract(jaeger.Jaeger{}, UberTraceID, value) {
		return cmp.Or(idProblem(parts[0], parts[1], true), "its flags are no hexadecimal number")
	}
	if n := len(parts[0]); n < traceid.TraceDigits {
		h.note("a trace id of %s is padded with zeros to 32", term.Count(n, "digit"))
	}
	if bits, _ := strconv.ParseInt(parts[3], 16, 64); bits&3 == 3 {
		h.note("the debug flag is set")
	}
	return ""
}

// decodeW3C reads {version}-{trace}-{span}-{flags} likewise. Versions after 00 may add parts.
func (h *Header) decodeW3C(value string) string {
	parts := strings.SplitN(value, "-", 5)
	if len(parts) < 4 {
		return fmt.Sprintf("it has %s instead of the 4 of version-trace-span-flags", term.Count(len(parts), "part"))
	}
	version, flags := parts[0], parts[3]
	h.Flags = Cut(flags, 32)
	if h.extract(propagation.TraceContext{}, TraceParent, value) {
		if bits, _ := strconv.ParseUint(flags, 16, 8); bits&2 != 0 {
			h.note("the random flag is set: the trace id is random")
		}
		if version != "00" {
			h.note("version %s is read as 00, without what it adds", version)
		}
		return ""
	}
	twoDigits := func(s string) bool { return len(s) == 2 && traceid.IsHex(s) }
	switch problem := idProblem(parts[1], parts[2], false); {
	case !twoDigits(version):
		return "its version is not 2 digits of lower-case hexadecimal"
	case version == "ff":
		return "its version is ff, which is forbidden"
	case problem != "":
		return problem
	case !twoDigits(flags):
		return "its flags are not 2 digits of lower-case hexadecimal"
	case len(parts) > 4 && parts[4] != "":
		return "version 00 has 4 parts and no more"
	}
	return "its flags set bits that version 00 reserves"
}

// idProblem returns what is wrong with ids; in short ones, leading zeros may be missing.
func idProblem(traceID, spanID string, short bool) string {
	if problem := traceid.Problem(traceID, traceid.TraceDigits, short); problem != "" {
		return "its trace id " + problem
	}
	if problem := traceid.Problem(spanID, traceid.SpanDigits, short); problem != "" {
		return "its span id " + problem
	}
	return ""
}

// Cut shortens a text from elsewhere to n bytes.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

// Part is a piece of a header's value. Kind is trace, span, parent, flags or version; it is empty for
// what stands between them, and for what is not read.
type Part struct {
	Text string `json:"text"`
	Kind string `json:"kind,omitempty"`
}

// Parts returns the value in pieces; one that is not valid is a single piece.
func (h Header) Parts() (parts []Part) {
	separator, kinds := "-", []string{"version", "trace", "span", "flags"}
	if h.Name == UberTraceID {
		separator, kinds = ":", []string{"trace", "span", "parent", "flags"}
	}
	rest := h.Value
	for i := 0; h.TraceID != "" && i < len(kinds) && rest != ""; i++ {
		if i > 0 && strings.HasPrefix(rest, separator) {
			parts, rest = append(parts, Part{Text: separator}), rest[1:]
		}
		end := strings.IndexAny(rest+separator, separator+",")
		parts, rest = append(parts, Part{rest[:end], kinds[i]}), rest[end:]
	}
	if rest != "" {
		parts = append(parts, Part{Text: rest})
	}
	return parts
}
