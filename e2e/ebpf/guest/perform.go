//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/grafana-tempo-go-demo/demo/doctor"
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/stack"
	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/demo/visit"
	"example.com/grafana-tempo-go-demo/demo/waterfall"
	"example.com/grafana-tempo-go-demo/e2e/ebpf/spec"
	"example.com/grafana-tempo-go-demo/e2e/internal/golden"
)

// patience bounds every wait: this machine may be many times slower than the one that it runs on.
const patience = 10 * time.Minute

// rig is the demo with those who watch it.
type rig struct {
	run    spec.Run
	stack  *stack.Stack
	client *tempo.Client

	mu      sync.Mutex
	arrived map[string]map[string]string // headers of the newest request, by service
	logs    map[string]*bytes.Buffer     // of those who watch
}

// perform starts the demo and those who watch, makes the requests of a run or lets the doctor look,
// and stops all of it.
func perform(run spec.Run) error {
	r := &rig{run: run, arrived: map[string]map[string]string{}, logs: map[string]*bytes.Buffer{"demo": {}}}
	if err := r.prepare(); err != nil {
		return err
	}
	if run.Hide != "" {
		if err := unix.Mount("none", run.Hide, "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("hide %s: %w", run.Hide, err)
		}
	}
	var err error
	if r.stack, err = stack.Start(context.Background(), r.options()); err != nil {
		return err
	}
	defer func() { _ = r.stack.Stop(context.Background()) }()
	r.client = &tempo.Client{URL: r.stack.URLs().Tempo}
	var watching []*exec.Cmd
	for _, c := range run.Containers {
		cmd, err := r.watch(c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		watching = append(watching, cmd)
	}
	result := spec.Result{Run: run.Name, Memory: map[string]string{}}
	if run.Doctor {
		result.Doctor, result.FirstBroken, err = r.doctor()
	} else {
		err = r.requests()
	}
	for i, c := range run.Containers {
		peak, _ := os.ReadFile("/sys/fs/cgroup/" + c.Name + "/memory.peak")
		result.Memory[c.Name] = strings.TrimSpace(string(peak))
		_ = watching[i].Process.Signal(syscall.SIGTERM)
		_ = watching[i].Wait()
	}
	result.Log = r.log()
	report(result)
	return err
}

// options are those of the demo in this run.
func (r *rig) options() stack.Options {
	o := stack.Options{
		Bin: "/bin", Propagators: map[string]string{}, Logs: observed{r}, Messages: &locked{r, "demo"},
		// The same in each request, so that they can be compared.
		Env: map[string]string{"REDIS_MIN": "150ms", "REDIS_MAX": "150ms", "DATABASE_MIN": "1.5s", "DATABASE_MAX": "1.5s"},
	}
	if r.run.Propagators != "" {
		o.Propagators[topology.Gateway] = r.run.Propagators
	}
	if len(r.run.Containers) == 0 {
		o.Bin, o.EBPF = "/services", spec.OBI
	}
	return o
}

// prepare writes down what each container gets, also those that nobody watches: see become.
func (r *rig) prepare() error {
	env := map[string]map[string]string{topology.Uservice1: {}, topology.Uservice2: {}}
	for _, c := range r.run.Containers {
		env[c.Name], env[c.Watches] = c.Env, c.Service
	}
	for container, list := range env {
		data, err := json.Marshal(list)
		if err != nil {
			return err
		}
		if err := os.WriteFile("/services/"+container+".env", data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// doctor examines the stack. It waits long, because everything takes long here.
func (r *rig) doctor() (text, firstBroken string, err error) {
	if r.run.Kill != "" {
		pid, err := processOf(r.run.Kill)
		if err != nil {
			return "", "", err
		}
		number, err := strconv.Atoi(pid)
		if err != nil {
			return "", "", err
		}
		if err := syscall.Kill(number, syscall.SIGKILL); err != nil {
			return "", "", err
		}
	}
	o := doctor.Options{
		Kind: doctor.Compose, Stack: "the demo in the guest", EBPF: true, Wait: patience / 4,
		URLs: map[string]string{topology.Gateway: r.stack.URLs().Gateway, topology.Tempo: r.stack.URLs().Tempo},
	}
	if len(r.run.Containers) == 0 {
		o.Kind = doctor.Local
		o.URLs[topology.Explorer] = r.stack.URLs().Explorer
	}
	var out bytes.Buffer
	report, err := doctor.RunText(context.Background(), o, &out, false)
	return out.String(), report.FirstBroken, err
}

// watch starts a container of the eBPF instrumentation.
func (r *rig) watch(c spec.Container) (*exec.Cmd, error) {
	group := "/sys/fs/cgroup/" + c.Name
	_ = os.Mkdir(group, 0o755)
	if err := os.WriteFile(group+"/memory.max", fmt.Append(nil, c.Memory), 0); err != nil {
		return nil, err
	}
	folder, err := os.Open(group)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	pid, err := processOf(c.Watches)
	if err != nil {
		return nil, err
	}
	r.logs[c.Name] = &bytes.Buffer{}
	cmd := &exec.Cmd{
		Path: "/init", Args: []string{c.Name}, Stdout: &locked{r, c.Name}, Stderr: &locked{r, c.Name},
		Env:         []string{"SHARE_PID=" + pid, "RIGHTS=" + strings.Join(c.Rights, " ")},
		SysProcAttr: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(folder.Fd())},
	}
	return cmd, cmd.Start()
}

// locked writes a container's log.
type locked struct {
	r    *rig
	name string
}

func (l *locked) Write(data []byte) (int, error) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.r.logs[l.name].Write(data)
}

func (r *rig) log() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	logs := map[string]string{}
	for name, log := range r.logs {
		logs[name] = log.String()
	}
	return logs
}

// observed writes the demo's log, and keeps the propagation headers that the services tell there.
type observed struct{ r *rig }

func (o observed) Write(line []byte) (int, error) {
	service, text, _ := bytes.Cut(line, []byte(" | "))
	var in struct {
		Msg     string
		Headers map[string]string
	}
	// The gateway tells its headers otherwise.
	if json.Unmarshal(text, &in) == nil && in.Msg == "request" && in.Headers != nil {
		maps.DeleteFunc(in.Headers, func(name, _ string) bool { return name != "traceparent" && name != "uber-trace-id" })
		o.r.mu.Lock()
		o.r.arrived[string(bytes.TrimSpace(service))] = in.Headers
		o.r.mu.Unlock()
	}
	return (&locked{o.r, "demo"}).Write(line)
}

// requests waits until the services are watched, and makes the requests of the run.
func (r *rig) requests() error {
	deadline := time.Now().Add(patience)
	for { // the first requests may be over before the probes are set
		got, err := r.request(spec.Request{Service: topology.Uservice1}, 5*time.Second)
		if err != nil {
			return err
		}
		onlyHeaders := r.run.Requests[0].Headers != nil
		if !slices.Contains(got.Traces, "") || onlyHeaders && strings.Contains(got.Arrived[topology.Uservice2], "traceparent") {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no spans of the watched services within %s: %s\n%v", patience, got.Traces, r.log())
		}
	}
	for _, request := range r.run.Requests {
		ask := r.request
		if request.Headers != nil {
			ask = r.direct
		}
		got, err := ask(request, patience)
		if err != nil {
			return err
		}
		report(got)
	}
	return nil
}

// request makes one request and waits for its traces. What has not come in time is empty.
func (r *rig) request(want spec.Request, limit time.Duration) (spec.Result, error) {
	got := spec.Result{Run: r.run.Name, Request: want, Arrived: map[string]string{}}
	r.mu.Lock()
	clear(r.arrived)
	r.mu.Unlock()
	gateway, err := url.Parse(r.stack.URLs().Gateway)
	if err != nil {
		return got, err
	}
	query, err := url.ParseQuery(want.Query)
	if err != nil {
		return got, err
	}
	before, _ := r.seen()
	answer, err := visit.Get(context.Background(), &http.Transport{DisableKeepAlives: true}, gateway,
		visit.Request{Service: want.Service, Fail: query.Get("fail"), Slow: query.Get("slow")}, "guest")
	if err != nil {
		return got, err
	}
	got.Status = answer.Status
	var traces []*tempo.Trace
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if traces = r.tracesSince(before); r.complete(want.Service, traces) {
			break
		}
	}
	got.Traces, got.Drawn = []string{"", ""}, nil
	for i, trace := range traces {
		if i < 2 && r.complete(want.Service, traces) {
			got.Traces[i] = golden.Describe(trace)
		}
		got.Drawn = append(got.Drawn, waterfall.Render(trace, waterfall.Options{}))
	}
	if r.complete(want.Service, traces) {
		got.Traces = got.Traces[:len(traces)]
	}
	r.tellArrived(&got)
	var text strings.Builder
	if requests := r.stack.Ledger().Recent(1); len(requests) > 0 {
		err = ledger.Fprint(&text, requests)
	}
	got.Ledger = text.String()
	return got, err
}

// direct sends a request with headers to a service, past the gateway.
func (r *rig) direct(want spec.Request, limit time.Duration) (spec.Result, error) {
	got := spec.Result{Run: r.run.Name, Request: want, Arrived: map[string]string{}}
	r.mu.Lock()
	clear(r.arrived)
	r.mu.Unlock()
	request, err := http.NewRequest(http.MethodGet, r.stack.URLs().Services[want.Service], nil)
	if err != nil {
		return got, err
	}
	for name, value := range want.Headers {
		request.Header.Set(name, value)
	}
	answer, err := (&http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return got, err
	}
	got.Status = answer.StatusCode
	r.tellArrived(&got)
	return got, answer.Body.Close()
}

func (r *rig) tellArrived(got *spec.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for service, headers := range r.arrived {
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			got.Arrived[service] += name + ": " + headers[name] + "\n"
		}
	}
}

// seen are the ids of the traces that the collector has.
func (r *rig) seen() (map[string]bool, error) {
	ids, err := r.client.Search(context.Background(), url.Values{"limit": {"10000"}})
	all := map[string]bool{}
	for _, id := range ids {
		all[id] = true
	}
	return all, err
}

// tracesSince are those that came since, the gateway's first.
func (r *rig) tracesSince(before map[string]bool) (traces []*tempo.Trace) {
	now, _ := r.seen()
	for id := range now {
		if before[id] {
			continue
		}
		if trace, err := r.client.Trace(context.Background(), id); err == nil {
			traces = append(traces, trace)
		}
	}
	slices.SortFunc(traces, func(a, b *tempo.Trace) int {
		if a.Spans[0].Service == topology.Gateway {
			return -1
		}
		return strings.Compare(a.Spans[0].Service, b.Spans[0].Service)
	})
	return traces
}

// complete reports whether all has come that is to come: one trace with all servers in it, or where
// the gateway's ends at uservice1, another that begins there.
func (r *rig) complete(service string, traces []*tempo.Trace) bool {
	if len(traces) == 0 || traces[0].Roots()[0].Service != topology.Gateway {
		return false
	}
	last := traces[len(traces)-1]
	if len(traces) == 1 && len(last.Spans) < 3 {
		return false
	}
	return last.Complete() && slices.ContainsFunc(last.Spans, func(s *tempo.Span) bool { return s.Service == service && s.Kind == "server" })
}
