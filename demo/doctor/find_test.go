package doctor

import (
	"bytes"
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

// system is a machine with a repository in dir and an environment.
func system(t *testing.T, dotEnv string, env map[string]string) System {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "docker-compose.yaml"), "services: {}\n")
	if dotEnv != "" {
		write(t, filepath.Join(dir, ".env"), dotEnv)
	}
	below := filepath.Join(dir, "demo")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	return System{Getenv: func(name string) string { return env[name] }, Dir: below, TempDir: t.TempDir()}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// announced starts a gateway that knows uservice3, and announces it as a run without Docker.
func announced(t *testing.T, sys System, pid int, age time.Duration) string {
	t.Helper()
	s := gateway(t)
	dir := filepath.Join(sys.TempDir, discover.Prefix+strconv.Itoa(pid)+"-x")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	urls := discover.URLs{Gateway: s, Tempo: "http://127.0.0.1:3201", Explorer: "http://127.0.0.1:3001"}
	if err := discover.Announce(dir, urls); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the folder holds %v (%v)", files, err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(files[0], at, at); err != nil {
		t.Fatal(err)
	}
	return s
}

func gateway(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "uservice3.localhost" && r.URL.Path == "/healthz" {
			_, _ = io.WriteString(w, "ok\n")
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// closedPort is one that nobody listens on.
func closedPort(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return portOf(s.URL)
}

// nowhere are settings by which nothing but the gateway can be found, whatever runs on this machine.
func nowhere(t *testing.T, gatewayPort string) map[string]string {
	return map[string]string{"TRAEFIK_PORT": gatewayPort, "TEMPO_PORT": closedPort(t), "GRAFANA_PORT": closedPort(t)}
}

func portOf(url string) string { return url[strings.LastIndex(url, ":")+1:] }

func TestComposesPortsComeFromTheEnvironmentAndDotEnv(t *testing.T) {
	sys := system(t, "# ports\nTRAEFIK_PORT=8001\nexport TEMPO_PORT = '3201' # moved\nGRAFANA_PORT=\"3009\"\nnonsense\n",
		map[string]string{"TRAEFIK_PORT": "8002", "SELF_TRACING": "true"})
	o, err := composeStack(nil, sys)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range Parts() {
		got = append(got, o.URLs[p.Name])
	}
	want := "http://127.0.0.1:8002 http://127.0.0.1:3201 http://127.0.0.1:9090 http://127.0.0.1:3100 http://127.0.0.1:3009"
	if strings.Join(got, " ") != want || o.Kind != Compose || !o.SelfTracing {
		t.Errorf("addresses are %s, want %s", got, want)
	}
}

func TestTheStackThatRunsIsChosen(t *testing.T) {
	for _, c := range []struct {
		name               string
		compose            bool // our proxy is on compose's port
		runs               int
		wantLocal, wantSay bool
	}{
		{"compose when it is alone", true, 0, false, false},
		{"the run without Docker when it is alone", false, 1, true, false},
		{"the latest of two runs", false, 2, true, true},
		{"compose when both run, with a word on the other", true, 1, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := closedPort(t)
			if c.compose {
				port = portOf(gateway(t))
			}
			sys := system(t, "", nowhere(t, port))
			latest := ""
			for i := range c.runs {
				latest = announced(t, sys, 1000+i, time.Duration(c.runs-i)*time.Minute)
			}
			o, err := Find(t.Context(), nil, sys)
			if err != nil {
				t.Fatal(err)
			}
			if local := o.Kind == Local; local != c.wantLocal || (o.Note != "") != c.wantSay {
				t.Errorf("chose %s at %s and said %q", o.Stack, o.URLs[topology.Gateway], o.Note)
			}
			others := o.URLs[prometheus] + o.URLs[loki] + o.URLs[grafana]
			if c.wantLocal && (o.URLs[topology.Gateway] != latest || o.URLs[topology.Explorer] == "" || others != "") {
				t.Errorf("chose %+v, want the run at %s", o, latest)
			}
		})
	}
}

func TestWhereNothingRunsItSaysHowToStart(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler()) // many machines have some server on these ports
	t.Cleanup(other.Close)
	closed := closedPort(t)
	env := map[string]string{"TRAEFIK_PORT": portOf(other.URL), "TEMPO_PORT": closed, "GRAFANA_PORT": portOf(other.URL)}
	_, err := Find(t.Context(), nil, system(t, "", env))
	if !errors.Is(err, ErrNothingRuns) {
		t.Fatalf("error is %v", err)
	}
	rest := err.Error()
	for _, want := range []string{"docker compose up --build", "go run ./demo", "127.0.0.1:" + closed} { // in this order
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Errorf("no %q where it should be in\n%v", want, err)
		}
		rest = after
	}
}

func TestPartsOfComposeAreAStackThatRuns(t *testing.T) {
	for _, variable := range []string{"TRAEFIK_PORT", "TEMPO_PORT", "GRAFANA_PORT"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/health" {
				_, _ = io.WriteString(w, `{"database":"failing"}`)
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable) // it is starting, or nobody is behind it
		}))
		t.Cleanup(s.Close)
		env := nowhere(t, closedPort(t))
		env[variable] = portOf(s.URL)
		if o, err := Find(t.Context(), nil, system(t, "", env)); err != nil || o.Kind != Compose {
			t.Errorf("%s alone: chose %q (%v)", variable, o.Stack, err)
		}
	}
}

func TestAllRunsAreNamed(t *testing.T) {
	sys := system(t, "", nowhere(t, portOf(gateway(t))))
	older, latest := announced(t, sys, 1000, time.Hour), announced(t, sys, 1001, 0)
	o, err := Find(t.Context(), nil, sys)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 runs", "examined:\n  the compose stack at " + o.URLs[topology.Gateway],
		"(process 1000): go run ./demo doctor -gateway=" + older, "(process 1001): go run ./demo doctor -gateway=" + latest} {
		if !strings.Contains(o.Note, want) {
			t.Errorf("no %q in\n%s", want, o.Note)
		}
	}
	o, err = Find(t.Context(), map[string]string{topology.Gateway: older}, sys)
	if err != nil || o.Kind != Local || o.URLs[topology.Gateway] != older || o.URLs[topology.Tempo] != "http://127.0.0.1:3201" {
		t.Errorf("the address of a run's gateway finds %+v (%v)", o, err)
	}
	o, err = Find(t.Context(), map[string]string{topology.Gateway: "http://127.0.0.1:" + closedPort(t)}, sys)
	if err != nil || o.Kind != Compose || !strings.Contains(o.Note, "(process 1000): go run ./demo doctor -gateway="+older) {
		t.Errorf("an address of nobody finds %s (%v) and says %q", o.Stack, err, o.Note)
	}
}

func TestARunThatHasTakenOverAnAddressIsOne(t *testing.T) {
	sys := system(t, "", nowhere(t, closedPort(t)))
	latest := announced(t, sys, 1001, 0)
	killed := filepath.Join(sys.TempDir, discover.Prefix+"1000-x")
	if err := os.Mkdir(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := discover.Announce(killed, discover.URLs{Gateway: latest, Tempo: latest, Explorer: latest}); err != nil {
		t.Fatal(err)
	}
	if o, err := Find(t.Context(), nil, sys); err != nil || o.Note != "" {
		t.Errorf("chose %s (%v): %s", o.Stack, err, o.Note)
	}
}

func TestARunOnComposesPortIsARunWithoutDocker(t *testing.T) {
	env := nowhere(t, "")
	sys := system(t, "", env)
	env["TRAEFIK_PORT"] = portOf(announced(t, sys, 77, 0))
	env["TEMPO_PORT"] = env["TRAEFIK_PORT"] // its collector has Tempo's port, too
	if o, err := Find(t.Context(), nil, sys); err != nil || o.Kind != Local || o.Note != "" {
		t.Errorf("chose %s (%v)", o.Stack, err)
	}
}

func TestARunThatWasKilledIsNotChosen(t *testing.T) {
	sys := system(t, "", nowhere(t, closedPort(t)))
	dir := filepath.Join(sys.TempDir, discover.Prefix+"5-x")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	urls := discover.URLs{Gateway: "http://127.0.0.1:" + closedPort(t), Tempo: "http://127.0.0.1:1", Explorer: "http://127.0.0.1:1"}
	if err := discover.Announce(dir, urls); err != nil {
		t.Fatal(err)
	}
	if o, err := Find(t.Context(), nil, sys); !errors.Is(err, ErrNothingRuns) {
		t.Errorf("chose %s (%v)", o.Stack, err)
	}
}

func TestGivenAddressesReplaceComposes(t *testing.T) {
	given := map[string]string{"tempo": "https://tempo.example:3200", "grafana": ""}
	o, err := Find(t.Context(), given, system(t, "", nil))
	if err != nil || o.URLs[topology.Tempo] != "https://tempo.example:3200" || o.URLs[grafana] != "" ||
		o.URLs[topology.Gateway] != "http://127.0.0.1:80" {
		t.Errorf("chose %+v (%v)", o, err)
	}
}

func TestWrongSettingsAreErrors(t *testing.T) {
	for _, c := range []struct {
		given map[string]string
		env   map[string]string
		want  string
	}{
		{map[string]string{"tempo": "127.0.0.1:3200"}, nil, "http://127.0.0.1:3200"},
		{map[string]string{"gateway": ""}, nil, "empty"},
		{nil, map[string]string{"TEMPO_PORT": "many"}, `TEMPO_PORT="many"`},
	} {
		if _, err := Find(t.Context(), c.given, system(t, "", c.env)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: error is %v, want %q in it", c.given, c.env, err, c.want)
		}
	}
}

// given are the addresses of a fake stack that is reached over the network.
func given(t *testing.T, f *fake) Options {
	t.Helper()
	addresses := map[string]string{}
	for _, p := range Parts() {
		addresses[p.Name] = f.listeners[strings.Replace(p.Name, "gateway", "traefik", 1)].URL
	}
	f.link = strings.Replace(f.link, "http://grafana.test", f.listeners["grafana"].URL, 1)
	o, err := Find(t.Context(), addresses, system(t, "", nil))
	if err != nil {
		t.Fatal(err)
	}
	o.Wait = 200 * time.Millisecond
	return o
}

func TestGivenAddressesAreExamined(t *testing.T) {
	var text bytes.Buffer
	report, err := RunText(t.Context(), given(t, newFake(t)), &text, false)
	if err != nil || !report.OK {
		t.Errorf("report is %+v (%v)", report, err)
	}
	if !strings.HasSuffix(text.String(), "All is well: 12 links hold.\n") {
		t.Errorf("text is\n%s", text.String())
	}
}

func TestTheReportNamesAllLinks(t *testing.T) {
	f := newFake(t)
	f.noCalls = true
	f.flags["web.enable-remote-write-receiver"] = "false"
	report, err := Run(t.Context(), given(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if report.OK || report.TraceID != testTrace || report.FirstBroken != linkMetrics || len(report.Links) != len(names()) {
		t.Errorf("report is %+v", report)
	}
	for i, name := range names() {
		if report.Links[i].Name != name {
			t.Errorf("link %d is %q, want %q", i, report.Links[i].Name, name)
		}
	}
}
