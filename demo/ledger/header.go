package ledger

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/baggage"
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

// headerNames are the propagation headers, in the order in which they are shown. Nothing else of a
// request's headers is ever kept.
var headerNames = []string{UberTraceID, TraceParent, TraceState, Baggage}

// Header is a propagation header, decoded.
type Header struct {
	// Name is in lower case.
	Name string `json:"name"`
	// Value is as it was seen, cut after 1024 bytes.
	Value string `json:"value"`
	// Valid reports whether OpenTelemetry's reader of this format takes the value.
	Valid bool `json:"valid"`
	// Problem says in plain words why it does not.
	Problem string `json:"problem,omitempty"`
	// Note says what is odd about a value, or its display, that is no problem.
	Note string `json:"note,omitempty"`

	// TraceID has 32 hexadecimal digits, also for a 64-bit id, and SpanID 16. They are empty unless
	// the value is valid.
	TraceID string `json:"trace_id,omitempty"`
	SpanID  string `json:"span_id,omitempty"`
	// ParentID is the third part of uber-trace-id: deprecated, usually 0, and read by nobody.
	ParentID string `json:"parent_id,omitempty"`
	// Flags are as written, such as 1 or 01.
	Flags string `json:"flags,omitempty"`
	// Sampled is the flags' lowest bit; nil where there are no flags.
	Sampled *bool `json:"sampled,omitempty"`

	// Members are those of a baggage header, 64 at most: OpenTelemetry's reader leaves out the
	// rest.
	Members []Member `json:"members,omitempty"`
}

// Member is one key of a baggage header with its value, decoded.
type Member struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// split returns the contexts among headers, and those that should be contexts but are malformed.
func split(headers []Header) (contexts, malformed []Header) {
	for _, h := range headers {
		switch {
		case h.Name != UberTraceID && h.Name != TraceParent:
		case h.Valid:
			contexts = append(contexts, h)
		default:
			malformed = append(malformed, h)
		}
	}
	return contexts, malformed
}

// Pick returns a copy of the propagation headers among all of a request's. It is never nil, because
// nil means "not recorded". Whoever records a request and then changes its headers calls it first.
func Pick(all http.Header) http.Header {
	picked := http.Header{}
	for _, name := range headerNames {
		for _, value := range all.Values(name) {
			picked.Add(name, value)
		}
	}
	return picked
}

// decodeAll decodes the propagation headers of a request. Nil, which means "not recorded", stays
// nil.
func decodeAll(all http.Header) []Header {
	if all == nil {
		return nil
	}
	decoded := []Header{}
	for _, name := range headerNames {
		if values := all.Values(name); len(values) > 0 {
			decoded = append(decoded, Decode(name, values...))
		}
	}
	return decoded
}

// decodeLogged is decodeAll for headers from a log: names in lower case, several values joined.
func decodeLogged(all map[string]string) []Header {
	if all == nil {
		return nil
	}
	decoded := []Header{}
	for _, name := range headerNames {
		if value, ok := all[name]; ok {
			decoded = append(decoded, decodeJoined(name, value))
		}
	}
	return decoded
}

// decodeJoined decodes a header whose values, if there are several, are joined by commas.
func decodeJoined(name, value string) Header {
	h := Decode(name, value)
	if first, _, several := strings.Cut(value, ","); several && !h.Valid {
		if f := Decode(name, first); f.Valid && f.TraceID != "" {
			f.Value = h.Value
			f.note("it came several times, and the first is read")
			return f
		}
	}
	return h
}

// Decode decodes a header as OpenTelemetry's readers for Go do, and says what they object to. Case
// does not matter in the name; a header of an unknown name is not valid. Of several values the
// first counts, except for baggage, where all do. Work and result are bounded by the value's
// length.
//
// The formats and the readers:
//   - uber-trace-id: https://www.jaegertracing.io/docs/1.76/sdk-migration/#propagation-format and
//     go.opentelemetry.io/contrib/propagators/jaeger v1.47
//   - traceparent, tracestate: https://www.w3.org/TR/trace-context/ and
//     go.opentelemetry.io/otel/propagation v1.47
//   - traceresponse: https://www.w3.org/TR/trace-context-2/#traceresponse-header, of the same form
//   - baggage: https://www.w3.org/TR/baggage/ and go.opentelemetry.io/otel/baggage v1.47
func Decode(name string, values ...string) Header {
	h := Header{Name: strings.ToLower(name)}
	value := strings.Join(values, ",")
	if h.Name != Baggage && len(values) > 1 {
		value = values[0]
		h.note("it came %d times, and the first is read", len(values))
	}
	h.Value = value
	if len(value) > maxValue {
		h.Value = strings.ToValidUTF8(value[:maxValue], "")
		h.note("it has %d bytes, of which %d are kept", len(value), len(h.Value))
	}
	switch h.Name {
	case UberTraceID:
		h.Problem = h.decodeJaeger(value)
	case TraceParent, TraceResponse:
		h.Problem = h.decodeW3C(value)
	case TraceState:
		if _, err := trace.ParseTraceState(value); err != nil {
			h.Problem = "no list of key=value"
		}
	case Baggage:
		h.Problem = h.decodeBaggage(value)
	default:
		h.Problem = "the ledger does not know this header"
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

// decodeJaeger reads {trace}:{span}:{parent}:{flags} and returns what is wrong with it. Like the
// propagator it accepts shorter ids, any parent, and empty flags.
func (h *Header) decodeJaeger(value string) string {
	if n := strings.Count(value, ":") + 1; n != 4 {
		problem := fmt.Sprintf("it has %s, and trace:span:parent:flags has 4", term.Count(n, "part"))
		if strings.Contains(strings.ToLower(value), "%3a") {
			problem += "; its colons are percent-encoded, which is not decoded"
		}
		return problem
	}
	parts := strings.Split(value, ":")
	traceID, spanID, flags := parts[0], parts[1], parts[3]
	h.ParentID, h.Flags = cut(parts[2], 32), cut(flags, 32)
	if problem := idProblem(traceID, spanID, true); problem != "" {
		return problem
	}
	bits, err := strconv.ParseInt(cmp.Or(flags, "0"), 16, 64)
	if err != nil {
		return "its flags are no hexadecimal number"
	}
	if len(traceID) < traceid.TraceDigits {
		h.note("a trace id of %s is padded with zeros to 32", term.Count(len(traceID), "digit"))
	}
	if bits&3 == 3 {
		h.note("the debug flag is set")
	}
	h.setIDs(traceID, spanID, bits)
	return ""
}

// decodeW3C reads {version}-{trace}-{span}-{flags} and returns what is wrong with it. Versions
// after 00 may add parts.
func (h *Header) decodeW3C(value string) string {
	parts := strings.SplitN(value, "-", 5)
	if len(parts) < 4 {
		return fmt.Sprintf("it has %s, and version-trace-span-flags has 4", term.Count(len(parts), "part"))
	}
	version, traceID, spanID, flags := parts[0], parts[1], parts[2], parts[3]
	h.Flags = cut(flags, 32)
	if len(version) != 2 || !traceid.IsHex(version) {
		return "its version is not 2 digits of lower-case hexadecimal"
	}
	if version == "ff" {
		return "its version is ff, which is forbidden"
	}
	if problem := idProblem(traceID, spanID, false); problem != "" {
		return problem
	}
	if len(flags) != 2 || !traceid.IsHex(flags) {
		return "its flags are not 2 digits of lower-case hexadecimal"
	}
	bits, _ := strconv.ParseInt(flags, 16, 64) // of two hexadecimal digits
	switch {
	case version != "00":
		h.note("version %s is read as 00, without what it adds", version)
	case len(parts) > 4 && parts[4] != "":
		return "version 00 has 4 parts and no more"
	case bits > 3:
		return "its flags set bits that version 00 reserves"
	}
	h.setIDs(traceID, spanID, bits)
	return ""
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

func (h *Header) setIDs(traceID, spanID string, flags int64) {
	h.TraceID = traceid.Pad(traceID, traceid.TraceDigits)
	h.SpanID = traceid.Pad(spanID, traceid.SpanDigits)
	h.Sampled = new(flags&1 != 0)
}

func (h *Header) decodeBaggage(value string) string {
	bag, err := baggage.Parse(value)
	for _, m := range bag.Members() {
		h.Members = append(h.Members, Member{m.Key(), m.Value()})
	}
	switch {
	case err != nil && len(h.Members) > 0:
		h.note("parts of it are not key=value, and are left out")
	case err != nil && len(value) > 8192:
		return "it is longer than 8192 bytes"
	case err != nil:
		return "no list of key=value"
	}
	return ""
}

// cut shortens a text to n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
