package ledger

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

// maxValue is how many bytes of a header's value are kept. Decoding sees all of it.
const maxValue = 1024

// maxMembers is how many members of a baggage header are kept; the W3C's own limit.
const maxMembers = 64

// Names of the headers that the ledger knows, in the order in which it shows them, as HTTP/2 writes them.
const (
	UberTraceID = "uber-trace-id"
	TraceParent = "traceparent"
	TraceState  = "tracestate"
	Baggage     = "baggage"
)

// headerNames are the propagation headers; nothing else of a request's headers is ever kept.
var headerNames = []string{UberTraceID, TraceParent, TraceState, Baggage}

// Header is a propagation header, decoded.
type Header struct {
	// Name is in lower case: uber-trace-id, traceparent, tracestate, baggage, or traceresponse.
	Name string `json:"name"`
	// Value is as it was seen, cut after 1024 bytes.
	Value string `json:"value"`
	// Valid tells that OpenTelemetry's reader of this format takes the value.
	Valid bool `json:"valid"`
	// Problem says in plain words why it does not.
	Problem string `json:"problem,omitempty"`
	// Note says what is odd about a value, or its display, that is no problem.
	Note string `json:"note,omitempty"`

	// TraceID has 32 hexadecimal digits, also for a 64-bit id, and SpanID 16. They are empty unless the value is valid.
	TraceID string `json:"trace_id,omitempty"`
	SpanID  string `json:"span_id,omitempty"`
	// ParentID is the third part of uber-trace-id, deprecated long ago and usually 0; nobody reads it.
	ParentID string `json:"parent_id,omitempty"`
	// Flags are as written, such as 1 or 01.
	Flags string `json:"flags,omitempty"`
	// Sampled is the flags' lowest bit; absent where there are no flags.
	Sampled *bool `json:"sampled,omitempty"`

	// Members are those of a baggage header, 64 at most.
	Members []Member `json:"members,omitempty"`
}

// Member is one key of a baggage header with its value, decoded.
type Member struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// isContext tells whether a header of this name carries a trace id.
func (h Header) isContext() bool { return h.Name == UberTraceID || h.Name == TraceParent }

// Pick returns a copy of the propagation headers among all of a request's. It is never nil, so that "none of them" can be
// told from "not recorded", which is nil. Whoever records a request that is about to change its headers calls it first.
func Pick(all http.Header) http.Header {
	picked := http.Header{}
	for _, name := range headerNames {
		key := http.CanonicalHeaderKey(name)
		if values := all[key]; len(values) > 0 {
			picked[key] = append([]string(nil), values...)
		}
	}
	return picked
}

// decodeAll decodes what a request carried.
func decodeAll(headers http.Header) []Header {
	decoded := []Header{}
	for _, name := range headerNames {
		if values := headers[http.CanonicalHeaderKey(name)]; len(values) > 0 {
			decoded = append(decoded, Decode(name, values...))
		}
	}
	return decoded
}

// Decode decodes a header, judging it as OpenTelemetry's readers for Go do. Names are compared without case; a name that is
// not known gives a header that is not valid. Of several values the readers take the first, except for baggage, where all
// count. Work and result are bounded by the value's length, whatever is in it.
//
// The formats and their judges:
//   - uber-trace-id: https://www.jaegertracing.io/docs/1.76/sdk-migration/#propagation-format and
//     go.opentelemetry.io/contrib/propagators/jaeger v1.47
//   - traceparent, tracestate: https://www.w3.org/TR/trace-context/ and go.opentelemetry.io/otel/propagation v1.47
//   - traceresponse: https://www.w3.org/TR/trace-context-2/#traceresponse-header, of the same form
//   - baggage: https://www.w3.org/TR/baggage/ and go.opentelemetry.io/otel/baggage v1.47
func Decode(name string, values ...string) Header {
	h := Header{Name: strings.ToLower(name)}
	value := ""
	if len(values) > 0 {
		value = values[0]
	}
	if h.Name == Baggage {
		value = strings.Join(values, ",")
	} else if len(values) > 1 {
		h.addNote("it came %d times, and the first is read", len(values))
	}
	h.Value = value
	if len(value) > maxValue {
		h.Value = strings.ToValidUTF8(value[:maxValue], "")
		h.addNote("it has %d bytes, of which %d are kept", len(value), len(h.Value))
	}
	switch h.Name {
	case UberTraceID:
		h.Problem = h.decodeJaeger(value)
	case TraceParent, "traceresponse":
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
	if h.Valid = h.Problem == ""; !h.Valid {
		h.TraceID, h.SpanID, h.Sampled = "", "", nil
	}
	return h
}

// decodeJoined decodes a header from a log, where several values stand joined.
func decodeJoined(name, value, separator string) Header {
	h := Decode(name, value)
	if first, _, several := strings.Cut(value, separator); several && !h.Valid && h.isContext() {
		if f := Decode(name, first); f.Valid {
			f.Value = h.Value
			f.addNote("it came several times, and the first is read")
			return f
		}
	}
	return h
}

func (h *Header) addNote(format string, args ...any) {
	if h.Note != "" {
		h.Note += "; "
	}
	h.Note += fmt.Sprintf(format, args...)
}

// decodeJaeger fills h from {trace}:{span}:{parent}:{flags} and returns what is wrong. It is as lenient as the
// propagator: shorter ids are padded, the parent may be anything, and empty flags are zero.
func (h *Header) decodeJaeger(value string) string {
	if n := strings.Count(value, ":") + 1; n != 4 {
		problem := fmt.Sprintf("it has %s, and trace:span:parent:flags has 4", count(n, "part"))
		if strings.Contains(strings.ToLower(value), "%3a") {
			problem += "; its colons are percent-encoded, which is not decoded"
		}
		return problem
	}
	traceID, rest, _ := strings.Cut(value, ":")
	spanID, rest, _ := strings.Cut(rest, ":")
	parent, flags, _ := strings.Cut(rest, ":")
	h.ParentID, h.Flags = short(parent), short(flags)
	if problem := checkID("trace id", traceID, 32, true); problem != "" {
		return problem
	}
	if problem := checkID("span id", spanID, 16, true); problem != "" {
		return problem
	}
	var bits int64
	if flags != "" {
		var err error
		if bits, err = strconv.ParseInt(flags, 16, 64); err != nil {
			return "its flags are no hexadecimal number"
		}
	}
	h.TraceID, h.SpanID = pad(traceID, 32), pad(spanID, 16)
	h.setSampled(bits&1 != 0)
	if len(traceID) < 32 {
		h.addNote("a trace id of %s is padded with zeros to 32", count(len(traceID), "digit"))
	}
	if bits&3 == 3 {
		h.addNote("the debug flag is set")
	}
	return ""
}

// decodeW3C fills h from {version}-{trace}-{span}-{flags} and returns what is wrong. Versions after 00 may add parts.
func (h *Header) decodeW3C(value string) string {
	version, rest, _ := strings.Cut(value, "-")
	traceID, rest, _ := strings.Cut(rest, "-")
	spanID, rest, _ := strings.Cut(rest, "-")
	flags, rest, _ := strings.Cut(rest, "-")
	h.Flags = short(flags)
	if n := strings.Count(value, "-") + 1; n < 4 {
		return fmt.Sprintf("it has %s, and version-trace-span-flags has 4", count(n, "part"))
	}
	if len(version) != 2 || !isHex(version) {
		return "its version is not 2 digits of lower-case hexadecimal"
	}
	if version == "ff" {
		return "its version is ff, which is forbidden"
	}
	if problem := checkID("trace id", traceID, 32, false); problem != "" {
		return problem
	}
	if problem := checkID("span id", spanID, 16, false); problem != "" {
		return problem
	}
	if len(flags) != 2 || !isHex(flags) {
		return "its flags are not 2 digits of lower-case hexadecimal"
	}
	bits, _ := strconv.ParseUint(flags, 16, 8) // of two hexadecimal digits
	if version == "00" && rest != "" {
		return "version 00 has 4 parts and no more"
	}
	if version == "00" && bits > 3 {
		return "its flags set bits that version 00 reserves"
	}
	if version != "00" {
		h.addNote("version %s is read as 00, without what it adds", version)
	}
	h.TraceID, h.SpanID = traceID, spanID
	h.setSampled(bits&1 != 0)
	return ""
}

func (h *Header) decodeBaggage(value string) string {
	bag, err := baggage.Parse(value)
	for _, m := range bag.Members() {
		if len(h.Members) < maxMembers {
			h.Members = append(h.Members, Member{m.Key(), m.Value()})
		}
	}
	switch {
	case err != nil && len(h.Members) > 0:
		h.addNote("parts of it are not key=value, and are left out")
	case err != nil && len(value) > 8192:
		return "it is longer than 8192 bytes"
	case err != nil:
		return "no list of key=value"
	}
	return ""
}

func (h *Header) setSampled(sampled bool) { h.Sampled = &sampled }

// checkID says what is wrong with an id; shorter tells that fewer digits will do.
func checkID(what, id string, digits int, shorter bool) string {
	switch {
	case id == "":
		return fmt.Sprintf("its %s is empty", what)
	case len(id) > digits:
		return fmt.Sprintf("its %s is too long: %d characters instead of %d", what, len(id), digits)
	case len(id) < digits && !shorter:
		return fmt.Sprintf("its %s is too short: %d characters instead of %d", what, len(id), digits)
	case !isHex(id) && isHex(strings.ToLower(id)):
		return fmt.Sprintf("its %s has upper-case digits, and only lower case is read", what)
	case !isHex(id):
		return fmt.Sprintf("its %s is not hexadecimal", what)
	case strings.Trim(id, "0") == "":
		return fmt.Sprintf("its %s is all zeros", what)
	}
	return ""
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

func pad(id string, digits int) string { return strings.Repeat("0", max(0, digits-len(id))) + id }

// short cuts what is only shown.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), 32)], "?") }

// NormalizeTraceID returns a trace id as 32 lower-case digits: leading zeros may be missing, and case does not matter.
func NormalizeTraceID(id string) (string, error) {
	id = strings.ToLower(strings.TrimSpace(id))
	if problem := checkID("trace id", id, 32, true); problem != "" {
		return "", fmt.Errorf("trace %q: %s; want up to 32 hexadecimal digits", cut(id, 64), problem)
	}
	return pad(id, 32), nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// cut shortens a text to n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
