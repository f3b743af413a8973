// Package traceid reads and writes the ids of traces and spans as hexadecimal text.
package traceid

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// The lengths of the ids in hexadecimal digits, as W3C Trace Context and OpenTelemetry have them:
// https://www.w3.org/TR/trace-context/#trace-id
const (
	TraceDigits = 32
	SpanDigits  = 16
)

// IsHex reports whether s has only lower-case hexadecimal digits.
func IsHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// Pad adds leading zeros up to the given number of digits.
func Pad(id string, digits int) string {
	return strings.Repeat("0", max(0, digits-len(id))) + id
}

// Problem says what is wrong with an id of so many digits, in words that follow "its trace id":
// "is empty", "is all zeros". It returns "" for a valid id. With padded, leading zeros may be
// missing, as Jaeger's uber-trace-id and Tempo's search answers leave them out.
func Problem(id string, digits int, padded bool) string {
	switch {
	case id == "":
		return "is empty"
	case len(id) > digits:
		return fmt.Sprintf("is too long: %d characters instead of %d", len(id), digits)
	case len(id) < digits && !padded:
		return fmt.Sprintf("is too short: %d characters instead of %d", len(id), digits)
	case !IsHex(id) && IsHex(strings.ToLower(id)):
		return "has upper-case digits, and only lower case is read"
	case !IsHex(id):
		return "is not hexadecimal"
	case strings.Trim(id, "0") == "":
		return "is all zeros"
	}
	return ""
}

// Trace returns a trace id as 32 lower-case digits. Leading zeros may be missing, and case does not
// matter. The error says what is wrong with anything else.
func Trace(id string) (string, error) { return normalize("trace", id, TraceDigits) }

// Span returns a span id as 16 lower-case digits, as Trace does for a trace's.
func Span(id string) (string, error) { return normalize("span", id, SpanDigits) }

func normalize(what, id string, digits int) (string, error) {
	lower := strings.ToLower(strings.TrimSpace(id))
	if problem := Problem(lower, digits, true); problem != "" {
		if len(id) > 64 {
			id = id[:64] + "..."
		}
		return "", fmt.Errorf("%s id %q %s; want up to %d hexadecimal digits",
			what, strings.ToValidUTF8(id, ""), problem, digits)
	}
	return Pad(lower, digits), nil
}

// Hex writes an id's bytes as lower-case digits, padded with zeros to the given number.
func Hex(id []byte, digits int) string { return Pad(hex.EncodeToString(id), digits) }
