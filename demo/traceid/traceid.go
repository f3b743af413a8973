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

// Pad adds leading zeros up to the given number of digits.
func Pad(id string, digits int) string {
	return strings.Repeat("0", max(0, digits-len(id))) + id
}

// Trace returns a trace id as 32 lower-case digits. Leading zeros may be missing, as Jaeger's
// uber-trace-id and Tempo's search answers leave them out, and case does not matter. The error says
// what is wanted instead of anything else.
func Trace(id string) (string, error) { return normalize("trace", id, TraceDigits) }

// Span returns a span id as 16 lower-case digits, as Trace does for a trace's.
func Span(id string) (string, error) { return normalize("span", id, SpanDigits) }

func normalize(what, id string, digits int) (string, error) {
	lower := strings.ToLower(id)
	hexadecimal := strings.Trim(lower, "0123456789abcdef") == ""
	if len(lower) > digits || !hexadecimal || strings.Trim(lower, "0") == "" {
		return "", fmt.Errorf("%s id %.64q: want up to %d hexadecimal digits, not all of them 0", what, id, digits)
	}
	return Pad(lower, digits), nil
}

// Hex writes an id's bytes as lower-case digits, padded with zeros to the given number.
func Hex(id []byte, digits int) string { return Pad(hex.EncodeToString(id), digits) }
