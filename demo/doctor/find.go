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

	"github.com/tidwall/gjson"

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
		{topology.Gateway, "80", "TRAEFIK_PORT", "the gateway", true},
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
// empty one says that the stack lacks that part. The address of a run's gateway alone finds that run.
// The errors say which setting is wrong, or that nothing runs: ErrNothingRuns.
func Find(ctx context.Context, which Kind, given map[string]string, sys System) (Options, error) {
	if len(given) > 0 && which == Local {
		return Options{}, errors.New("-stack=local finds its addresses by itself: give either that or addresses")
	}
	compose, err := composeStack(given, sys)
	if err != nil {
		return Options{}, err
	}
	gateway := compose.URLs[topology.Gateway]
	runs := localRuns(ctx, sys.TempDir)
	i := slices.IndexFunc(runs, func(o Options) bool { return hostOf(o.URLs[topology.Gateway]) == hostOf(gateway) })
	switch {
	case len(given) == 1 && given[topology.Gateway] != "" && i >= 0:
		return runs[i], nil
	case len(given) > 0:
		return compose, nil
	}
	var found []Options
	if which != Local && composeRuns(ctx, compose, runs) {
		found = append(found, compose)
	}
	if which != Compose {
		found = append(found, runs...)
	}
	if len(found) == 0 {
		return Options{}, nothingRuns(which, compose, runs)
	}
	chosen := found[0]
	if len(found) > 1 {
		chosen.Note = fmt.Sprintf("%d runs of the demo are up. This one is examined:\n  %s at %s\nTo examine another:\n",
			len(found), chosen.Stack, gatewayOf(chosen))
		for _, o := range found[1:] {
			chosen.Note += fmt.Sprintf("  %s: go run ./demo doctor -gateway=%s\n", o.Stack, gatewayOf(o))
		}
	}
	return chosen, nil
}

// gatewayOf is the address by which Find knows a stack.
func gatewayOf(o Options) string { return o.URLs[topology.Gateway] }

// ErrNothingRuns is wrapped by an error that says how to start the demo.
var ErrNothingRuns = errors.New("no running demo was found")

func nothingRuns(which Kind, compose Options, runs []Options) error {
	const docker, local = "  docker compose up --build    with Docker\n", "  go run ./demo                without Docker\n"
	looked := fmt.Sprintf("the stack with Docker at %s (gateway), %s (Tempo) and %s (Grafana)",
		hostOf(gatewayOf(compose)), hostOf(compose.URLs[topology.Tempo]), hostOf(compose.URLs[grafana]))
	switch {
	case which == Local:
		return fmt.Errorf("%w. Start one, then ask again:\n%sLooked for: a run of go run ./demo", ErrNothingRuns, local)
	case which == Compose && len(runs) > 0:
		looked += fmt.Sprintf(".\nAnother is up, %s: leave out -stack to examine it", runs[0].Stack)
	case which != Compose:
		looked = "a run of go run ./demo;\n" + looked
	}
	return fmt.Errorf("%w. Start one, either way, then ask again:\n%s%sLooked for: %s.\n"+
		"If yours is elsewhere, give its addresses with -gateway and -tempo", ErrNothingRuns, docker, local, looked)
}

// localRuns are the runs without Docker, the latest first. There is no Prometheus, no Loki, and a
// page of its own where Grafana would be. A run that was killed may have left its announcement.
func localRuns(ctx context.Context, tempDir string) (runs []Options) {
	seen := map[string]bool{} // gateways: a later run may have taken over the address
	for _, r := range discover.Find(tempDir) {
		if seen[r.URLs.Gateway] || !alive(ctx, r.URLs) {
			continue
		}
		seen[r.URLs.Gateway] = true
		runs = append(runs, Options{Kind: Local, Stack: fmt.Sprintf("the run of go run ./demo (process %d)", r.PID),
			URLs: map[string]string{topology.Gateway: r.URLs.Gateway, topology.Tempo: r.URLs.Tempo,
				topology.Explorer: r.URLs.Explorer}})
	}
	return runs
}

// composeStack is the stack of docker-compose.yaml, on its ports or at the given addresses.
func composeStack(given map[string]string, sys System) (Options, error) {
	getenv, err := withDotEnv(sys)
	if err != nil {
		return Options{}, err
	}
	o := Options{Kind: Compose, Stack: "the compose stack", URLs: map[string]string{},
		TracingOff: getenv("TRACING") == "false", SelfTracing: getenv("SELF_TRACING") == "true"}
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

// composeRuns tells our stack, whole or in part, from the runs without Docker, some of whose ports
// are the same, and from the other servers that many machines have on these ports.
func composeRuns(ctx context.Context, o Options, runs []Options) bool {
	taken := map[string]bool{}
	for _, r := range runs {
		for _, address := range r.URLs {
			taken[hostOf(address)] = true
		}
	}
	for _, probe := range []struct {
		part, path, host string
		ours             func(response) bool
	}{
		{topology.Gateway, "/healthz", topology.Host(topology.Uservice3), func(r response) bool {
			return r.status >= 502 && r.status <= 504 || r.status == http.StatusOK && strings.TrimSpace(string(r.body)) == "ok"
		}},
		{topology.Tempo, "/ready", "", func(r response) bool {
			return r.status == http.StatusOK || r.status == http.StatusServiceUnavailable
		}},
		{grafana, "/api/health", "", func(r response) bool { return gjson.GetBytes(r.body, "database").Exists() }},
	} {
		address := o.URLs[probe.part]
		if taken[hostOf(address)] {
			continue
		}
		if res, err := get(ctx, http.DefaultClient, 2*time.Second, address+probe.path, probe.host); err == nil && probe.ours(res) {
			return true
		}
	}
	return false
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
