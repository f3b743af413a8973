package doctor

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/discover"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// system is a machine with a repository that has a .env, and an environment.
func system(t *testing.T, dotEnv string, env map[string]string) System {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"docker-compose.yaml": "services: {}\n", ".env": dotEnv} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	below := filepath.Join(dir, "demo")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	return System{LookupEnv: lookup, Dir: below, TempDir: t.TempDir()}
}

// part is what a server answers for a path.
type part struct {
	path   string
	status int
	body   string
}

type parts map[string]part // by the variables of their ports

func (p part) serve(t *testing.T) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == p.path {
			w.WriteHeader(p.status)
			_, _ = io.WriteString(w, p.body)
		} else {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

var aGateway = part{"/healthz", 200, "ok\n"}

// announced starts a gateway and announces it as a run without Docker, made by process pid that many
// minutes ago.
func announced(t *testing.T, sys System, pid, ago int) (url string) {
	t.Helper()
	url = aGateway.serve(t)
	announce(t, sys, pid, ago, url)
	return url
}

func announce(t *testing.T, sys System, pid, ago int, url string) {
	t.Helper()
	dir := filepath.Join(sys.TempDir, discover.Prefix+strconv.Itoa(pid)+"-x")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	urls := discover.URLs{Gateway: url, Tempo: "http://127.0.0.1:3201", Explorer: "http://127.0.0.1:3001"}
	if err := discover.Announce(dir, urls); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Duration(ago) * time.Minute)
	if err := os.Chtimes(filepath.Join(dir, "urls.json"), at, at); err != nil {
		t.Fatal(err)
	}
}

// closedPort is one that nobody listens on.
func closedPort() string {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return portOf(s.URL)
}

func portOf(url string) string { return url[strings.LastIndex(url, ":")+1:] }

func TestComposesPortsAreReadAsComposeDoes(t *testing.T) {
	for dotEnv, want := range map[string]string{
		"# ports\nTRAEFIK_PORT=8000\n":        "8000",
		"TRAEFIK_PORT: 8000":                  "8000",
		"export\tTRAEFIK_PORT = 8000 # moved": "8000",
		"TRAEFIK_PORT='8000'":                 "8000",
		"TRAEFIK_PORT=${MY_PORT:-8000}":       "8000",
		"TRAEFIK_PORT=${OTHER}":               "8001",
		"":                                    "80",
	} {
		o, err := composeStack(nil, system(t, dotEnv, map[string]string{"OTHER": "8001"}))
		if err != nil || portOf(o.URLs[topology.Gateway]) != want || portOf(o.URLs[topology.Tempo]) != "3200" {
			t.Errorf("%q: addresses are %v (%v), want port %s", dotEnv, o.URLs, err, want)
		}
	}
	for shell, want := range map[string]string{"8002": "8002", "": "80"} { // an empty one, too, is the shell's
		o, err := composeStack(nil, system(t, "TRAEFIK_PORT=8000", map[string]string{"TRAEFIK_PORT": shell}))
		if err != nil || portOf(o.URLs[topology.Gateway]) != want {
			t.Errorf("TRAEFIK_PORT=%q in the shell: addresses are %v (%v), want port %s", shell, o.URLs, err, want)
		}
	}
}

func TestTheStackThatRunsIsChosen(t *testing.T) {
	theRun := part{} // what a run without Docker has there
	other, badGateway := part{"/", 200, "It works!"}, part{"/healthz", 502, "Bad Gateway"}
	database := part{"/api/health", 503, `{"database":"failing"}`}
	ours := part{"/api/v1/scrape_pools", 200, strings.Repeat(" ", 200) + `"uservice3"`}
	lines := part{"/loki/api/v1/label/service_name/values", 200, `["uservice3"]`}
	for _, c := range []struct {
		name       string
		compose    parts // that answer
		runs       int   // without Docker
		want, says string
	}{
		{"compose alone", parts{"TRAEFIK_PORT": aGateway}, 0, "compose", ""},
		{"a run without Docker alone", nil, 1, "process 1000", ""},
		{"the latest of two runs", nil, 2, "process 1001", "(process 1000): go run ./demo doctor -gateway=http://"},
		{"all", parts{"TRAEFIK_PORT": aGateway}, 2, "compose", "(process 1001): go run ./demo doctor"},
		{"nobody behind compose's gateway", parts{"TRAEFIK_PORT": badGateway}, 0, "compose", ""},
		{"compose's Tempo, starting", parts{"TEMPO_PORT": {"/ready", 503, ""}}, 0, "compose", ""},
		{"compose's Grafana", parts{"GRAFANA_PORT": database}, 0, "compose", ""},
		{"half of compose beside a run", parts{"PROMETHEUS_PORT": ours}, 1, "compose", "(process 1000): go run"},
		{"half of compose, and a run has its gateway's port", parts{"TRAEFIK_PORT": theRun, "LOKI_PORT": lines},
			1, "process 1000", "  loki of the compose stack, but"},
		{"a run on compose's ports", parts{"TRAEFIK_PORT": theRun}, 1, "process 1000", ""},
		{"other servers on compose's ports", parts{"TRAEFIK_PORT": other, "GRAFANA_PORT": other}, 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := map[string]string{}
			sys := system(t, "", env)
			run := ""
			for i := range c.runs {
				run = announced(t, sys, 1000+i, c.runs-i)
				announce(t, sys, 2+i, 60, run) // was killed, and another has its address now
			}
			announce(t, sys, 1, 60, "http://127.0.0.1:"+closedPort()) // likewise
			for _, p := range Parts() {
				served, ok := c.compose[p.Variable]
				switch {
				case !ok:
					env[p.Variable] = closedPort()
				case served == theRun:
					env[p.Variable] = portOf(run)
				default:
					env[p.Variable] = portOf(served.serve(t))
				}
			}
			o, err := Find(t.Context(), nil, sys)
			if c.want == "" {
				if !errors.Is(err, ErrNothingRuns) || !strings.Contains(err.Error(), "127.0.0.1:"+env["TEMPO_PORT"]) {
					t.Errorf("chose %s (%v)", o.Stack, err)
				}
			} else if noted := strings.Contains(o.Note, c.says) && (o.Note == "") == (c.says == ""); err != nil || !noted ||
				!strings.Contains(o.Stack, c.want) {
				t.Errorf("chose %s at %s (%v) and said %q", o.Stack, o.URLs[topology.Gateway], err, o.Note)
			}
		})
	}
}

func TestGivenAddressesReplaceComposes(t *testing.T) {
	sys := system(t, "", nil)
	older := announced(t, sys, 1000, 1)
	announced(t, sys, 1001, 0)
	for _, c := range []struct {
		given                    map[string]string
		gateway, tempo, name, at string
	}{
		{map[string]string{"tempo": "https://tempo.example:3200/", "grafana": ""}, "http://127.0.0.1:80",
			"https://tempo.example:3200", "given", "(process 1000): go run ./demo doctor -gateway=" + older},
		{map[string]string{"gateway": older}, older, "http://127.0.0.1:3201", "process 1000", ""},
	} {
		o, err := Find(t.Context(), c.given, sys)
		if err != nil || o.URLs[topology.Gateway] != c.gateway || o.URLs[topology.Tempo] != c.tempo ||
			o.URLs[grafana] != "" || !strings.Contains(o.Stack, c.name) || !strings.Contains(o.Note, c.at) {
			t.Errorf("%v: chose %+v (%v)", c.given, o, err)
		}
	}
}

func TestWrongSettingsAreErrors(t *testing.T) {
	for _, c := range []struct {
		given, env   map[string]string
		dotEnv, want string
	}{
		{map[string]string{"tempo": "127.0.0.1:3200"}, nil, "", "http://127.0.0.1:3200"},
		{map[string]string{"gateway": ""}, nil, "", "empty"},
		{nil, map[string]string{"TEMPO_PORT": "many"}, "", `TEMPO_PORT="many"`},
		{nil, nil, "A=1\nSECRET='hush", ".env cannot be read, line 2"},
	} {
		_, err := Find(t.Context(), c.given, system(t, c.dotEnv, c.env))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v %v: error is %v, want %q in it", c.given, c.env, err, c.want)
		}
	}
}
