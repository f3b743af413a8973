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

// Find finds out which stack to examine. Addresses in given, by part, replace those of compose; an
// empty one says that the stack lacks that part. The address of a run's gateway alone finds that run.
// The errors say which setting is wrong, or that nothing runs: ErrNothingRuns.
func Find(ctx context.Context, given map[string]string, sys System) (Options, error) {
	compose, err := composeStack(given, sys)
	if err != nil {
		return Options{}, err
	}
	found := localRuns(ctx, sys.TempDir)
	if len(given) > 0 {
		for _, run := range found {
			if len(given) == 1 && hostOf(run.gateway()) == hostOf(given[topology.Gateway]) {
				return run, nil
			}
		}
		if len(found) > 0 {
			compose.Note = "Runs without Docker are up. To examine one:\n" + howTo(found)
		}
		return compose, nil
	}
	if composeRuns(ctx, compose, found) {
		found = slices.Insert(found, 0, compose)
	}
	if len(found) == 0 {
		return Options{}, fmt.Errorf(nothingRuns, ErrNothingRuns,
			hostOf(compose.gateway()), hostOf(compose.URLs[topology.Tempo]), hostOf(compose.URLs[grafana]))
	}
	chosen := found[0]
	if len(found) > 1 {
		chosen.Note = fmt.Sprintf("%d runs of the demo are up. This one is examined:\n  %s at %s\nTo examine another:\n",
			len(found), chosen.Stack, chosen.gateway()) + howTo(found[1:])
	}
	return chosen, nil
}

// howTo says how to examine each of some stacks, a line each.
func howTo(stacks []Options) (lines string) {
	for _, o := range stacks {
		lines += fmt.Sprintf("  %s: go run ./demo doctor -gateway=%s\n", o.Stack, o.gateway())
	}
	return lines
}

// gateway is the address by which Find knows a stack.
func (o Options) gateway() string { return o.URLs[topology.Gateway] }

// ErrNothingRuns is wrapped by an error that says how to start the demo.
var ErrNothingRuns = errors.New("no running demo was found")

const nothingRuns = `%w. Start one, with Docker or without, then ask again:
  docker compose up --build    with Docker
  go run ./demo                without Docker
Looked for: a run of go run ./demo;
the stack with Docker at %s (gateway), %s (Tempo) and %s (Grafana).
If yours is elsewhere, give its addresses with -gateway and -tempo`

// localRuns are the runs without Docker, the latest first. There is no Prometheus, no Loki, and a
// page of its own where Grafana would be. A run that was killed may have left its announcement, and
// a later one may have taken over its address.
func localRuns(ctx context.Context, tempDir string) (runs []Options) {
	seen := map[string]bool{} // gateways
	for _, r := range discover.Find(tempDir) {
		if seen[r.URLs.Gateway] {
			continue
		}
		seen[r.URLs.Gateway] = true
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", hostOf(r.URLs.Gateway))
		if err != nil {
			continue
		}
		_ = conn.Close()
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
	o := Options{Kind: Compose, Stack: "the compose stack", URLs: map[string]string{}, SelfTracing: getenv("SELF_TRACING") == "true"}
	if len(given) > 0 {
		o.Stack = "the given addresses"
	}
	for _, p := range Parts() {
		address, isGiven := given[p.Name]
		if !isGiven {
			address = "http://127.0.0.1:" + cmp.Or(getenv(p.Variable), p.Port)
		}
		_, err := topology.ParseURL(address)
		switch {
		case address == "" && p.required:
			return Options{}, fmt.Errorf("-%s is empty: there is nothing to follow without it", p.Name)
		case address != "" && err != nil && isGiven:
			return Options{}, fmt.Errorf("-%s=%s: want a URL such as http://127.0.0.1:%s", p.Name, address, p.Port)
		case address != "" && err != nil:
			return Options{}, fmt.Errorf("%s=%q is no port: want a number, in the environment or in .env", p.Variable, getenv(p.Variable))
		}
		o.URLs[p.Name] = strings.TrimSuffix(address, "/")
	}
	return o, nil
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
	answer := func(part, path, host string) (r response) {
		if !taken[hostOf(o.URLs[part])] {
			r, _ = get(ctx, http.DefaultClient, 2*time.Second, o.URLs[part]+path, host)
		}
		return r
	}
	proxy, tempo := answer(topology.Gateway, "/healthz", topology.Host(topology.Uservice3)), answer(topology.Tempo, "/ready", "")
	return proxy.status >= 502 && proxy.status <= 504 || strings.TrimSpace(string(proxy.body)) == "ok" ||
		tempo.status == http.StatusOK || tempo.status == http.StatusServiceUnavailable ||
		gjson.GetBytes(answer(grafana, "/api/health", "").body, "database").Exists()
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
