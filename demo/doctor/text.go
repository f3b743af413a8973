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

// printer tells people of a visit while it goes on.
type printer struct {
	w    io.Writer
	live bool
	err  error

	skipped []string // links that are skipped for one reason, not yet printed
	reason  string
}

// RunText runs and tells people about it: what is examined, each link as it is done, and what to
// do. Live says that w is a terminal that obeys control sequences: it gets colours, and a line that
// says what is waited for. The errors are those of Run and of writing. It sets o's callbacks.
func RunText(ctx context.Context, o Options, w io.Writer, live bool) (Report, error) {
	p := &printer{w: w, live: live}
	p.heading(o)
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

// heading says what is examined.
func (p *printer) heading(o Options) {
	if o.Note != "" {
		p.print("%s\n", o.Note)
	}
	p.print("Following one request of uservice3 through %s\n", o.Stack)
	var parts []string
	for _, part := range []string{topology.Gateway, topology.Tempo, prometheus, loki, grafana, topology.Explorer} {
		if url := o.URLs[part]; url != "" {
			parts = append(parts, o.name(part)+" "+strings.TrimPrefix(url, "http://"))
		}
	}
	p.print("%s\n", term.Hang("  ", term.Clean(strings.Join(parts, ", ")), term.DefaultWidth))
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
	if l.State == Absent || l.State == Unseen { // in one line each at the end
		return
	}
	if l.Detail != p.reason {
		p.several("skipped", p.skipped, " ("+p.reason+")")
		p.skipped, p.reason = nil, ""
	}
	word, colour := "ok", term.Green
	switch l.State {
	case Skipped:
		p.skipped, p.reason = append(p.skipped, l.Name), l.Detail
		return
	case Broken:
		word, colour = "BROKEN", term.Red
	}
	took := term.Duration(time.Duration(l.Millis * float64(time.Millisecond)))
	p.line(colour, lead(word, took, l.Name), l.Detail)
}

// several prints one line for links of which there is nothing else to say.
func (p *printer) several(state string, links []string, why string) {
	if len(links) > 0 {
		p.line(term.Faint, fmt.Sprintf("  %-8s  ", state), strings.Join(links, ", ")+why)
	}
}

// line prints a line that begins with a state of up to eight letters.
func (p *printer) line(colour, lead, text string) {
	p.clearLine()
	text = term.Hang(lead, term.Clean(text), term.DefaultWidth)
	p.print("  %s%s", term.Paint(p.live, colour, text[2:10]), text[10:])
}

// verdict says what it all comes to, and what to do.
func (p *printer) verdict(r Report) {
	names := map[State][]string{}
	for _, l := range r.Links {
		names[l.State] = append(names[l.State], l.Name)
	}
	p.several("skipped", p.skipped, " ("+p.reason+")")
	p.several("not seen", names[Unseen], " ("+unseen.detail+")")
	p.several("not here", names[Absent], "")
	hold, unknown, absent := len(names[OK]), len(names[Skipped])+len(names[Unseen]), len(names[Absent])
	switch {
	case r.OK && unknown > 0:
		p.print("\nNothing broken was found: %d links hold, %d could not be examined.\n", hold, unknown)
	case r.OK && absent > 0:
		p.print("\nAll is well: %d links hold, %d are not in this stack.\n", hold, absent)
	case r.OK:
		p.print("\nAll is well: %d links hold.\n", hold)
	}
	for _, l := range r.Links {
		if l.Name == r.FirstBroken {
			p.print("\n%s\n", term.Paint(p.live, term.Red, "The first broken link: "+l.Name))
			for i, c := range l.Causes {
				p.cause(i+1, c)
			}
		} else if l.State == Broken { // one at a time
			p.print("\nBroken too: %s\n", l.Name)
			p.cause(1, l.Causes[0])
		}
	}
}

func (p *printer) cause(n int, c Cause) {
	p.print("%s", term.Hang(fmt.Sprintf("  %d. ", n), term.Clean(c.Why), term.DefaultWidth))
	for step := range strings.SplitSeq(c.Do, "; ") {
		width := term.DefaultWidth - 1
		switch program, _, _ := strings.Cut(step, " "); program {
		case "docker", "curl", "go":
			width = math.MaxInt // a line to copy
		}
		p.print("%s", term.Hang("     -> ", term.Clean(step), width))
	}
}
