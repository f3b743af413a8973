package ledger

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"regexp"
	"slices"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"example.com/grafana-tempo-go-demo/demo/term"
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

// Run is the command `demo ledger`: it prints the ledger of a log, each line of which has the name of
// its service in front. What is notable about the log goes to stderr.
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
		fmt.Fprintf(stderr, cannotRead+".\n", term.Count(unread, "line"))
	}
	var a Answer
	limit := cmp.Or(o.Limit, DefaultLimit)
	if o.Trace == "" {
		a.Requests, a.Total = l.find("", limit)
	} else if a.Requests, a.Total, _ = l.Trace(o.Trace, limit); a.Total == 0 {
		return fmt.Errorf("trace %s is not in this log", o.Trace)
	}
	if a.Total > len(a.Requests) {
		fmt.Fprintf(stderr, "the newest %d of %d requests\n", len(a.Requests), a.Total)
	}
	for i := range a.Requests {
		if r := &a.Requests[i]; unread > 0 && r.Outcome == Whole {
			r.Outcome, r.Summary = Unknown, "In the part of the log that can be read: "+r.Summary
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

// cannotRead is said of a number of lines.
const cannotRead = `%s of this log may tell of requests and cannot be read; what can be is one JSON
object a line, the name of its service in front, as docker compose logs (without --no-log-prefix), kubectl logs
--prefix, podman logs --names and go run ./demo print it`

// requestMark is in what may be a line about a request, in JSON or in a text within JSON.
var requestMark = regexp.MustCompile(`\{.*\\?"(?:msg\\?": ?\\?"request\\?"|DownstreamStatus\\?":)`)

// readLog adds a whole log, see Run, and counts the lines that may tell of requests and cannot be
// read. A line that comes again is the same line. The error says what a log without any request lacks.
func (l *Ledger) readLog(r io.Reader) (unread int, err error) {
	seed, seen := maphash.MakeSeed(), map[uint64]bool{}
	// PowerShell's > writes UTF-16 with a byte order mark; some pipes lose the mark.
	in := bufio.NewReaderSize(transform.NewReader(r, unicode.BOMOverride(transform.Nop)), maxLogLine)
	for {
		data, _, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unread, fmt.Errorf("read the log: %w", err)
		}
		service, text := splitPrefix(bytes.ReplaceAll(data, []byte{0}, nil))
		line := maphash.Bytes(seed, append([]byte(service+" "), text...))
		switch {
		case service != "" && (seen[line] || l.AddLine(service, text)):
			seen[line] = true
		case requestMark.Match(text):
			unread++
		}
	}
	switch {
	case len(l.records) > 0:
		return unread, nil
	case unread > 0:
		return unread, fmt.Errorf(cannotRead, term.Count(unread, "line"))
	}
	return unread, errors.New("there is no request in this log: send one to a service, and pipe all lines of the services in, " +
		"as in docker compose logs | go run ./demo ledger")
}

// serviceName finds a service in what stands before its line, which is the name of a container or a pod,
// and the time if it was asked for, with or without colours. The last name counts: others are those of
// folders.
var serviceName = regexp.MustCompile(
	`^(?:.*(?:[^0-9A-Za-z]|\x1b\[[0-9;]*m))?(gateway|traefik|uservice[0-9]+)(?:[^0-9A-Za-z]|$)`)

// splitPrefix takes a line of a log apart. The service is empty if what is before the JSON object does
// not name one.
func splitPrefix(data []byte) (service string, text []byte) {
	before, _, found := bytes.Cut(data, []byte("{"))
	if !found || len(before) > maxText || bytes.ContainsAny(before, `"=`) {
		return "", data
	}
	if m := serviceName.FindSubmatch(before); m != nil {
		service = string(m[1])
	}
	return service, data[len(before):]
}
