package doctor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
)

const about = `Sends one request through a running stack, follows its trace link by link, and names the first link that is broken,
with likely causes and what to do. Exit code: 0 all is well, 1 something is broken, 2 wrong usage.

Without flags it examines the compose stack, or a run of go run ./demo if that is what runs. Compose's addresses follow
TRAEFIK_PORT, TEMPO_PORT, PROMETHEUS_PORT, LOKI_PORT and GRAFANA_PORT, of the environment or of the file .env. A flag
replaces one of compose's addresses; an empty one, as in -grafana=, says that the stack does not have that part.

Usage: demo doctor [flags]

`

// System is what Command takes from the machine, so that tests can give another.
type System struct {
	Getenv func(string) string
	// Dir is where the search for the repository's .env begins, TempDir where runs announce themselves.
	Dir, TempDir string
	// Live tells that standard output is a terminal that obeys control sequences, and whose user does not mind colours.
	Live bool
}

// parts are the addresses with flags: the flag, the variable with the port that compose publishes, and its default.
var parts = []struct {
	flag, variable, port, about string
	required                    bool
}{
	{"gateway", "TRAEFIK_PORT", "80", "the proxy", true},
	{"tempo", "TEMPO_PORT", "3200", "Tempo's HTTP API", true},
	{"prometheus", "PROMETHEUS_PORT", "9090", "Prometheus", false},
	{"loki", "LOKI_PORT", "3100", "Loki", false},
	{"grafana", "GRAFANA_PORT", "3000", "Grafana", false},
}

// Command is `demo doctor`: it parses the arguments, examines, and writes the report to stdout, as text or, with -json, as
// the JSON form of Report. It returns the exit code: 0 all is well, 1 something is broken or it was stopped, 2 wrong usage.
func Command(ctx context.Context, args []string, sys System, stdout, stderr io.Writer) int {
	if sys.Getenv == nil {
		sys.Getenv = os.Getenv
	}
	if sys.Dir == "" {
		sys.Dir = "."
	}
	if sys.TempDir == "" {
		sys.TempDir = os.TempDir()
	}
	fs := flag.NewFlagSet("demo doctor", flag.ContinueOnError)
	fs.SetOutput(stderr)
	if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) {
		fs.SetOutput(stdout)
	}
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), about)
		fs.PrintDefaults()
	}
	urls := map[string]*string{}
	for _, p := range parts {
		urls[p.flag] = fs.String(p.flag, "", "`URL` of "+p.about+", in compose http://127.0.0.1:"+p.port)
	}
	which := fs.String("stack", "auto", "which `stack` to examine when both run: auto, compose or local (go run ./demo)")
	wait := fs.Duration("wait", 0, "how long to wait, from the answer on, for what arrives later; 0 waits for each as long as it usually needs")
	asJSON := fs.Bool("json", false, "print the report as JSON when all is done")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	misused := func(err error) int {
		fmt.Fprintf(stderr, "demo doctor: %v\n", err)
		return 2
	}
	if fs.NArg() > 0 {
		return misused(fmt.Errorf("unexpected argument %q: everything is set by flags, see -help", fs.Arg(0)))
	}
	if *wait < 0 {
		return misused(fmt.Errorf("-wait=%s is negative", *wait))
	}
	given := map[string]string{}
	fs.Visit(func(f *flag.Flag) {
		if u, ok := urls[f.Name]; ok {
			given[f.Name] = *u
		}
	})
	o, note, err := choose(ctx, *which, given, sys)
	if err != nil {
		return misused(err)
	}
	o.Wait = *wait

	p := &printer{w: stdout, live: sys.Live}
	if !*asJSON {
		if note != "" {
			p.print("%s\n", note)
		}
		p.heading(o)
		o.Waiting, o.Finished = p.waiting, p.finished
	}
	report, err := Run(ctx, o)
	if err != nil {
		if sys.Live && !*asJSON {
			p.print("\r\x1b[K")
		}
		fmt.Fprintf(stderr, "demo doctor: %v\n", err)
		return 1
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		p.err = enc.Encode(report)
	} else {
		p.verdict(report)
	}
	if p.err != nil {
		fmt.Fprintf(stderr, "demo doctor: write the report: %v\n", p.err)
		return 1
	}
	if !report.OK {
		return 1
	}
	return 0
}

// choose finds out which stack to examine. note says what else could have been.
func choose(ctx context.Context, which string, given map[string]string, sys System) (o Options, note string, err error) {
	getenv, err := withDotEnv(sys)
	if err != nil {
		return Options{}, "", err
	}
	compose, err := composeStack(getenv)
	if err != nil {
		return Options{}, "", err
	}
	switch which {
	case "auto", "compose", "local":
	default:
		return Options{}, "", fmt.Errorf("-stack=%s: want auto, compose or local", which)
	}
	if len(given) > 0 {
		if which == "local" {
			return Options{}, "", errors.New("-stack=local finds its addresses by itself: give either that or addresses")
		}
		return withGiven(compose, given)
	}
	if which == "compose" {
		return compose, "", nil
	}

	var alive []discover.Run
	for _, run := range discover.Find(sys.TempDir) {
		if usable(run.URLs) && accepts(ctx, run.URLs.Gateway) {
			alive = append(alive, run)
		}
	}
	if len(alive) == 0 {
		if which == "local" {
			return Options{}, "", errors.New("no run of `go run ./demo` is to be found: start it, or give addresses with -gateway and -tempo")
		}
		return compose, "", nil
	}
	local := localStack(alive[0])
	more := ""
	if len(alive) > 1 {
		more = fmt.Sprintf("%d runs of go run ./demo are there; this is the latest.", len(alive))
	}
	same := func(run discover.Run) bool { return hostOf(run.URLs.Gateway) == hostOf(compose.Gateway) }
	if which == "auto" && !slices.ContainsFunc(alive, same) && isDemo(ctx, compose.Gateway) {
		return compose, "A run of go run ./demo is there too: -stack local examines that one.", nil
	}
	return local, more, nil
}

// composeStack is the stack of docker-compose.yaml, by the ports that it would be published on.
func composeStack(getenv func(string) string) (Options, error) {
	o := Options{Kind: Compose, Stack: "the compose stack", Getenv: getenv}
	for i, dst := range []*string{&o.Gateway, &o.Tempo, &o.Prometheus, &o.Loki, &o.Grafana} {
		port := parts[i].port
		if value := getenv(parts[i].variable); value != "" {
			if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 65535 {
				return Options{}, fmt.Errorf("%s=%q is no port: want a number from 1 to 65535, in the environment or in .env", parts[i].variable, value)
			}
			port = value
		}
		*dst = "http://127.0.0.1:" + port
	}
	return o, nil
}

// withGiven replaces addresses of the compose stack.
func withGiven(o Options, given map[string]string) (Options, string, error) {
	o.Stack = "the given addresses"
	for i, dst := range []*string{&o.Gateway, &o.Tempo, &o.Prometheus, &o.Loki, &o.Grafana} {
		value, ok := given[parts[i].flag]
		if !ok {
			continue
		}
		if value == "" && parts[i].required {
			return Options{}, "", fmt.Errorf("-%s is empty: there is nothing to follow without it", parts[i].flag)
		}
		if err := checkURL(value); value != "" && err != nil {
			return Options{}, "", fmt.Errorf("-%s=%s: %w", parts[i].flag, value, err)
		}
		*dst = value
	}
	return o, "", nil
}

// localStack is a run without Docker. It has no metrics store and no log store; its own page stands where Grafana would.
func localStack(run discover.Run) Options {
	return Options{Kind: Local, Stack: fmt.Sprintf("the run of go run ./demo (process %d)", run.PID),
		Gateway: run.URLs.Gateway, Tempo: run.URLs.Tempo, Explorer: run.URLs.Explorer}
}

func usable(u discover.URLs) bool {
	return checkURL(u.Gateway) == nil && checkURL(u.Tempo) == nil && (u.Explorer == "" || checkURL(u.Explorer) == nil)
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want a URL such as http://127.0.0.1:3200")
	}
	return nil
}

// accepts tells whether anybody listens at a URL.
func accepts(ctx context.Context, target string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// isDemo tells whether the proxy at a URL is one that has our services behind it. Many machines have some other server on
// port 80.
func isDemo(ctx context.Context, gateway string) bool {
	if !accepts(ctx, gateway) {
		return false
	}
	v := &visit{http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	res, err := v.get(ctx, 2*time.Second, gateway+"/healthz", caller+".localhost")
	return err == nil && res.status == http.StatusOK && strings.TrimSpace(string(res.body)) == "ok"
}

// withDotEnv adds what stands in the .env beside docker-compose.yaml, which Compose reads. The environment wins, as there.
func withDotEnv(sys System) (func(string) string, error) {
	dir, err := filepath.Abs(sys.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the repository: %w", err)
	}
	for !isFile(filepath.Join(dir, "docker-compose.yaml")) {
		if filepath.Dir(dir) == dir {
			return sys.Getenv, nil
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, ".env")
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return sys.Getenv, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what Compose reads too: %w", err)
	}
	defer f.Close()
	values := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		// The part of the format that ports and words need: NAME=value, quotes, comments.
		line := strings.TrimPrefix(strings.TrimSpace(s.Text()), "export ")
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		value, _, _ = strings.Cut(strings.TrimSpace(value), " #")
		values[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return func(name string) string {
		if value := sys.Getenv(name); value != "" {
			return value
		}
		return values[name]
	}, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
