package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
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

// kernelChecks are in the order in which each needs the one before it.
func (v *visit) kernelChecks() []check {
	const s = time.Second
	watching := []string{linkGateway, linkKernel, linkRights}
	return []check{
		{linkKernel, nil, topology.Gateway, 0, "", v.kernel},
		{linkRights, []string{linkKernel}, topology.Gateway, 10 * s, "it is starting", v.rights},
		{linkProbes, watching, topology.Gateway, 30 * s, "it looks for programs that are 5 s old", v.probes},
		{linkOutside, append(watching, linkStore, linkProbes), topology.Tempo, 40 * s, "the spans can be searched", v.outside},
		{linkJoined, []string{linkOutside}, topology.Tempo, 50 * s, "the other spans arrive", v.joined},
	}
}

// kernel asks the kernel whether it can do what is needed.
func (v *visit) kernel(context.Context) outcome {
	v.answered = time.Now() // what follows is not about the first request
	if v.o.root == nil {
		return unseen
	}
	version := strings.TrimSpace(v.read("proc/sys/kernel/osrelease"))
	const devices = "sys/bus/event_source/devices/"
	for _, path := range []string{"sys/kernel/btf/vmlinux", devices + "kprobe", devices + "uprobe"} {
		if _, err := fs.Stat(v.o.root, path); err != nil {
			return broken("Linux "+version+" has no /"+path, "kernel not able")
		}
	}
	return fine("Linux %s has BTF, kprobes and uprobes", version)
}

// read reads a file of the machine; empty for one that is not to be read.
func (v *visit) read(path string) string {
	text, _ := fs.ReadFile(v.o.root, path)
	return string(text)
}

// processes are the folders of all.
func (v *visit) processes() []string {
	folders, _ := fs.Glob(v.o.root, "proc/[0-9]*")
	return folders
}

// needed are the capabilities by their bits: see linux/capability.h.
var needed = []struct {
	name string
	bit  uint
}{{"SYS_ADMIN", 21}, {"SYS_PTRACE", 19}, {"DAC_READ_SEARCH", 2}}

// rights looks for those who watch, and at what they may do. One watches both services in a run without
// Docker; with Docker each has its own.
func (v *visit) rights(context.Context) outcome {
	if v.o.root == nil {
		return unseen
	}
	want, running := map[Kind]int{Compose: 2, Local: 1}[v.o.Kind], 0
	for _, folder := range v.processes() {
		if name := strings.TrimSpace(v.read(folder + "/comm")); name != "obi" && name != "ebpf-instrument" {
			continue
		}
		running++
		_, mask, _ := strings.Cut(v.read(folder+"/status"), "\nCapEff:")
		var rights uint64
		_, err := fmt.Sscanf(mask, "%x", &rights)
		var lacking []string
		for _, c := range needed {
			if err == nil && rights&(1<<c.bit) == 0 {
				lacking = append(lacking, c.name)
			}
		}
		if list := strings.Join(lacking, ", "); list != "" {
			return broken("OBI in /"+folder+" lacks "+list, "ebpf lacks rights").with(list)
		}
	}
	if running < want {
		return broken(fmt.Sprintf("%d of %d processes of OBI run", running, want), "ebpf not running", "ebpf elsewhere").yet()
	}
	return fine("%d running, with SYS_ADMIN, SYS_PTRACE and DAC_READ_SEARCH", running)
}

// probes calls uservice1 and looks whether that met probes: the kernel then has a page for them in the
// service's memory. Only root may look.
func (v *visit) probes(ctx context.Context) outcome {
	if v.o.root == nil {
		return unseen
	}
	if out := v.callPlain(ctx); out.state == Broken {
		return out
	}
	v.answered = v.plainAnswered  // the next link waits from here on
	memory := map[string]string{} // by service
	for _, folder := range v.processes() {
		env := v.read(folder + "/environ")
		for _, name := range plainPair {
			if strings.Contains("\x00"+env, "\x00OTEL_SERVICE_NAME="+name+"\x00") {
				memory[name] += v.read(folder + "/maps")
			}
		}
	}
	if lacking(func(name string) bool { return memory[name] != "" }) != "" {
		return unseen
	}
	if missed := lacking(func(name string) bool { return strings.Contains(memory[name], "[uprobes") }); missed != "" {
		return broken("the request met no probe in "+missed, "not found yet", "ebpf looks elsewhere", "probes refused").yet()
	}
	return fine("a request met probes in uservice1 and uservice2")
}

// plainPair are the services that are watched.
var plainPair = []string{topology.Uservice1, topology.Uservice2}

// lacking names those of the plain pair that lack something.
func lacking(has func(name string) bool) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(plainPair), has), " and ")
}

// callPlain sends a request to uservice1.
func (v *visit) callPlain(ctx context.Context) outcome {
	v.plainSent = time.Now()
	res, err := v.call(ctx, topology.Uservice1)
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
	watched := func(s *tempo.Span) bool {
		return s.Outside() && (s.Service == topology.Uservice3 || s.Service == topology.Uservice4)
	}
	if v.trace != nil && slices.ContainsFunc(v.trace.Spans, watched) {
		return broken("the instrumented services have spans from the kernel too", "ebpf watches too much")
	}
	const skew = time.Second // between the kernel's clock and ours
	traces, err := v.findTraces(ctx, "telemetry.distro.name="+tempo.OutsideDistro, v.plainSent)
	if err != nil {
		return broken(err.Error(), "in trouble").yet()
	}
	v.seen = map[string]*tempo.Trace{}
	for _, t := range traces {
		for _, s := range t.Spans {
			if s.Outside() && s.Kind == "server" && s.Start.After(v.plainSent.Add(-skew)) && s.Start.Before(v.plainAnswered.Add(skew)) {
				v.seen[s.Service] = t
			}
		}
	}
	switch missed := lacking(func(name string) bool { return v.seen[name] != nil }); {
	case missed != "" && v.seen["service"] != nil:
		return broken("no server span of "+missed+"; there are spans of a service called service", "ebpf knows no name").yet()
	case missed != "":
		return broken("no server span of "+missed, "ebpf cannot export", "not found yet", "probes refused").yet()
	}
	return fine("server spans of uservice1 and uservice2 have arrived")
}

// joined looks whether the gateway's trace has them, and whether they are in one.
func (v *visit) joined(ctx context.Context) outcome {
	first, second := v.seen[topology.Uservice1], v.seen[topology.Uservice2]
	if now, err := v.getTrace(ctx, first.ID); err == nil {
		first = now
	}
	gateway := v.o.name(topology.Gateway)
	switch {
	case first.ID != second.ID:
		detail := "uservice1 is in trace " + first.ID + ", uservice2 in " + second.ID
		return broken(detail, "kernel may not write", "ebpf lacks rights").with("SYS_ADMIN").yet()
	case !slices.ContainsFunc(first.Spans, func(s *tempo.Span) bool { return s.Name == "ReverseProxy" }):
		detail := "trace " + first.ID + " begins at uservice1: " + gateway + "'s ends before it"
		return broken(detail, "gateway sends no traceparent").yet()
	}
	return fine("one trace, %s, from %s to uservice2", first.ID, gateway)
}
