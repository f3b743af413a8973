package doctor

import (
	"bytes"
	"encoding/json"
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
	if err := discover.Announce(dir, discover.URLs{Gateway: s, Tempo: "http://127.0.0.1:3201", Explorer: "http://127.0.0.1:3001"}); err != nil {
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

func portOf(url string) string { return url[strings.LastIndex(url, ":")+1:] }

func TestComposesPortsComeFromTheEnvironmentAndDotEnv(t *testing.T) {
	sys := system(t, "# ports\nTRAEFIK_PORT=8001\nexport TEMPO_PORT = '3201' # moved\nGRAFANA_PORT=\"3009\"\nnonsense\n",
		map[string]string{"TRAEFIK_PORT": "8002", "TRACING": "false"})
	o, _, err := choose(t.Context(), "compose", nil, sys)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join([]string{o.Gateway, o.Tempo, o.Prometheus, o.Loki, o.Grafana}, " ")
	want := "http://127.0.0.1:8002 http://127.0.0.1:3201 http://127.0.0.1:9090 http://127.0.0.1:3100 http://127.0.0.1:3009"
	if got != want || o.Kind != Compose || o.Getenv("TRACING") != "false" {
		t.Errorf("addresses are %s, want %s", got, want)
	}
}

func TestTheStackThatRunsIsChosen(t *testing.T) {
	for _, c := range []struct {
		name, which        string
		compose            bool // our proxy is on compose's port
		runs               int
		wantLocal, wantSay bool
	}{
		{"compose by default, though nothing runs", "auto", false, 0, false, false},
		{"compose when it is alone", "auto", true, 0, false, false},
		{"the run without Docker when it is alone", "auto", false, 1, true, false},
		{"the latest of two runs", "auto", false, 2, true, true},
		{"compose when both run, with a word on the other", "auto", true, 1, false, true},
		{"the run without Docker when both run and it is wished for", "local", true, 1, true, false},
		{"compose when it is wished for and is down", "compose", false, 1, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := closedPort(t)
			if c.compose {
				port = portOf(gateway(t))
			}
			sys := system(t, "", map[string]string{"TRAEFIK_PORT": port})
			latest := ""
			for i := range c.runs {
				latest = announced(t, sys, 1000+i, time.Duration(c.runs-i)*time.Minute)
			}
			o, say, err := choose(t.Context(), c.which, nil, sys)
			if err != nil {
				t.Fatal(err)
			}
			if local := o.Kind == Local; local != c.wantLocal || (say != "") != c.wantSay {
				t.Errorf("chose %s at %s and said %q", o.Stack, o.Gateway, say)
			}
			if c.wantLocal && (o.Gateway != latest || o.Explorer == "" || o.Prometheus+o.Loki+o.Grafana != "") {
				t.Errorf("chose %+v, want the run at %s", o, latest)
			}
		})
	}
}

func TestARunOnComposesPortIsARunWithoutDocker(t *testing.T) {
	env := map[string]string{}
	sys := system(t, "", env)
	env["TRAEFIK_PORT"] = portOf(announced(t, sys, 77, 0))
	if o, _, err := choose(t.Context(), "auto", nil, sys); err != nil || o.Kind != Local {
		t.Errorf("chose %s (%v)", o.Stack, err)
	}
}

func TestARunThatWasKilledIsNotChosen(t *testing.T) {
	sys := system(t, "", map[string]string{"TRAEFIK_PORT": closedPort(t)})
	dir := filepath.Join(sys.TempDir, discover.Prefix+"5-x")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := discover.Announce(dir, discover.URLs{Gateway: "http://127.0.0.1:" + closedPort(t), Tempo: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if o, _, err := choose(t.Context(), "auto", nil, sys); err != nil || o.Kind != Compose {
		t.Errorf("chose %s (%v)", o.Stack, err)
	}
	if _, _, err := choose(t.Context(), "local", nil, sys); err == nil || !strings.Contains(err.Error(), "go run ./demo") {
		t.Errorf("-stack=local: error is %v, want one that says what to do", err)
	}
}

func TestGivenAddressesReplaceComposes(t *testing.T) {
	o, _, err := choose(t.Context(), "auto", map[string]string{"tempo": "https://tempo.example:3200", "grafana": ""}, system(t, "", nil))
	if err != nil || o.Tempo != "https://tempo.example:3200" || o.Grafana != "" || o.Gateway != "http://127.0.0.1:80" {
		t.Errorf("chose %+v (%v)", o, err)
	}
}

func TestWrongUsageIsToldAndExitsWith2(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{[]string{"-nonsense"}, nil, "nonsense"},
		{[]string{"now"}, nil, `"now"`},
		{[]string{"-wait=-1s"}, nil, "negative"},
		{[]string{"-stack=podman"}, nil, "auto, compose or local"},
		{[]string{"-stack=local", "-tempo=http://127.0.0.1:1"}, nil, "either"},
		{[]string{"-tempo=127.0.0.1:3200"}, nil, "http://127.0.0.1:3200"},
		{[]string{"-gateway="}, nil, "empty"},
		{nil, map[string]string{"TEMPO_PORT": "many"}, `TEMPO_PORT="many"`},
	} {
		var stdout, stderr bytes.Buffer
		if code := Command(t.Context(), c.args, system(t, "", c.env), &stdout, &stderr); code != 2 {
			t.Errorf("%v %v: exit code %d, want 2", c.args, c.env, code)
		}
		if !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("%v %v: said %q, want %q in it", c.args, c.env, stderr.String(), c.want)
		}
	}
}

func TestHelpGoesToStandardOutputAndExitsWith0(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Command(t.Context(), []string{"-help"}, system(t, "", nil), &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(stdout.String(), "-gateway URL") || stderr.Len() > 0 {
		t.Errorf("help is %q, and %q on standard error", stdout.String(), stderr.String())
	}
}

// given are the flags for a fake stack that is reached over the network.
func given(f *fake) []string {
	args := []string{"-wait=200ms"}
	for flag, name := range map[string]string{"gateway": "traefik", "tempo": "tempo", "prometheus": "prometheus", "loki": "loki", "grafana": "grafana"} {
		args = append(args, "-"+flag+"="+f.listeners[name].URL)
	}
	f.link = strings.Replace(f.link, "http://grafana.test", f.listeners["grafana"].URL, 1)
	return args
}

func TestTheExitCodeIs0WhenAllIsWell(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Command(t.Context(), given(newFake(t)), system(t, "", nil), &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d:\n%s%s", code, stdout.String(), stderr.String())
	}
	if !strings.HasSuffix(stdout.String(), "All is well: 12 links hold.\n") {
		t.Errorf("text is\n%s", stdout.String())
	}
}

func TestJSONIsTheReportAloneAndTheExitCode1WhenOneIsBroken(t *testing.T) {
	f := newFake(t)
	f.noCalls = true
	f.flags["web.enable-remote-write-receiver"] = "false"
	var stdout, stderr bytes.Buffer
	if code := Command(t.Context(), append(given(f), "-json"), system(t, "", nil), &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d", code)
	}
	var report Report
	dec := json.NewDecoder(&stdout)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&report); err != nil {
		t.Fatal(err)
	}
	if dec.More() || stderr.Len() > 0 {
		t.Errorf("there is more than the report; standard error has %q", stderr.String())
	}
	if report.OK || report.TraceID != testTrace || report.FirstBroken != linkMetrics || len(report.Links) != len(Names()) {
		t.Errorf("report is %+v", report)
	}
	for i, name := range Names() {
		if report.Links[i].Name != name {
			t.Errorf("link %d is %q, want %q", i, report.Links[i].Name, name)
		}
	}
}
