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

// Run is the command `demo ledger`: it prints the ledger of a log. It understands what `docker
// compose logs` prints, with or without colours and -t, and the run without Docker; a line's prefix
// names its service. What is notable about the log goes to stderr.
func Run(stdin io.Reader, stdout, stderr io.Writer, o RunOptions) error {
	id, err := traceid.Trace(o.Trace)
	if o.Trace != "" && err != nil {
		return err
	}
	l := New(maxLogRecords)
	if err := l.readLog(stdin); err != nil {
		return err
	}
	b := l.view()
	found := b.newest(cmp.Or(o.Limit, DefaultLimit), id)
	switch all := len(b.starts); {
	case o.Trace != "" && len(found) == 0:
		return fmt.Errorf("trace %s is not in this log", o.Trace)
	case o.Trace == "" && all > len(found):
		fmt.Fprintf(stderr, "the newest %d of %d requests\n", len(found), all)
	}
	if slices.ContainsFunc(found, func(r Request) bool { return r.Hops[0].Action == NoAction }) {
		fmt.Fprintln(stderr, "The gateway's log does not say what clients sent. Traefik's does with the option\n"+
			"--accesslog.fields.headers.names.Uber-Trace-Id=keep, once a client has sent one.")
	}
	if o.JSON {
		err = json.NewEncoder(stdout).Encode(Answer{Requests: found})
	} else {
		slices.Reverse(found)
		err = Fprint(stdout, found)
	}
	if err != nil {
		return fmt.Errorf("print the ledger: %w", err)
	}
	return nil
}

// readLog adds a whole log, see Run. The error says what a log without any request lacks.
func (l *Ledger) readLog(r io.Reader) error {
	lines, unnamed := 0, false
	in := bufio.NewReaderSize(r, maxLogLine)
	for {
		data, _, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if len(bytes.TrimSpace(data)) > 0 {
			lines++
		}
		container, text := splitPrefix(data)
		if container != "" {
			l.AddLine(serviceOf(container), text)
		} else {
			unnamed = unnamed || bytes.HasPrefix(text, []byte("{")) && marked(text)
		}
	}
	switch {
	case len(l.records) > 0:
		return nil
	case lines == 0:
		return errors.New("the log is empty: pipe one in, such as docker compose logs | go run ./demo ledger")
	case unnamed:
		return errors.New("the log does not say which service wrote which line: " +
			"run docker compose logs without --no-log-prefix")
	}
	return fmt.Errorf("there is no request in this log of %s: send one to a service, and do not filter its lines, "+
		"which are JSON with \"msg\":\"request\" and headers", term.Count(lines, "line"))
}

var (
	// colour is what a terminal takes for colours, and other control sequences of that form.
	colour = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	// prefix is what stands in front of a line: the name of a container, as `docker compose logs`
	// and podman-compose write it, or of a service in the run without Docker; and the time, with
	// docker compose logs -t. It matches every line.
	prefix = regexp.MustCompile(`^(?:\s*\[?([A-Za-z0-9][A-Za-z0-9_.-]{0,127})\]?\s*\| ?)?(?:\d{4}-\d\d-\d\dT\S{9,50} )?`)
	// replica is the number that compose gives each container of a service.
	replica = regexp.MustCompile(`[-_][0-9]+$`)
)

// splitPrefix takes a line of a log apart. The container is empty if the line does not name it.
func splitPrefix(data []byte) (container string, text []byte) {
	text = colour.ReplaceAll(data, nil)
	m := prefix.FindSubmatch(text)
	return string(m[1]), text[len(m[0]):]
}

// serviceOf returns the service of a container: uservice3 of uservice3-1, of uservice3_1, and of
// either with the project's name in front.
func serviceOf(container string) string {
	name := replica.ReplaceAllString(container, "")
	for _, s := range topology.Services() {
		if strings.HasSuffix(name, "-"+s.Name) || strings.HasSuffix(name, "_"+s.Name) {
			return s.Name
		}
	}
	return name
}
