package ledger

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"example.com/grafana-tempo-go-demo/demo/term"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/traceid"
)

const (
	// maxLogLine is the longest line that is read; the pieces of a longer one say nothing. The
	// services' longest have the body of an answer, of 64 KiB before it is escaped.
	maxLogLine = 1 << 20
	// maxLogRecords is how many records of a log are kept; the newest.
	maxLogRecords = 48 << 10
)

// RunOptions say what Run is to print.
type RunOptions struct {
	JSON  bool   // print an Answer as JSON, newest first, instead of text, oldest first
	Trace string // the id of the trace to print; empty for the newest requests
	Limit int    // how many requests are printed at most; 0 means DefaultLimit
}

// forms are those of logs that can be read.
const forms = "docker compose logs, also with -t, kubectl logs --prefix, podman logs --names and go run ./demo"

// Run is the command `demo ledger`: it prints the ledger of a log in one of the forms, with or without
// colours; a line's prefix names its service. What is notable about the log goes to stderr.
func Run(stdin io.Reader, stdout, stderr io.Writer, o RunOptions) error {
	if _, err := traceid.Trace(o.Trace); o.Trace != "" && err != nil {
		return err
	}
	l := New(maxLogRecords)
	unread, err := l.readLog(stdin)
	if err != nil {
		return err
	}
	if unread > 0 {
		fmt.Fprintf(stderr, "%s of this log may tell of requests and cannot be read. The forms that can are those of\n%s.\n",
			term.Count(unread, "line"), forms)
	}
	limit := cmp.Or(o.Limit, DefaultLimit)
	a := Answer{Requests: []Request{}}
	if o.Trace != "" {
		if a.Requests, a.Total, _ = l.Trace(o.Trace, limit); a.Total == 0 {
			return fmt.Errorf("trace %s is not in this log", o.Trace)
		}
	} else {
		starts := tie(l.gather(l.records))
		a.Requests, a.Total = newest(starts, limit), len(starts)
	}
	if a.Total > len(a.Requests) {
		fmt.Fprintf(stderr, "the newest %d of %d requests\n", len(a.Requests), a.Total)
	}
	if slices.ContainsFunc(a.Requests, func(r Request) bool { return r.Hops[0].Action == NoAction }) {
		fmt.Fprintln(stderr, "The gateway's log does not say what clients sent. Traefik's does with the option\n"+
			"--accesslog.fields.headers.names.Uber-Trace-Id=keep, once a client has sent one.")
	}
	for i := range a.Requests {
		if r := &a.Requests[i]; unread > 0 && r.Outcome == Whole {
			r.Outcome, r.From, r.To = Unknown, "", ""
			r.Summary = "In the part of the log that can be read: " + r.Summary
		}
	}
	if o.JSON {
		err = json.NewEncoder(stdout).Encode(a)
	} else {
		slices.Reverse(a.Requests)
		err = Fprint(stdout, a.Requests)
	}
	if err != nil {
		return fmt.Errorf("print the ledger: %w", err)
	}
	return nil
}

// requestMark is in what may be a line about a request, in JSON or in a text within JSON.
var requestMark = regexp.MustCompile(`\\?"msg\\?": ?\\?"request|\\?"DownstreamStatus\\?":`)

// readLog adds a whole log, see Run, and counts the lines that may tell of requests and cannot be
// read. The error says what a log without any request lacks.
func (l *Ledger) readLog(r io.Reader) (unread int, err error) {
	lines := 0
	unnamed := true // all that can be read otherwise
	// PowerShell's > writes UTF-16 with a byte order mark.
	in := bufio.NewReaderSize(transform.NewReader(r, unicode.BOMOverride(transform.Nop)), maxLogLine)
	for {
		data, _, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unread, fmt.Errorf("read the log: %w", err)
		}
		if len(bytes.TrimSpace(data)) > 0 {
			lines++
		}
		service, text := splitPrefix(data)
		// What somebody else's line quotes is no request.
		if service != "" && (!bytes.HasPrefix(text, []byte("{")) || l.AddLine(service, text)) || !requestMark.Match(text) {
			continue
		}
		unread++
		unnamed = unnamed && service == "" && json.Valid(text) && marked(text)
	}
	switch {
	case len(l.records) > 0:
		return unread, nil
	case lines == 0:
		return unread, errors.New("the log is empty: pipe one in, such as docker compose logs | go run ./demo ledger")
	case unread > 0 && unnamed:
		return unread, errors.New("the log does not say which service wrote which line: " +
			"run docker compose logs without --no-log-prefix")
	case unread > 0:
		return unread, fmt.Errorf("%s of this log may tell of requests and cannot be read; "+
			"the forms that can are those of %s", term.Count(unread, "line"), forms)
	}
	return unread, fmt.Errorf("there is no request in this log of %s: send one to a service, and do not filter "+
		"its lines, which are JSON with \"msg\":\"request\" and headers", term.Count(lines, "line"))
}

var (
	// colour is what a terminal takes for colours, and other control sequences of that form.
	colour = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	// prefix is what stands in front of a line: the name of a container or a service, and the time, if
	// it was asked for. In this order: docker compose logs, podman-compose and the run without Docker;
	// kubectl logs --prefix; podman logs --names. It matches every line.
	prefix = regexp.MustCompile(`^(?:\s*\[?([A-Za-z0-9][\w.-]{0,127})\]?\s*\| ?|` +
		`\[pod/[\w.-]{1,253}/([\w.-]{1,63})\] |([A-Za-z0-9][\w.-]{0,127}) )?(?:\d{4}-\d\d-\d\dT\S{9,50} )?`)
	// replica is the number that compose gives each container of a service.
	replica = regexp.MustCompile(`[-_][0-9]+$`)
)

// splitPrefix takes a line of a log apart. The service is empty if the line does not name it. Of a
// container it is uservice3 for uservice3-1, uservice3_1, and either with the project's name in front.
func splitPrefix(data []byte) (service string, text []byte) {
	text = colour.ReplaceAll(data, nil)
	m := prefix.FindSubmatch(text)
	if len(m[3]) > 0 && !bytes.HasPrefix(text[len(m[0]):], []byte("{")) {
		return "", text // its first word
	}
	name := replica.ReplaceAllString(string(m[1])+string(m[2])+string(m[3]), "")
	text = text[len(m[0]):]
	known := []string{topology.Gateway, "traefik"}
	for _, s := range topology.Services() {
		known = append(known, s.Name)
	}
	for _, s := range known {
		if strings.HasSuffix(name, "-"+s) || strings.HasSuffix(name, "_"+s) {
			name = s
		}
	}
	return name, text
}
