package header

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/propagators/jaeger"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceA = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceB = "0af7651916cd43dd8448eb211c80319c"
	span1  = "00f067aa0ba902b7"
)

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		header, value string
		trace, span   string // empty for malformed
		sampled       bool
		problem, note string // parts
	}{
		"a 128-bit uber-trace-id":               {UberTraceID, traceA + ":" + span1 + ":0:1", traceA, span1, true, "", ""},
		"a 64-bit uber-trace-id":                {UberTraceID, "a3ce929d0e0e4736:" + span1 + ":0:1", "0000000000000000a3ce929d0e0e4736", span1, true, "", "16 digits is padded"},
		"short ids":                             {UberTraceID, "1:2:3:1", strings.Repeat("0", 31) + "1", "0000000000000002", true, "", "1 digit is"},
		"an unsampled uber-trace-id":            {UberTraceID, traceA + ":" + span1 + ":0:0", traceA, span1, false, "", ""},
		"a debug flag":                          {UberTraceID, traceA + ":" + span1 + ":0:3", traceA, span1, true, "", "debug"},
		"empty flags":                           {UberTraceID, traceA + ":" + span1 + ":0:", traceA, span1, false, "", ""},
		"any parent":                            {UberTraceID, traceA + ":" + span1 + ":what?:1", traceA, span1, true, "", ""},
		"an empty value":                        {UberTraceID, "", "", "", false, "1 part", ""},
		"three parts":                           {UberTraceID, traceA + ":" + span1 + ":1", "", "", false, "3 parts", ""},
		"many parts":                            {UberTraceID, strings.Repeat(":", 1<<20), "", "", false, "1048577 parts", "1048576 bytes"},
		"percent-encoded colons":                {UberTraceID, traceA + "%3A" + span1 + "%3A0%3A1", "", "", false, "percent-encoded", ""},
		"upper case":                            {UberTraceID, strings.ToUpper(traceA) + ":" + span1 + ":0:1", "", "", false, "upper-case", ""},
		"a trace id of zeros":                   {UberTraceID, strings.Repeat("0", 32) + ":" + span1 + ":0:1", "", "", false, "trace id is all zeros", ""},
		"an over-long span id":                  {UberTraceID, traceA + ":0" + span1 + ":0:1", "", "", false, "17 characters instead of 16", ""},
		"flags that are no number":              {UberTraceID, traceA + ":" + span1 + ":0:x", "", "", false, "flags", ""},
		"a traceparent":                         {TraceParent, "00-" + traceA + "-" + span1 + "-01", traceA, span1, true, "", ""},
		"a random flag":                         {TraceParent, "00-" + traceA + "-" + span1 + "-02", traceA, span1, false, "", "random"},
		"sampled and random":                    {TraceParent, "00-" + traceA + "-" + span1 + "-03", traceA, span1, true, "", "random"},
		"a traceparent of a later version":      {TraceParent, "cc-" + traceA + "-" + span1 + "-01-what", traceA, span1, true, "", "version cc"},
		"a forbidden version":                   {TraceParent, "ff-" + traceA + "-" + span1 + "-01", "", "", false, "forbidden", ""},
		"an upper-case version":                 {TraceParent, "CC-" + traceA + "-" + span1 + "-01", "", "", false, "version", ""},
		"a traceparent with more parts":         {TraceParent, "00-" + traceA + "-" + span1 + "-01-00", "", "", false, "no more", ""},
		"reserved flags":                        {TraceParent, "00-" + traceA + "-" + span1 + "-09", "", "", false, "reserves", ""},
		"a 64-bit traceparent":                  {TraceParent, "00-a3ce929d0e0e4736-" + span1 + "-01", "", "", false, "too short: 16 characters", ""},
		"a traceparent in upper case":           {TraceParent, "00-" + strings.ToUpper(traceA) + "-" + span1 + "-01", "", "", false, "upper-case", ""},
		"a traceparent without flags":           {TraceParent, "00-" + traceA + "-" + span1, "", "", false, "3 parts", ""},
		"a traceresponse":                       {TraceResponse, "00-" + traceA + "-" + span1 + "-01", traceA, span1, true, "", ""},
		"a header that nobody knows":            {"x-b3-traceid", traceA, "", "", false, "", ""},
		"a long baggage":                        {Baggage, "k=" + strings.Repeat("v", 9000), "", "", false, "", "9002 bytes"},
		"a tracestate":                          {TraceState, "a=1", "", "", false, "", ""},
		"a value with a terminal's own letters": {UberTraceID, "\x1b[2J\xff:1:0:1", "", "", false, "not hexadecimal", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := Decode(test.header, test.value)
			if h.Valid != (test.problem == "") || h.TraceID != test.trace || h.SpanID != test.span || (h.Sampled != nil && *h.Sampled) != test.sampled {
				t.Errorf("decoded as %+v", h)
			}
			if !strings.Contains(h.Problem, test.problem) || !strings.Contains(h.Note, test.note) || (test.note == "") != (h.Note == "") {
				t.Errorf("problem %q, note %q", h.Problem, h.Note)
			}
			if len(h.Value) > maxValue {
				t.Errorf("%d bytes are kept", len(h.Value))
			}
		})
	}
}

func TestTheFirstOfSeveralValuesIsRead(t *testing.T) {
	for name, h := range map[string]Header{
		"as headers": Pick(http.Header{"Uber-Trace-Id": {traceA + ":1:0:1", traceB + ":1:0:1"}}).Decode()[0],
		"in a log":   Decode(UberTraceID, traceA+":1:0:1, "+traceB+":1:0:1"),
	} {
		if h.TraceID != traceA || !strings.Contains(h.Note, "the first is read") {
			t.Errorf("%s: decoded as %+v", name, h)
		}
	}
}

func TestPickKeepsPropagationHeadersAlone(t *testing.T) {
	all := http.Header{"Uber-Trace-Id": {"1:2:0:1"}, "Authorization": {"secret"}, "Baggage": {"a=1", "b=2"}}
	picked := Pick(all)
	all["Baggage"][0] = "changed"
	if len(picked) != 2 || picked["authorization"] != "" || picked["baggage"] != "a=1, b=2" {
		t.Errorf("picked %v", picked)
	}
	if Pick(nil) == nil {
		t.Error("no headers cannot be told from headers that were not recorded")
	}
}

// marked writes a header's value with its parts marked.
func marked(h Header) (text string) {
	for _, p := range h.Parts() {
		if p.Kind != "" {
			p.Text = "<" + p.Text + ">"
		}
		text += p.Text
	}
	return text
}

func TestParts(t *testing.T) {
	for _, tc := range []struct{ name, value, want string }{
		{UberTraceID, "1:2:0:1", "<1>:<2>:<0>:<1>"},
		{UberTraceID, "1:2::", "<1>:<2>:<>:<>"},
		{UberTraceID, "1:2:0:1, 3:4:0:1", "<1>:<2>:<0>:<1>, 3:4:0:1"},
		{UberTraceID, "x:2:0:1", "x:2:0:1"},
		{UberTraceID, "1:2:" + strings.Repeat("x", 2*maxValue) + ":1", "<1>:<2>:<" + strings.Repeat("x", maxValue-4) + ">"},
		{TraceParent, "00-" + traceA + "-" + span1 + "-01", "<00>-<" + traceA + ">-<" + span1 + ">-<01>"},
		{TraceResponse, "cc-" + traceA + "-" + span1 + "-01-what", "<cc>-<" + traceA + ">-<" + span1 + ">-<01>-what"},
		{Baggage, "a=1", "a=1"},
		{TraceState, "", ""},
	} {
		if got := marked(Decode(tc.name, tc.value)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// FuzzDecode holds the decoder to what OpenTelemetry's own readers make of the same header.
func FuzzDecode(f *testing.F) {
	for _, value := range []string{
		"", ":::", traceA + ":" + span1 + ":0:1", "a:b:c:+1", "1:1:1:-1", "1:1:1:0x1", "01:01::", "0:0:0:0", "1:2:3:1:", "\xff:1:1:1",
		"00-" + traceA + "-" + span1 + "-01", "00-" + traceA + "-" + span1 + "-01-", "01-" + traceA + "-" + span1 + "-ff-x",
		"a=1,b=2;p", strings.Repeat("a=1,", 100), "%00=%zz", traceA + ":" + span1 + ":" + strings.Repeat("x", 2000) + ":0001",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for name, propagator := range map[string]propagation.TextMapPropagator{
			UberTraceID: jaeger.Jaeger{}, TraceParent: propagation.TraceContext{},
		} {
			h := Decode(name, value)
			ctx := propagator.Extract(context.Background(), propagation.MapCarrier{name: value})
			want := trace.SpanContextFromContext(ctx)
			if !strings.Contains(value, ",") && h.Valid != want.IsValid() || h.Valid == (h.Problem != "") {
				t.Fatalf("%s %q: decoded as %+v, OpenTelemetry as %v", name, value, h, want)
			}
			if want.IsValid() && (h.TraceID != want.TraceID().String() || h.SpanID != want.SpanID().String() || *h.Sampled != want.IsSampled()) {
				t.Fatalf("%s %q: decoded as %+v, OpenTelemetry as %v", name, value, h, want)
			}
		}
		for _, name := range []string{Baggage, TraceState, UberTraceID, TraceParent} {
			h := Decode(name, value)
			if len(h.Value) > maxValue || len(h.Problem)+len(h.Note) > 400 {
				t.Fatalf("%s %q: decoded without bounds as %+v", name, value, h)
			}
			if got := marked(h); strings.NewReplacer("<", "", ">", "").Replace(got) != strings.NewReplacer("<", "", ">", "").Replace(h.Value) {
				t.Fatalf("%s %q: in parts it is %q", name, value, got)
			}
		}
	})
}
