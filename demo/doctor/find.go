package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// Part is a part of the compose stack that has an address.
type Part struct {
	Name     string // in Options.URLs
	Host     string // http://127.0.0.1
	Port     string // that compose publishes, unless Variable has another
	Variable string
	About    string // what it is
}

// Parts returns the parts whose addresses can be given. There is no stack without the first two.
func Parts() []Part {
	const here = "http://127.0.0.1"
	return []Part{
		{topology.Gateway, here, "80", "TRAEFIK_PORT", "the gateway"},
		{topology.Tempo, here, "3200", "TEMPO_PORT", "Tempo's HTTP API"},
		{prometheus, here, "9090", "PROMETHEUS_PORT", "Prometheus"},
		{loki, here, "3100", "LOKI_PORT", "Loki"},
		{grafana, "http://localhost", "3000", "GRAFANA_PORT", "Grafana"}, // the one name to which it answers
	}
}

// ErrNothingRuns is wrapped by an error that says how to start the demo.
var ErrNothingRuns = errors.New("no running demo was found")

const nothingRuns = `%w. Start one, with Docker or without, then ask again:
  docker compose up --build    with Docker
  go run ./demo                without Docker
Looked for: a run of go run ./demo; the stack with Docker at %s (gateway) and %s (Tempo).
If yours is elsewhere, give its addresses with -gateway and -tempo%s`

// Find finds out which stack to examine. Addresses in given, by part, replace those of compose; an
// empty one says that the stack lacks that part. The address of a run's gateway alone finds that run.
// The errors say which setting is wrong, or that nothing runs: ErrNothingRuns.
func Find(ctx context.Context, given map[string]string) (Options, error) {
	compose, err := composeStack(given)
	if err != nil {
		return Options{}, err
	}
	found := localRuns(ctx)
	for _, run := range found {
		if len(given) == 1 && run.URLs[topology.Gateway] == compose.URLs[topology.Gateway] {
			return run, nil
		}
	}
	if len(given) > 0 || composeUp(ctx, compose, found) {
		found = slices.Insert(found, 0, compose)
	}
	if len(found) == 0 {
		return Options{}, fmt.Errorf(nothingRuns, ErrNothingRuns,
			hostOf(compose.URLs[topology.Gateway]), hostOf(compose.URLs[topology.Tempo]),
			strings.TrimSuffix("\n"+halfUp(ctx, compose, nil), "\n"))
	}
	for _, o := range found[1:] {
		found[0].Note += fmt.Sprintf("Also up, and not examined: %s: go run ./demo doctor -gateway=%s\n",
			o.Stack, o.URLs[topology.Gateway])
	}
	if found[0].Kind == Local {
		found[0].Note += halfUp(ctx, compose, found)
	}
	return found[0], nil
}

// halfUp says where somebody listens on an address of compose, which then may be half up beside the runs.
func halfUp(ctx context.Context, compose Options, runs []Options) (note string) {
	for _, p := range Parts() {
		address := hostOf(compose.URLs[p.Name])
		ours := slices.ContainsFunc(runs, func(r Options) bool {
			return slices.ContainsFunc(slices.Collect(maps.Values(r.URLs)), func(u string) bool {
				return strings.HasSuffix(u, address[strings.LastIndex(address, ":"):])
			})
		})
		if !ours && listens(ctx, address) {
			note += fmt.Sprintf("Also up, and not examined: what listens at %s, where compose has %s: go run ./demo doctor -gateway=%s\n",
				address, p.About, compose.URLs[topology.Gateway])
		}
	}
	return note
}

func listens(ctx context.Context, address string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// localRuns are the runs without Docker, the latest first. There is no Prometheus, no Loki, and a
// page of its own where Grafana would be. A run that was killed may have left its announcement.
func localRuns(ctx context.Context) (runs []Options) {
	for _, r := range discover.Find(os.TempDir()) {
		if listens(ctx, hostOf(r.URLs.Gateway)) {
			runs = append(runs, Options{Kind: Local, Stack: fmt.Sprintf("the run of go run ./demo (process %d)", r.PID),
				URLs: map[string]string{topology.Gateway: r.URLs.Gateway, topology.Tempo: r.URLs.Tempo,
					topology.Explorer: r.URLs.Explorer}})
		}
	}
	return runs
}

// composeStack is the stack of docker-compose.yaml, on its ports or at the given addresses. As with
// Compose, the environment wins over .env, also with an empty value.
func composeStack(given map[string]string) (Options, error) {
	values, err := dotenv.ReadFile(".env", os.LookupEnv)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		where, _, _ := strings.Cut(err.Error(), ":") // the rest may quote a secret
		return Options{}, fmt.Errorf(".env cannot be read, %s: docker compose says what is wrong with it", where)
	}
	o := Options{Kind: Compose, Stack: "the compose stack", URLs: map[string]string{}}
	if len(given) > 0 {
		o.Stack = "the given addresses"
	}
	for i, p := range Parts() {
		port, set := os.LookupEnv(p.Variable)
		if !set {
			port = values[p.Variable]
		}
		address, isGiven := given[p.Name]
		if !isGiven {
			address = p.Host + ":" + cmp.Or(port, p.Port)
		}
		_, err := topology.ParseURL(address)
		switch {
		case address == "" && i < 2:
			return Options{}, fmt.Errorf("-%s is empty: there is nothing to follow without it", p.Name)
		case address != "" && err != nil:
			return Options{}, fmt.Errorf("-%s or %s=%q (environment or .env) is wrong: %w", p.Name, p.Variable, port, err)
		}
		o.URLs[p.Name] = strings.TrimSuffix(address, "/")
	}
	return o, nil
}

// composeUp reports whether the gateway or Tempo of the compose stack answers. It tells them from the runs
// without Docker, some of whose ports are the same, and from the other servers that many machines have there.
func composeUp(ctx context.Context, compose Options, runs []Options) bool {
	up := func(part, path, ours string) bool {
		address := compose.URLs[part]
		if slices.ContainsFunc(runs, func(r Options) bool { return r.URLs[part] == address }) {
			return false
		}
		host := topology.Host(topology.Uservice3) // Tempo ignores it
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		res, err := get(ctx, visit.Client(), address+path, host)
		return err == nil && regexp.MustCompile(ours).MatchString(fmt.Sprintf("%d %s", res.status, res.body))
	}
	return up(topology.Gateway, "/healthz", "^(200 ok\n$|50[234] )") || up(topology.Tempo, "/ready", "^(200|503) ")
}

// hostOf is the host and port of a URL, for people.
func hostOf(target string) string {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		return u.Host
	}
	return target
}
