package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// The links of the eBPF instrumentation, which watches uservice1 and uservice2.
const (
	linkKernel  = "kernel"
	linkRights  = "ebpf rights"
	linkProbes  = "probes"
	linkOutside = "ebpf spans"
	linkJoined  = "joined trace"
)

// plainPair are the services that it watches.
var plainPair = []string{topology.Uservice1, topology.Uservice2}

// kernelChecks are in the order in which each needs the one before it.
func (v *visit) kernelChecks() []check {
	const s = time.Second
	watching := []string{linkGateway, linkKernel, linkRights}
	return []check{
		{linkKernel, nil, topology.Gateway, 0, "", v.kernel},
		{linkRights, []string{linkKernel}, topology.Gateway, 10 * s, "it is starting", v.rights},
		{linkProbes, watching, topology.Gateway, 30 * s, "it looks for programs that are 5 s old", v.probes},
		{linkOutside, append(watching, linkStore, linkProbes), topology.Tempo, 40 * s, "the spans arrive and can be searched", v.outside},
		{linkJoined, []string{linkOutside}, topology.Tempo, 50 * s, "the other spans arrive", v.joined},
	}
}

// machine is the root of the file system from which the kernel tells about itself.
func (o Options) machine() fs.FS {
	if o.root != nil {
		return o.root
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	return os.DirFS("/")
}

const elsewhere = "cannot be told from here: the kernel is in Docker's virtual machine"

// kernel asks the kernel whether it can do what is needed.
func (v *visit) kernel(context.Context) outcome {
	v.answered = time.Now() // what follows is not about the first request
	root := v.o.machine()
	if root == nil {
		return outcome{state: Absent, detail: elsewhere}
	}
	has := func(name string) bool { _, err := fs.Stat(root, name); return err == nil }
	release, _ := fs.ReadFile(root, "proc/sys/kernel/osrelease")
	version := strings.TrimSpace(string(release))
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err == nil && (major < 5 || major == 5 && minor < 8) {
		return broken("Linux "+version+" is older than 5.8", "kernel too old")
	}
	switch {
	case !has("sys/kernel/btf/vmlinux"):
		return broken("Linux "+version+" has no /sys/kernel/btf/vmlinux", "kernel without BTF")
	case !has("sys/bus/event_source/devices/kprobe") || !has("sys/bus/event_source/devices/uprobe"):
		return broken("Linux "+version+" has no probes: no kprobe or uprobe in /sys/bus/event_source/devices", "kernel without probes")
	}
	return fine("Linux %s has BTF, kprobes and uprobes", version)
}

// needed are the capabilities by their bits: see linux/capability.h.
var needed = []struct {
	name string
	bit  uint
}{{"SYS_ADMIN", 21}, {"SYS_PTRACE", 19}, {"DAC_READ_SEARCH", 2}}

// rights looks for those who watch, and at what they may do. One watches both services in a run without
// Docker; with Docker each has its own.
func (v *visit) rights(context.Context) outcome {
	root := v.o.machine()
	if root == nil {
		return outcome{state: Absent, detail: elsewhere}
	}
	want := map[Kind]int{Compose: 2, Local: 1}[v.o.Kind]
	running := processes(root, func(pid string) bool {
		name, _ := fs.ReadFile(root, path.Join("proc", pid, "comm"))
		return slices.Contains([]string{"obi", "ebpf-instrument"}, strings.TrimSpace(string(name)))
	})
	if len(running) < want {
		detail := fmt.Sprintf("%d of %d processes of OBI run", len(running), want)
		return broken(detail, "ebpf not started", "ebpf ended", "ebpf elsewhere").yet()
	}
	for _, pid := range running {
		status, _ := fs.ReadFile(root, path.Join("proc", pid, "status"))
		_, after, _ := strings.Cut(string(status), "\nCapEff:")
		line, _, _ := strings.Cut(after, "\n")
		mask, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
		var lacking []string
		for _, c := range needed {
			if err == nil && mask&(1<<c.bit) == 0 {
				lacking = append(lacking, c.name)
			}
		}
		if list := strings.Join(lacking, ", "); list != "" {
			return broken("process "+pid+" of OBI lacks "+list, "ebpf lacks rights").with(list)
		}
	}
	return fine("%d running, with SYS_ADMIN, SYS_PTRACE and DAC_READ_SEARCH", len(running))
}

// processes are the ids of those that fit.
func processes(root fs.FS, fits func(pid string) bool) (pids []string) {
	entries, _ := fs.ReadDir(root, "proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil && fits(e.Name()) {
			pids = append(pids, e.Name())
		}
	}
	return pids
}

// probes calls uservice1 and looks whether that met probes: the kernel then has a page for them in the
// service's memory. Only root may look.
func (v *visit) probes(ctx context.Context) outcome {
	if out := v.callPlain(ctx); out.state == Broken {
		return out
	}
	v.answered = v.plainAnswered // the next link waits from here on
	root := v.o.machine()
	if root == nil {
		return outcome{state: Absent, detail: elsewhere}
	}
	met := map[string]bool{}
	for _, pid := range processes(root, func(string) bool { return true }) {
		env, err := fs.ReadFile(root, path.Join("proc", pid, "environ"))
		if err != nil {
			continue
		}
		for _, name := range plainPair {
			if strings.Contains("\x00"+string(env), "\x00OTEL_SERVICE_NAME="+name+"\x00") {
				maps, err := fs.ReadFile(root, path.Join("proc", pid, "maps"))
				met[name] = met[name] || err == nil && strings.Contains(string(maps), "[uprobes")
			}
		}
	}
	var missed []string
	for _, name := range plainPair {
		if hit, seen := met[name]; !seen {
			return outcome{state: Absent, detail: "only root can tell: sudo, or see whether spans come"}
		} else if !hit {
			missed = append(missed, name)
		}
	}
	if len(missed) > 0 {
		detail := "the request met no probe in " + strings.Join(missed, " and ")
		return broken(detail, "not found yet", "ebpf looks elsewhere", "probes refused").yet()
	}
	return fine("a request met probes in uservice1 and uservice2")
}

// callPlain sends a request to uservice1.
func (v *visit) callPlain(ctx context.Context) outcome {
	v.plainSent = time.Now()
	res, err := get(ctx, v.http, answerTimeout, v.o.URLs[topology.Gateway]+"/", topology.Host(topology.Uservice1))
	v.plainAnswered = time.Now()
	switch {
	case err != nil:
		return v.unreachable(topology.Gateway, err)
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("uservice1 answered %d", res.status), "plain pair fails")
	}
	return outcome{state: OK}
}

// patience is how long the spans of one request may take; then another is sent. A request that was under
// way while the probes were set has no spans, or not all.
const patience = 8 * time.Second

// outside looks for the spans of the last request.
func (v *visit) outside(ctx context.Context) outcome {
	if time.Since(v.plainAnswered) > patience {
		if out := v.callPlain(ctx); out.state == Broken {
			return out
		}
	}
	twice := func(s *tempo.Span) bool { return s.Outside() && !slices.Contains(plainPair, s.Service) }
	if v.trace != nil && slices.ContainsFunc(v.trace.Spans, twice) {
		return broken("the instrumented services have spans from the kernel too", "ebpf watches too much")
	}
	v.seen = map[string]*tempo.Trace{}
	for _, name := range []string{topology.Uservice1, topology.Uservice2, "service"} {
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		list, err := v.backend.Search(ask, tempo.Query{Tags: "service.name=" + name, Limit: searchLimit,
			Start: v.plainSent.Add(-2 * time.Second), End: time.Now().Add(time.Second)})
		for _, id := range list {
			t, err := v.backend.Trace(ask, id)
			if err == nil && slices.ContainsFunc(t.Spans, func(s *tempo.Span) bool { return v.ofPlain(s, name) }) {
				v.seen[name] = t
			}
		}
		cancel()
		if err != nil {
			return broken(err.Error(), "in trouble").yet()
		}
	}
	var lacking []string
	for _, name := range plainPair {
		if v.seen[name] == nil {
			lacking = append(lacking, name)
		}
	}
	detail := "no server span of " + strings.Join(lacking, " and ")
	switch {
	case len(lacking) > 0 && v.seen["service"] != nil:
		return broken(detail+"; there are spans of a service called service", "ebpf knows no name").yet()
	case len(lacking) > 0:
		return broken(detail, "ebpf cannot export", "not found yet", "probes refused").yet()
	}
	return fine("server spans of uservice1 and uservice2 have arrived")
}

// ofPlain reports whether a span is the server's of the request that was sent to uservice1. The kernel's
// clock and ours may differ a little.
func (v *visit) ofPlain(s *tempo.Span, service string) bool {
	const skew = time.Second
	return s.Service == service && s.Kind == "server" && s.Outside() &&
		s.Start.After(v.plainSent.Add(-skew)) && s.Start.Before(v.plainAnswered.Add(skew))
}

// joined looks whether the gateway's trace has them, and whether they are in one.
func (v *visit) joined(ctx context.Context) outcome {
	first, second := v.seen[topology.Uservice1], v.seen[topology.Uservice2]
	if now, err := v.backend.Trace(ctx, first.ID); err == nil {
		first = now
	}
	proxy := slices.ContainsFunc(first.Spans, func(s *tempo.Span) bool { return s.Name == "ReverseProxy" })
	switch {
	case first.ID != second.ID:
		detail := "uservice1 is in trace " + first.ID + ", uservice2 in " + second.ID
		return broken(detail, "kernel may not write", "ebpf lacks rights").with("SYS_ADMIN").yet()
	case !proxy:
		detail := "trace " + first.ID + " begins at uservice1: " + v.o.name(topology.Gateway) + "'s ends before it"
		return broken(detail, "gateway sends no traceparent").yet()
	}
	return fine("one trace, %s, from %s to uservice2", first.ID, v.o.name(topology.Gateway))
}
