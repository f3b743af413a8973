package explorer

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/header"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

// maxFileBytes bounds a file that is opened: some 30,000 spans.
const maxFileBytes = 32 << 20

// place is the answer of GET /api/open: a trace and perhaps a span of it, or else what is wrong.
type place struct {
	Trace   string `json:"trace"`
	Span    string `json:"span"`
	Problem string `json:"problem"`
}

// open answers GET /api/open?text=... with the place that a text names.
func open(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, find(r.FormValue("text")))
}

// find looks in what somebody has pasted for a propagation header, with or without its name, then for a whole
// trace id, perhaps with a span id after it, as in a log line or an address. Else all of it is an id.
func find(text string) place {
	if plain, err := url.QueryUnescape(text); err == nil { // as some Jaeger clients write the header
		text = plain
	}
	text = strings.ToLower(strings.TrimSpace(text))
	split := func(letters string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return !strings.ContainsRune(letters, r) })
	}
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	for _, word := range split(letters + ":-") {
		for _, name := range []string{header.TraceParent, header.UberTraceID} {
			if h := header.Decode(name, word); h.TraceID != "" {
				return place{Trace: h.TraceID, Span: h.SpanID}
			}
		}
	}
	found := place{}
	for _, word := range split(letters) {
		if id, err := traceid.Trace(word); err == nil && len(word) == traceid.TraceDigits && found.Trace == "" {
			found.Trace = id
		} else if id, err := traceid.Span(word); err == nil && len(word) == traceid.SpanDigits && found.Trace != "" && found.Span == "" {
			found.Span = id
		}
	}
	if found.Trace != "" {
		return found
	}
	id, err := traceid.Trace(text)
	if err != nil {
		return place{Problem: "There is no trace id in this. Paste one of up to 32 hexadecimal digits, or a traceresponse, traceparent or uber-trace-id header."}
	}
	return place{Trace: id}
}

// file answers POST /api/file with what a file's trace says. Nothing of it is kept.
func (e *explorer) file(w http.ResponseWriter, r *http.Request) {
	wrong := func(why string) { // not a 400: a browser's console lists it as a failure
		answer(w, http.StatusOK, shown{Settled: true, Absent: &story.Absent{Icon: "error", Title: "This file cannot be opened", Settled: true,
			Texts: []string{why, "What can be opened is the JSON of one trace as Tempo writes it, such as the link Download on a trace's page gives."}}})
	}
	if !e.reading.TryLock() {
		wrong("Another file is being read. Try again.")
		return
	}
	defer e.reading.Unlock()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFileBytes))
	if err != nil {
		wrong("It has more than 32 MiB, or it was not sent whole.")
		return
	}
	t, err := tempo.Read(body)
	if err != nil {
		wrong("What is wrong with it: " + err.Error() + ".")
		return
	}
	answer(w, http.StatusOK, shown{Trace: story.Tell(t, story.Options{}), Settled: true})
}
