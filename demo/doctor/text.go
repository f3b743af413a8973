package doctor

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/grafana-tempo-go-demo/demo/waterfall"
)

// width is how many columns the text takes. Commands are not broken, and may be longer.
const width = 80

// ANSI sequences. They say nothing that the words do not say as well.
const (
	reset = "\x1b[0m"
	red   = "\x1b[1;31m"
	green = "\x1b[32m"
	faint = "\x1b[2m"
)

// printer tells people of a visit while it goes on.
type printer struct {
	w io.Writer
	// live tells that w is a terminal that obeys control sequences: colours, and a line that says what is waited for.
	live bool
	err  error
}

func (p *printer) print(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) colour(c, text string) string {
	if !p.live {
		return text
	}
	return c + text + reset
}

// heading says what is examined.
func (p *printer) heading(o Options) {
	p.print("Following one request of %s through %s\n", caller, waterfall.Clean(o.Stack))
	var parts []string
	for _, a := range []struct{ name, url string }{
		{part(o.Kind, "proxy"), o.Gateway}, {part(o.Kind, "tempo"), o.Tempo}, {"prometheus", o.Prometheus}, {"loki", o.Loki},
		{"grafana", o.Grafana}, {"page", o.Explorer},
	} {
		if a.url != "" {
			parts = append(parts, a.name+" "+strings.TrimPrefix(waterfall.Clean(a.url), "http://"))
		}
	}
	for _, line := range wrap(strings.Join(parts, ", "), width-2) {
		p.print("  %s\n", line)
	}
	p.print("\n")
}

const (
	lineFormat = "  %s%8s  %-12s  "
	indent     = 34
)

// waiting rewrites one line. Where lines cannot be rewritten the link's own line, with its time, has to do.
func (p *printer) waiting(link, waitingFor string, since time.Duration) {
	if !p.live || since < time.Second {
		return
	}
	p.print("\r\x1b[K"+lineFormat+"%s", p.colour(faint, fmt.Sprintf("%-8s", "waiting")), fmt.Sprintf("%.0f s", since.Seconds()), link,
		cut(waitingFor, width-indent-1))
}

func (p *printer) finished(l Link) {
	word, colour := string(l.State), faint
	switch l.State {
	case OK:
		colour = green
	case Broken:
		word, colour = "BROKEN", red
	case Absent:
		word = "not here"
	}
	took := ""
	if l.State == OK || l.State == Broken {
		took = duration(l.Millis)
	}
	if p.live {
		p.print("\r\x1b[K")
	}
	for i, line := range wrap(waterfall.Clean(l.Detail), width-indent) {
		if i == 0 {
			p.print(lineFormat+"%s\n", p.colour(colour, fmt.Sprintf("%-8s", word)), took, l.Name, line)
		} else {
			p.print("%*s%s\n", indent, "", line)
		}
	}
}

// verdict says what it all comes to, and what to do.
func (p *printer) verdict(r Report) {
	counts := map[State]int{}
	for _, l := range r.Links {
		counts[l.State]++
	}
	if r.OK {
		text := fmt.Sprintf("All is well: %d links hold", counts[OK])
		if n := counts[Absent]; n > 0 {
			text += fmt.Sprintf(", %d are not in this stack", n)
		}
		p.print("\n%s.\n", text)
		return
	}
	first := true
	for _, l := range r.Links {
		if l.State != Broken {
			continue
		}
		if first {
			p.print("\n%s\n", p.colour(red, "The first broken link: "+l.Name))
		} else {
			p.print("\nBroken too: %s\n", l.Name)
		}
		for i, c := range l.Causes {
			if !first && i > 0 {
				break // one at a time
			}
			for j, line := range wrap(waterfall.Clean(c.Why), width-5) {
				if j == 0 {
					p.print("  %d. %s\n", i+1, line)
				} else {
					p.print("     %s\n", line)
				}
			}
			for _, step := range steps(c.Do) {
				lines := wrap(waterfall.Clean(step), width-9)
				if isCommand(step) {
					lines = []string{waterfall.Clean(step)} // to be copied
				}
				for j, line := range lines {
					if j == 0 {
						p.print("     -> %s\n", line)
					} else {
						p.print("        %s\n", line)
					}
				}
			}
		}
		first = false
	}
}

// steps are the things to do one after the other, each on a line of its own.
func steps(do string) []string {
	var list []string
	for part := range strings.SplitSeq(strings.ReplaceAll(do, ", then: ", "; "), "; ") {
		list = append(list, part)
	}
	return list
}

func isCommand(step string) bool {
	for _, name := range []string{"docker ", "curl ", "go "} {
		if strings.HasPrefix(step, name) {
			return true
		}
	}
	return false
}

// wrap breaks a text at spaces into lines of at most n characters, and words that are longer anywhere. An empty text is
// one empty line.
func wrap(text string, n int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		for r := []rune(word); len(r) > n; r = []rune(word) {
			if lines[len(lines)-1] == "" {
				lines = lines[:len(lines)-1]
			}
			lines = append(lines, string(r[:n]), "")
			word = string(r[n:])
		}
		last := lines[len(lines)-1]
		switch {
		case last == "":
			lines[len(lines)-1] = word
		case utf8.RuneCountInString(last)+1+utf8.RuneCountInString(word) <= n:
			lines[len(lines)-1] = last + " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

// cut shortens a text to n characters: a line that wraps could not be rewritten.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n])
	}
	return text
}

// duration is a number of milliseconds for people.
func duration(ms float64) string {
	switch {
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.2f s", ms/1000)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}
