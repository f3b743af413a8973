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

// system is a machine with a repository that has a .env, where nothing runs.
func system(t *testing.T, dotEnv string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte(dotEnv), 0o644); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp) // Windows
}

// part is what a server answers for a path.
type part struct {
	path   string
	status int
	body   string
}

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
func announced(t *testing.T, pid, ago int) (url string) {
	t.Helper()
	url = aGateway.serve(t)
	announce(t, pid, ago, url)
	return url
}

func announce(t *testing.T, pid, ago int, url string) {
	t.Helper()
	dir := filepath.Join(os.TempDir(), discover.Prefix+strconv.Itoa(pid)+"-x")
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
	for _, c := range []struct{ dotEnv, shell, want string }{
		{"# ports\nTRAEFIK_PORT=8000\n", "unset", "8000"},
		{"TRAEFIK_PORT=${MY_PORT:-8000}", "unset", "8000"},
		{"", "unset", "80"},
		{"TRAEFIK_PORT=8000", "8002", "8002"},
		{"TRAEFIK_PORT=8000", "", "80"}, // an empty one, too, is the shell's
	} {
		system(t, c.dotEnv)
		t.Setenv("TRAEFIK_PORT", c.shell)
		if c.shell == "unset" {
			_ = os.Unsetenv("TRAEFIK_PORT")
		}
		o, err := composeStack(nil)
		if err != nil || portOf(o.URLs[topology.Gateway]) != c.want || portOf(o.URLs[topology.Tempo]) != "3200" {
			t.Errorf("%q and %q in the shell: addresses are %v (%v), want port %s", c.dotEnv, c.shell, o.URLs, err, c.want)
		}
	}
}

func TestTheStackThatRunsIsChosen(t *testing.T) {
	nobody, ofTheRun := part{}, part{path: "the run's"} // in place of a server
	for _, c := range []struct {
		name           string
		gateway, tempo part // on compose's ports
		runs           int  // without Docker
		want, says     string
	}{
		{"compose alone", aGateway, nobody, 0, "compose", ""},
		{"a run without Docker alone", nobody, nobody, 1, "process 1000", ""},
		{"the latest of two runs", nobody, nobody, 2, "process 1001", "(process 1000): go run ./demo doctor -gateway=http://"},
		{"all", aGateway, nobody, 2, "compose", "(process 1001): go run ./demo doctor"},
		{"nobody behind compose's gateway", part{"/healthz", 502, "Bad Gateway"}, nobody, 0, "compose", ""},
		{"compose's Tempo, starting", nobody, part{"/ready", 503, ""}, 0, "compose", ""},
		{"a run on compose's ports", ofTheRun, nobody, 1, "process 1000", ""},
		{"a run beside compose that is half up", nobody, part{"/ready", 404, ""}, 1, "process 1000", "where compose has Tempo's HTTP API"},
		{"another server on compose's port", part{"/", 200, "It works!"}, nobody, 0, "", "where compose has the gateway"},
	} {
		t.Run(c.name, func(t *testing.T) {
			system(t, "")
			run := ""
			for i := range c.runs {
				run = announced(t, 1000+i, c.runs-i)
			}
			announce(t, 1, 60, "http://127.0.0.1:"+closedPort()) // was killed
			for variable, p := range map[string]part{"TRAEFIK_PORT": c.gateway, "TEMPO_PORT": c.tempo,
				"PROMETHEUS_PORT": nobody, "LOKI_PORT": nobody, "GRAFANA_PORT": nobody} {
				switch p {
				case nobody:
					t.Setenv(variable, closedPort())
				case ofTheRun:
					t.Setenv(variable, portOf(run))
				default:
					t.Setenv(variable, portOf(p.serve(t)))
				}
			}
			o, err := Find(t.Context(), nil)
			if errors.Is(err, ErrNothingRuns) {
				_, o.Note, _ = strings.Cut(err.Error(), "-tempo\n")
			}
			switch {
			case c.want == "" && !errors.Is(err, ErrNothingRuns), c.want != "" && err != nil:
				t.Errorf("chose %q (%v)", o.Stack, err)
			case !strings.Contains(o.Stack, c.want), !strings.Contains(o.Note, c.says), (o.Note == "") != (c.says == ""):
				t.Errorf("chose %s at %s and said %q", o.Stack, o.URLs[topology.Gateway], o.Note)
			}
		})
	}
}

func TestGivenAddressesReplaceComposes(t *testing.T) {
	system(t, "")
	older := announced(t, 1000, 1)
	announced(t, 1001, 0)
	for _, c := range []struct {
		given                    map[string]string
		gateway, tempo, name, at string
	}{
		{map[string]string{"tempo": "https://tempo.example:3200/", "grafana": ""}, "http://127.0.0.1:80",
			"https://tempo.example:3200", "given", "(process 1000): go run ./demo doctor -gateway=" + older},
		{map[string]string{"gateway": older}, older, "http://127.0.0.1:3201", "process 1000", ""},
	} {
		o, err := Find(t.Context(), c.given)
		if err != nil || o.URLs[topology.Gateway] != c.gateway || o.URLs[topology.Tempo] != c.tempo ||
			o.URLs[grafana] != "" || !strings.Contains(o.Stack, c.name) || !strings.Contains(o.Note, c.at) {
			t.Errorf("%v: chose %+v (%v)", c.given, o, err)
		}
	}
}

func TestABrokenDotEnvIsAnErrorThatQuotesNoSecret(t *testing.T) {
	system(t, "A=1\nSECRET='hush")
	_, err := Find(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), ".env cannot be read, line 2") || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}
