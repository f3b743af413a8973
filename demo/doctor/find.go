package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Part is a part of the compose stack that has an address.
type Part struct {
	Name     string // in Options.URLs
	Port     string // that compose publishes, unless Variable has another
	Variable string
	About    string // what it is
	required bool
}

// Parts returns the parts whose addresses can be given.
func Parts() []Part {
	return []Part{
		{topology.Gateway, "80", "TRAEFIK_PORT", "the proxy", true},
		{topology.Tempo, "3200", "TEMPO_PORT", "Tempo's HTTP API", true},
		{prometheus, "9090", "PROMETHEUS_PORT", "Prometheus", false},
		{loki, "3100", "LOKI_PORT", "Loki", false},
		{grafana, "3000", "GRAFANA_PORT", "Grafana", false},
	}
}

// System is what Find reads of the machine.
type System struct {
	Getenv func(string) string
	// Dir is in the repository, where .env is read; in TempDir runs announce themselves.
	Dir, TempDir string
}

// Auto is, for Find, whichever kind of stack runs; so is an empty one.
const Auto Kind = "auto"

// Find finds out which stack to examine. Addresses in given, by part, replace those of compose; an
// empty one says that the stack lacks that part. The errors say which setting is wrong.
func Find(ctx context.Context, which Kind, given map[string]string, sys System) (Options, error) {
	if len(given) > 0 && which == Local {
		return Options{}, errors.New("-stack=local finds its addresses by itself: give either that or addresses")
	}
	compose, err := composeStack(given, sys)
	if err != nil || len(given) > 0 || which == Compose {
		return compose, err
	}
	runs := slices.DeleteFunc(discover.Find(sys.TempDir), func(r discover.Run) bool { return !alive(ctx, r.URLs) })
	proxy := compose.URLs[topology.Gateway]
	atProxy := func(r discover.Run) bool { return hostOf(r.URLs.Gateway) == hostOf(proxy) }
	switch {
	case len(runs) == 0 && which == Local:
		return Options{}, errors.New("no run of `go run ./demo` is to be found: start it, or give addresses with -gateway and -tempo")
	case len(runs) == 0:
		return compose, nil
	case which != Local && !slices.ContainsFunc(runs, atProxy) && hasServices(ctx, proxy):
		compose.Note = "A run of go run ./demo is there too: -stack local examines that one."
		return compose, nil
	}
	latest := runs[0]
	// There is no Prometheus, no Loki, and a page of its own where Grafana would be.
	local := Options{Kind: Local, Stack: fmt.Sprintf("the run of go run ./demo (process %d)", latest.PID),
		URLs: map[string]string{topology.Gateway: latest.URLs.Gateway, topology.Tempo: latest.URLs.Tempo,
			topology.Explorer: latest.URLs.Explorer}}
	if len(runs) > 1 {
		local.Note = fmt.Sprintf("%d runs of go run ./demo are there; this is the latest.", len(runs))
	}
	return local, nil
}

// composeStack is the stack of docker-compose.yaml, on its ports or at the given addresses.
func composeStack(given map[string]string, sys System) (Options, error) {
	getenv, err := withDotEnv(sys)
	if err != nil {
		return Options{}, err
	}
	o := Options{Kind: Compose, Stack: "the compose stack", URLs: map[string]string{}, TracingOff: getenv("TRACING") == "false"}
	if len(given) > 0 {
		o.Stack = "the given addresses"
	}
	for _, p := range Parts() {
		port := cmp.Or(getenv(p.Variable), p.Port)
		address, isGiven := given[p.Name]
		if !isGiven {
			address = "http://127.0.0.1:" + port
		}
		n, err := strconv.ParseUint(port, 10, 16)
		_, urlErr := topology.ParseURL(address)
		switch {
		case !isGiven && (err != nil || n == 0):
			return Options{}, fmt.Errorf("%s=%q is no port: want a number from 1 to 65535, in the environment or in .env",
				p.Variable, port)
		case address == "" && p.required:
			return Options{}, fmt.Errorf("-%s is empty: there is nothing to follow without it", p.Name)
		case address != "" && urlErr != nil:
			return Options{}, fmt.Errorf("-%s=%s: want a URL such as http://127.0.0.1:3200", p.Name, address)
		}
		o.URLs[p.Name] = strings.TrimSuffix(address, "/")
	}
	return o, nil
}

// alive reports whether an announced run listens. Anybody could have written the announcement.
func alive(ctx context.Context, u discover.URLs) bool {
	for _, address := range []string{u.Gateway, u.Tempo, u.Explorer} {
		if _, err := topology.ParseURL(address); err != nil {
			return false
		}
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", hostOf(u.Gateway))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// hasServices tells our services' proxy from the other servers that many machines have on port 80.
func hasServices(ctx context.Context, gateway string) bool {
	res, err := get(ctx, http.DefaultClient, 2*time.Second, gateway+"/healthz", topology.Host(topology.Uservice3))
	return err == nil && res.status == http.StatusOK && strings.TrimSpace(string(res.body)) == "ok"
}

// withDotEnv adds the .env beside docker-compose.yaml. The environment wins, as with Compose.
func withDotEnv(sys System) (getenv func(string) string, err error) {
	dir, err := filepath.Abs(sys.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the repository: %w", err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "docker-compose.yaml")); err == nil {
			break
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, ".env"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read what Compose reads too: %w", err)
	}
	values := map[string]string{}
	// The part of the format that ports and words need: NAME=value, quotes, comments.
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		value, _, _ = strings.Cut(strings.TrimSpace(value), " #")
		values[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return func(name string) string { return cmp.Or(sys.Getenv(name), values[name]) }, nil
}
