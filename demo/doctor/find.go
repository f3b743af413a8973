package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Part is a part of the compose stack that has an address.
type Part struct {
	Name     string // in Options.URLs
	Port     string // that compose publishes, unless Variable has another
	Variable string
	About    string // what it is

	path, ours string // a path, and the status and body of its answer if the part is one of ours
}

// Parts returns the parts whose addresses can be given. There is no stack without the first two.
func Parts() []Part {
	return []Part{
		{topology.Gateway, "80", "TRAEFIK_PORT", "the gateway", "/healthz", "^(200 ok\n$|50[234] )"},
		{topology.Tempo, "3200", "TEMPO_PORT", "Tempo's HTTP API", "/ready", "^(200|503) "},
		{prometheus, "9090", "PROMETHEUS_PORT", "Prometheus", "/api/v1/scrape_pools", topology.Uservice3},
		{loki, "3100", "LOKI_PORT", "Loki", "/loki/api/v1/label/service_name/values", topology.Uservice3},
		{grafana, "3000", "GRAFANA_PORT", "Grafana", "/api/health", `"database"`},
	}
}

// System is what Find reads of the machine.
type System struct {
	LookupEnv func(string) (string, bool)
	// Dir is in the repository, where .env is read; in TempDir runs announce themselves.
	Dir, TempDir string
}

// ErrNothingRuns is wrapped by an error that says how to start the demo.
var ErrNothingRuns = errors.New("no running demo was found")

const nothingRuns = `%w. Start one, with Docker or without, then ask again:
  docker compose up --build    with Docker
  go run ./demo                without Docker
Looked for: a run of go run ./demo;
the stack with Docker at %s (gateway), %s (Tempo) and %s (Grafana).
If yours is elsewhere, give its addresses with -gateway and -tempo`

// Find finds out which stack to examine. Addresses in given, by part, replace those of compose; an
// empty one says that the stack lacks that part. The address of a run's gateway alone finds that run.
// The errors say which setting is wrong, or that nothing runs: ErrNothingRuns.
func Find(ctx context.Context, given map[string]string, sys System) (Options, error) {
	compose, err := composeStack(given, sys)
	if err != nil {
		return Options{}, err
	}
	found := localRuns(ctx, sys.TempDir)
	address := func(part string) string { return hostOf(compose.URLs[part]) }
	var up []string
	var taken bool
	if len(given) == 0 {
		up, taken = partsUp(ctx, compose, found)
	}
	for _, run := range found {
		if len(given) == 1 && hostOf(run.URLs[topology.Gateway]) == address(topology.Gateway) {
			return run, nil
		}
	}
	switch {
	case len(given) > 0, len(up) > 0 && !taken:
		found = slices.Insert(found, 0, compose)
	case len(found) == 0:
		return Options{}, fmt.Errorf(nothingRuns, ErrNothingRuns,
			address(topology.Gateway), address(topology.Tempo), address(grafana))
	}
	others := ""
	for _, o := range found[1:] {
		others += fmt.Sprintf("  %s: go run ./demo doctor -gateway=%s\n", o.Stack, o.URLs[topology.Gateway])
	}
	if len(up) > 0 && taken {
		others += fmt.Sprintf("  %s of the compose stack, but a run without Docker has its gateway's port, %s\n",
			strings.Join(up, ", "), address(topology.Gateway))
	}
	if others != "" {
		found[0].Note = "Also up, and not examined:\n" + others
	}
	return found[0], nil
}

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
		if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", hostOf(r.URLs.Gateway)); err == nil {
			_ = conn.Close()
			runs = append(runs, Options{Kind: Local, Stack: fmt.Sprintf("the run of go run ./demo (process %d)", r.PID),
				URLs: map[string]string{topology.Gateway: r.URLs.Gateway, topology.Tempo: r.URLs.Tempo,
					topology.Explorer: r.URLs.Explorer}})
		}
	}
	return runs
}

// composeStack is the stack of docker-compose.yaml, on its ports or at the given addresses.
func composeStack(given map[string]string, sys System) (Options, error) {
	getenv, err := withDotEnv(sys)
	if err != nil {
		return Options{}, err
	}
	o := Options{Kind: Compose, Stack: "the compose stack", URLs: map[string]string{}}
	if len(given) > 0 {
		o.Stack = "the given addresses"
	}
	for i, p := range Parts() {
		address, isGiven := given[p.Name]
		if !isGiven {
			address = "http://127.0.0.1:" + cmp.Or(getenv(p.Variable), p.Port)
		}
		_, err := topology.ParseURL(address)
		switch {
		case address == "" && i < 2:
			return Options{}, fmt.Errorf("-%s is empty: there is nothing to follow without it", p.Name)
		case address != "" && err != nil && isGiven:
			return Options{}, fmt.Errorf("-%s=%s: want a URL such as http://127.0.0.1:%s", p.Name, address, p.Port)
		case address != "" && err != nil:
			return Options{}, fmt.Errorf("%s=%q is no port: want a number, in the environment or in .env",
				p.Variable, getenv(p.Variable))
		}
		o.URLs[p.Name] = strings.TrimSuffix(address, "/")
	}
	return o, nil
}

// partsUp names the parts of the compose stack that answer, and tells them from the runs without Docker,
// some of whose ports are the same, and from the other servers that many machines have on these ports.
// Taken reports that a run has the gateway's address.
func partsUp(ctx context.Context, compose Options, runs []Options) (up []string, taken bool) {
	ofRuns := map[string]bool{}
	for _, r := range runs {
		for _, address := range r.URLs {
			ofRuns[hostOf(address)] = true
		}
	}
	client := newClient(nil)
	defer client.CloseIdleConnections()
	for _, p := range Parts() {
		address := compose.URLs[p.Name]
		if ofRuns[hostOf(address)] {
			taken = taken || p.Name == topology.Gateway
			continue
		}
		host := topology.Host(topology.Uservice3) // for the gateway; the others ignore it
		res, err := get(ctx, client, 2*time.Second, address+p.path, host)
		if err == nil && regexp.MustCompile(p.ours).MatchString(fmt.Sprintf("%d %s", res.status, res.body)) {
			up = append(up, p.Name)
		}
	}
	return up, taken
}

// withDotEnv adds the .env beside docker-compose.yaml. As with Compose the environment wins, also with
// an empty value.
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
	path := filepath.Join(dir, ".env")
	values, err := dotenv.ReadFile(path, sys.LookupEnv)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		where, _, _ := strings.Cut(err.Error(), ":") // the rest may quote a secret
		return nil, fmt.Errorf("%s cannot be read, %s: docker compose says what is wrong with it", path, where)
	}
	return func(name string) string {
		if value, ok := sys.LookupEnv(name); ok {
			return value
		}
		return values[name]
	}, nil
}

// hostOf is the host and port of a URL, for people.
func hostOf(target string) string {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		return u.Host
	}
	return target
}

// masked hides the passwords of the addresses in a text.
func (o Options) masked(text string) string {
	for _, target := range o.URLs {
		if u, err := url.Parse(target); err == nil && u.User != nil {
			text = strings.ReplaceAll(text, target, u.Redacted())
		}
	}
	return text
}
