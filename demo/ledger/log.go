package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// maxLogLine bounds what is held of a line; a longer one is left out. The services' longest are those with the body of
	// an answer, of 64 KiB before it is escaped.
	maxLogLine = 1 << 20
	// maxLogRecords is how much of a log is kept, counted in the proxy's records; the newest.
	maxLogRecords = 16 << 10
)

// RunOptions say what Run is to print.
type RunOptions struct {
	// JSON prints an Answer as JSON, newest first, instead of text, oldest first.
	JSON bool
	// Trace is the id of the trace to print; empty prints the newest requests.
	Trace string
	// Limit is how many requests are printed at most; 0 means DefaultLimit.
	Limit int
	// Upstreams says who calls whom, as in Options.
	Upstreams map[string]string
}

// Run is the command `demo ledger`: it reads a log from stdin and prints the ledger of it. It understands what `docker
// compose logs` prints, with or without colours and -t, and the prefixed lines of the run without Docker; a service is
// named by the prefix of its lines. What is notable about the log goes to stderr.
func Run(stdin io.Reader, stdout, stderr io.Writer, o RunOptions) error {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	if o.Trace != "" {
		if _, err := NormalizeTraceID(o.Trace); err != nil {
			return err
		}
	}
	if f, ok := stdin.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprintln(stderr, "reading a log from the terminal; usually one is piped in: docker compose logs | go run ./demo ledger")
		}
	}
	l := New(Options{MaxRecords: maxLogRecords, Upstreams: o.Upstreams})
	tooLong, err := l.ReadLog(stdin)
	if err != nil {
		return err
	}
	if tooLong > 0 {
		fmt.Fprintf(stderr, "%s longer than %d bytes left out\n", count(tooLong, "line"), maxLogLine)
	}
	var found []Request
	if o.Trace != "" {
		if found, err = l.Trace(o.Trace, o.Limit); err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("trace %s is not in this log", cut(o.Trace, 64))
		}
	} else {
		found = l.Recent(o.Limit)
		if all := len(l.view().starts); all > len(found) {
			fmt.Fprintf(stderr, "the newest %d of %d requests\n", len(found), all)
		}
	}
	if slices.ContainsFunc(found, func(r Request) bool { return r.Hops[0].Action == NoAction }) {
		fmt.Fprintln(stderr, "The proxy's log does not tell what clients sent. Traefik's does with the option\n"+
			"--accesslog.fields.headers.names.Uber-Trace-Id=keep, once a client has sent one.")
	}
	if o.JSON {
		if err := json.NewEncoder(stdout).Encode(Answer{found}); err != nil {
			return fmt.Errorf("print the ledger: %w", err)
		}
		return nil
	}
	reversed := make([]Request, 0, len(found))
	for i := len(found) - 1; i >= 0; i-- {
		reversed = append(reversed, found[i])
	}
	if err := Fprint(stdout, reversed); err != nil {
		return fmt.Errorf("print the ledger: %w", err)
	}
	return nil
}

// ReadLog adds a whole log, see Run, and returns how many of its lines were too long to be read. A log in which no request
// can be found is an error that says what it lacks.
func (l *Ledger) ReadLog(r io.Reader) (tooLong int, err error) {
	var lines, bare, found int
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		data, long, err := readLine(in)
		if long {
			tooLong++
		} else if len(bytes.TrimSpace(data)) > 0 {
			lines++
			service, rest, ok := splitPrefix(data)
			switch {
			case ok:
				if l.addLogLine(l.serviceOf(service), rest) {
					found++
				}
			case bytes.HasPrefix(rest, []byte("{")) && (bytes.Contains(rest, markRequest) || bytes.Contains(rest, markTraefik)):
				bare++
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return tooLong, fmt.Errorf("read the log: %w", err)
		}
	}
	switch {
	case found > 0:
		return tooLong, nil
	case lines == 0 && tooLong == 0:
		return tooLong, errors.New("the log is empty: pipe one in, such as docker compose logs | go run ./demo ledger")
	case bare > 0:
		return tooLong, errors.New("the log does not say which service wrote which line: leave --no-log-prefix away from docker compose logs")
	}
	return tooLong, fmt.Errorf("there is no request in this log of %s: send one to a service, and do not filter its lines; they are JSON with \"msg\":\"request\" and headers", count(lines, "line"))
}

// readLine returns a line without its end. What is too long is skipped. The slice is valid until the next call.
func readLine(in *bufio.Reader) (data []byte, tooLong bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		switch {
		case tooLong:
		case data == nil && err == nil:
			data = part // the usual case needs no copy
		case len(data)+len(part) > maxLogLine:
			data, tooLong = nil, true
		default:
			data = append(data, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(data, "\r\n"), tooLong, err
		}
	}
}

var (
	// colour is what a terminal takes for colours, and other control sequences of that form.
	colour = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	// prefix is what stands in front of a line: the name of a service, as `docker compose logs` and podman-compose write
	// it, or the run without Docker.
	prefix = regexp.MustCompile(`^\s*\[?([A-Za-z0-9][A-Za-z0-9_.-]{0,127})\]?\s*\| ?`)
	// replica is the number that compose gives each container of a service.
	replica = regexp.MustCompile(`[-_][0-9]+$`)
)

// splitPrefix takes a line of a log apart.
func splitPrefix(data []byte) (service string, rest []byte, ok bool) {
	if bytes.IndexByte(data, 0x1b) >= 0 {
		data = colour.ReplaceAll(data, nil)
	}
	m := prefix.FindSubmatch(data)
	if m == nil {
		return "", withoutTime(data), false
	}
	return string(m[1]), withoutTime(data[len(m[0]):]), true
}

// withoutTime takes the time stamp of `docker compose logs -t` off.
func withoutTime(data []byte) []byte {
	if stamp, rest, ok := bytes.Cut(data, []byte(" ")); ok && len(stamp) < 64 {
		if _, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil {
			return rest
		}
	}
	return data
}

// serviceOf turns a container's name into the service's: uservice3-1, uservice3_1, and with the project's name in front.
func (l *Ledger) serviceOf(container string) string {
	name := replica.ReplaceAllString(container, "")
	for caller, callee := range l.upstreams {
		for _, service := range []string{caller, callee} {
			if strings.HasSuffix(name, "-"+service) || strings.HasSuffix(name, "_"+service) {
				return service
			}
		}
	}
	return name
}
