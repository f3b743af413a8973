package header

import (
	"net/http"
	"strings"
	"testing"
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
		problem       string // part of it
	}{
		"a 128-bit uber-trace-id":          {UberTraceID, traceA + ":" + span1 + ":0:1", traceA, span1, true, ""},
		"short ids":                        {UberTraceID, "1:2:3:1", strings.Repeat("0", 31) + "1", "0000000000000002", true, ""},
		"an unsampled uber-trace-id":       {UberTraceID, traceA + ":" + span1 + ":0:0", traceA, span1, false, ""},
		"empty flags":                      {UberTraceID, traceA + ":" + span1 + ":0:", traceA, span1, false, ""},
		"several values":                   {UberTraceID, traceA + ":1:0:1, " + traceB + ":2:0:1", traceA, "0000000000000001", true, ""},
		"an empty value":                   {UberTraceID, "", "", "", false, "want trace:span:parent:flags"},
		"many parts":                       {UberTraceID, strings.Repeat(":", 1<<20), "", "", false, "want"},
		"percent-encoded colons":           {UberTraceID, traceA + "%3A" + span1 + "%3A0%3A1", "", "", false, "want"},
		"upper case":                       {UberTraceID, strings.ToUpper(traceA) + ":" + span1 + ":0:1", "", "", false, "lower-case"},
		"a trace id of zeros":              {UberTraceID, strings.Repeat("0", 32) + ":" + span1 + ":0:1", "", "", false, "not all 0"},
		"a traceparent":                    {TraceParent, "00-" + traceA + "-" + span1 + "-01", traceA, span1, true, ""},
		"a random flag":                    {TraceParent, "00-" + traceA + "-" + span1 + "-02", traceA, span1, false, ""},
		"a traceparent of a later version": {TraceParent, "cc-" + traceA + "-" + span1 + "-01-what", traceA, span1, true, ""},
		"a traceparent with more parts":    {TraceParent, "00-" + traceA + "-" + span1 + "-01-00", "", "", false, "want 00-trace-span-flags"},
		"a 64-bit traceparent":             {TraceParent, "00-a3ce929d0e0e4736-" + span1 + "-01", "", "", false, "ids of 32"},
		"a traceresponse":                  {TraceResponse, "00-" + traceA + "-" + span1 + "-01", traceA, span1, true, ""},
		"a header that nobody knows":       {"x-b3-traceid", traceA, "", "", false, ""},
		"a long baggage":                   {Baggage, "k=" + strings.Repeat("v", 9000), "", "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := Decode(test.header, test.value)
			if h.TraceID != test.trace || h.SpanID != test.span || (h.Sampled != nil && *h.Sampled) != test.sampled ||
				!strings.Contains(h.Problem, test.problem) || (test.problem == "") != (h.Problem == "") || len(h.Value) > maxValue+3 {
				t.Errorf("decoded as %+v", h)
			}
		})
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
		{UberTraceID, "1:2:0:1, 3:4:0:1", "<1>:<2>:0:1, 3:4:0:1"},
		{UberTraceID, "x:2:0:1", "x:2:0:1"},
		{UberTraceID, "1:2:" + strings.Repeat("x", 2*maxValue) + ":1", "<1>:<2>:" + strings.Repeat("x", maxValue-4) + "..."},
		{TraceParent, "00-" + traceA + "-" + span1 + "-01", "00-<" + traceA + ">-<" + span1 + ">-01"},
		{TraceState, "", ""},
	} {
		if got := marked(Decode(tc.name, tc.value)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// FuzzDecode holds that the pieces of a value make the value, whatever it is.
func FuzzDecode(f *testing.F) {
	for _, value := range []string{
		"", ":::", "a:b:c:+1", "1:1:1:-1", "01:01::", "1:2:3:1:", "\xff:1:1:1", "1:2:0:1, 3:4:0:1", "00-" + traceA + "-" + span1 + "-01-",
		"01-" + traceA + "-" + span1 + "-ff-x", traceA + ":" + span1 + ":" + strings.Repeat("x", 2000) + ":0001",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, name := range []string{UberTraceID, TraceParent, TraceResponse, Baggage} {
			h, text := Decode(name, value), ""
			for _, p := range h.Parts() {
				text += p.Text
			}
			if text != h.Value || len(text) > maxValue+3 {
				t.Fatalf("%s %q: decoded as %+v, in parts %q", name, value, h, text)
			}
		}
	})
}
