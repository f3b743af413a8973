package ledger

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"example.com/grafana-tempo-go-demo/demo/term"
)

//go:embed requests.tmpl
var requestsText string

var requestsTemplate = template.Must(template.New("requests").Funcs(template.FuncMap{
	"clock":  func(t time.Time) string { return t.UTC().Format("15:04:05.000") }, // as logs have it
	"inc":    func(n int) int { return n + 1 },
	"safe":   safe,
	"same":   SameHeaders,
	"status": http.StatusText,
	"upper":  func(word any) string { return strings.ToUpper(strings.ReplaceAll(fmt.Sprint(word), "-", " ")) },
	// A header's value is one word, so that it does not look like two.
	"word": func(value string) string { return strings.ReplaceAll(safe(value), " ", `\x20`) },
}).Parse(requestsText))

// leads match how a paragraph begins; its further lines are indented by as much.
var leads = regexp.MustCompile(`^ {0,5}((\d{1,3}\.|left|arrived|back|so) {1,6})?`)

// Fprint writes requests for a reader at a terminal of 80 columns, in the given order, without
// colours. What comes from headers is written in printable ASCII alone, everything else of it
// escaped as in Go. Words that are too long for a line are cut. The error is w's.
func Fprint(w io.Writer, requests []Request) error {
	var paragraphs, text strings.Builder
	if err := requestsTemplate.Execute(&paragraphs, requests); err != nil {
		return err
	}
	var lead string
	for line := range strings.Lines(paragraphs.String()) {
		if rest, ok := strings.CutPrefix(line, "\t"); ok {
			lead, line = strings.Repeat(" ", len(lead)), rest
		} else {
			lead = leads.FindString(line)
			line = line[len(lead):]
		}
		words := strings.Fields(line)
		for i, word := range words {
			words[i] = term.Fit(word, term.DefaultWidth-len(lead), "...")
		}
		text.WriteString(term.Hang(lead, strings.Join(words, " "), term.DefaultWidth))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// safe returns a text in printable ASCII, with everything else escaped.
func safe(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return s
	}
	quoted := strconv.QuoteToASCII(s)
	return quoted[1 : len(quoted)-1]
}
