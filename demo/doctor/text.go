package doctor

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// printer tells people of an examination while it goes on.
type printer struct {
	w    io.Writer
	live bool
	err  error // the first
}

// RunText runs and tells people about it: what is examined, each link as it is done, and what to
// do. Live says that w is a terminal that obeys control sequences: it gets colours, and a line that
// says what is waited for. The errors are those of Run and of writing. It sets o's callbacks.
func RunText(ctx context.Context, o Options, w io.Writer, live bool) (Report, error) {
	p := &printer{w: w, live: live}
	if o.Note != "" {
		p.print("%s\n", o.masked(o.Note))
	}
	p.print("Following one request of uservice3 through %s\n", o.Stack)
	var parts []string
	for _, part := range []string{topology.Gateway, topology.Tempo, prometheus, loki, grafana, topology.Explorer} {
		if url := o.URLs[part]; url != "" {
			parts = append(parts, o.name(part)+" "+hostOf(url))
		}
	}
	p.print("%s\n", term.Hang("  ", term.Clean(strings.Join(parts, ", ")), term.DefaultWidth))
	o.Waiting, o.Finished = p.waiting, p.finished
	report, err := Run(ctx, o)
	if err != nil {
		p.clearLine()
		return report, err
	}
	p.verdict(report)
	if p.err != nil {
		return report, fmt.Errorf("write the report: %w", p.err)
	}
	return report, nil
}

func (p *printer) print(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) clearLine() {
	if p.live {
		p.print(term.ClearLine)
	}
}

// lead begins the line of a link: its state, how long it took, and its name.
func lead(state, took, link string) string {
	return fmt.Sprintf("  %-8s%8s  %-12s  ", state, took, link)
}

// waiting rewrites one line. Where that is impossible, nothing is shown until the link is done.
func (p *printer) waiting(link, waitingFor string, since time.Duration) {
	if p.live && since >= time.Second {
		line := lead("waiting", fmt.Sprintf("%.0f s", since.Seconds()), link) + waitingFor
		p.print("%s", term.Paint(true, term.Faint, term.Rewrite(line)))
	}
}

func (p *printer) finished(l Link) {
	word, colour, took := string(l.State), term.Faint, ""
	switch l.State {
	case Absent: // all of them in one line at the end
		return
	case OK:
		colour = term.Green
	case Broken:
		word, colour = "BROKEN", term.Red
	}
	if l.Millis > 0 {
		took = term.Duration(time.Duration(l.Millis * float64(time.Millisecond)))
	}
	p.clearLine()
	text := term.Hang(lead(word, took, l.Name), term.Clean(l.Detail), term.DefaultWidth)
	p.print("  %s%s", term.Paint(p.live, colour, text[2:10]), text[10:])
}

// verdict says what it all comes to, and what to do.
func (p *printer) verdict(r Report) {
	names := map[State][]string{}
	for _, l := range r.Links {
		names[l.State] = append(names[l.State], l.Name)
	}
	hold, unknown, absent := len(names[OK]), len(names[Skipped]), len(names[Absent])
	p.clearLine()
	if absent > 0 {
		p.print("%s", term.Hang("  not here  ", strings.Join(names[Absent], ", "), term.DefaultWidth))
	}
	switch {
	case r.OK && unknown > 0:
		p.print("\nNothing broken was found: %d links hold, %d could not be examined.\n", hold, unknown)
	case r.OK && absent > 0:
		p.print("\nAll is well: %d links hold, %d are not in this stack.\n", hold, absent)
	case r.OK:
		p.print("\nAll is well: %d links hold.\n", hold)
	}
	for _, l := range r.Links {
		causes := l.Causes
		switch {
		case l.Name == r.FirstBroken:
			p.print("\n%s\n", term.Paint(p.live, term.Red, "The first broken link: "+l.Name))
		case l.State == Broken: // one at a time
			p.print("\nBroken too: %s\n", l.Name)
			causes = causes[:1]
		}
		for i, c := range causes {
			p.cause(i+1, c)
		}
	}
}

func (p *printer) cause(n int, c Cause) {
	p.print("%s", term.Hang(fmt.Sprintf("  %d. ", n), term.Clean(c.Why), term.DefaultWidth))
	for step := range strings.SplitSeq(c.Do, "; ") {
		width := term.DefaultWidth - 1
		if program, _, _ := strings.Cut(step, " "); program == "docker" || program == "curl" || program == "go" {
			width = math.MaxInt // a line to copy
		}
		p.print("%s", term.Hang("     -> ", term.Clean(step), width))
	}
}
