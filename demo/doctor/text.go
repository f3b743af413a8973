package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// printer tells people of an examination while it goes on.
type printer struct {
	w    io.Writer
	live bool
	err  error // of the first write that failed
}

// RunText runs and tells people about it: what is examined, each link as it is done, and what to
// do. Live says that w is a terminal that obeys control sequences: it gets colours, and a line that
// says what is waited for. The error is Run's, or that w takes no more. It sets o's callbacks.
func RunText(ctx context.Context, o Options, w io.Writer, live bool) (Report, error) {
	p := &printer{w: w, live: live}
	p.print("%sFollowing one request of uservice3 through %s at %s\n\n", o.Note, o.Stack, hostOf(o.URLs[topology.Gateway]))
	o.Waiting, o.Finished = p.waiting, p.finished
	report, err := Run(ctx, o)
	p.clearLine()
	if err != nil {
		return report, err
	}
	p.verdict(report)
	if o.Kind == Compose && !report.OK {
		p.print("\nIf you started the stack with -f and files of deploy/compose, docker compose needs them here, too.\n")
	}
	return report, p.err
}

func (p *printer) print(format string, args ...any) {
	_, err := fmt.Fprintf(p.w, format, args...)
	p.err = cmp.Or(p.err, err)
}

func (p *printer) clearLine() {
	if p.live {
		p.print(term.ClearLine)
	}
}

// lead begins the line of a link: its state, how long it took, and its name.
const lead = "  %-8s%8s  %-12s  "

// waiting rewrites one line. Where that is impossible, nothing is shown until the link is done.
func (p *printer) waiting(link, waitingFor string, since time.Duration) {
	if p.live && since >= time.Second {
		line := fmt.Sprintf(lead, "waiting", fmt.Sprintf("%.0f s", since.Seconds()), link) + waitingFor
		p.print("%s", term.Paint(true, term.Faint, term.Rewrite(line)))
	}
}

func (p *printer) finished(l Link) {
	if l.State == Absent {
		return
	}
	word, took := string(l.State), ""
	if l.State == Broken {
		word = "BROKEN"
	}
	if l.Millis >= 1 {
		took = story.Time(l.Millis * float64(time.Millisecond)).String()
	}
	p.clearLine()
	text := term.Hang(fmt.Sprintf(lead, word, took, l.Name), term.Clean(l.Detail), term.DefaultWidth)
	colour := map[State]string{OK: term.Green, Broken: term.Red, Skipped: term.Faint}[l.State]
	p.print("  %s%s", term.Paint(p.live, colour, text[2:10]), text[10:])
}

// verdict says what it all comes to, and what to do.
func (p *printer) verdict(r Report) {
	count, title := map[State]int{}, "The first broken link: "
	for _, l := range r.Links {
		count[l.State]++
		if l.State == Broken {
			p.print("\n%s%s\n", term.Paint(p.live, term.Red, title), l.Name)
			title = "Broken too: "
		}
		for i, c := range l.Causes {
			number := "     "
			if len(l.Causes) > 1 {
				number = fmt.Sprintf("  %d. ", i+1)
			}
			p.print("%s     -> %s\n", term.Hang(number, term.Clean(c.Why), term.DefaultWidth),
				strings.ReplaceAll(term.Clean(c.Do), "; ", "\n     -> "))
		}
	}
	if r.OK {
		p.print("\nNothing is broken: of %d links, %d hold, %d could not be examined, %d are not in this stack.\n",
			len(r.Links), count[OK], count[Skipped], count[Absent])
	}
}
