package doctor

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const allRights = "0000000000280004" // SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH

// watched is a stack whose plain pair is watched, on a machine where root asks.
type watched struct {
	*fake
	machine fstest.MapFS
	spans   []span
	status  int
}

func newWatched(t *testing.T) *watched {
	w := &watched{fake: newFake(t), status: http.StatusOK, machine: fstest.MapFS{}}
	for name, content := range map[string]string{
		"proc/sys/kernel/osrelease": "6.12.94+deb12-cloud-amd64\n", "sys/kernel/btf/vmlinux": "",
		"sys/bus/event_source/devices/kprobe/type": "8\n", "sys/bus/event_source/devices/uprobe/type": "9\n",
	} {
		w.machine[name] = &fstest.MapFile{Data: []byte(content)}
	}
	for i, name := range []string{"uservice1", "uservice2"} {
		w.process(11+i, "obi", allRights, "", "")
		w.process(21+i, "service", "0000000000000000", "GOGC=400\x00OTEL_SERVICE_NAME="+name+"\x00", "7fff-8000 r-xp [uprobes]\n")
	}
	const trace = "11112222333344445555666677778888"
	w.spans = []span{
		{trace, "traefik", "GET", "server", 11, 0, ""}, {trace, "traefik", "ReverseProxy", "client", 12, 11, ""},
		{trace, "uservice1", "GET /", "server", 13, 12, ""}, {trace, "uservice1", "GET", "client", 14, 13, ""},
		{trace, "uservice2", "GET /", "server", 15, 14, ""},
	}
	w.fake.root = w.machine
	w.fake.plain = func(rw http.ResponseWriter) {
		w.fake.send(w.spans...)
		rw.WriteHeader(w.status)
	}
	return w
}

func (w *watched) process(pid int, name, rights, environ, maps string) {
	folder := fmt.Sprintf("proc/%d/", pid)
	w.machine[folder+"comm"] = &fstest.MapFile{Data: []byte(name + "\n")}
	w.machine[folder+"status"] = &fstest.MapFile{Data: []byte("Name:\t" + name + "\nCapEff:\t" + rights + "\nSeccomp:\t0\n")}
	w.machine[folder+"environ"] = &fstest.MapFile{Data: []byte(environ)}
	w.machine[folder+"maps"] = &fstest.MapFile{Data: []byte(maps)}
}

func TestTheRightLinkOfTheKernelsIsNamed(t *testing.T) {
	const other = "0af7651916cd43dd8448eb211c80319c"
	for name, c := range map[string]struct {
		wrong func(*watched)
		first string
	}{
		"the kernel watches the plain pair": {func(*watched) {}, ""},
		"the kernel has no BTF":             {func(w *watched) { delete(w.machine, "sys/kernel/btf/vmlinux") }, linkKernel},
		"the kernel has no kprobes": {func(w *watched) {
			delete(w.machine, "sys/bus/event_source/devices/kprobe/type")
		}, linkKernel},
		"eBPF was not started": {func(w *watched) {
			for name := range w.machine {
				if dir := filepath.Dir(name); dir == "proc/11" || dir == "proc/12" {
					delete(w.machine, name)
				}
			}
		}, linkRights},
		"eBPF ended with the service that it watched": {func(w *watched) { w.process(12, "sleep", allRights, "", "") }, linkRights},
		"eBPF lacks a right":                          {func(w *watched) { w.process(12, "obi", "0000000000080004", "", "") }, linkRights},
		"eBPF looks for another program": {func(w *watched) {
			w.process(21, "service", "0", "OTEL_SERVICE_NAME=uservice1\x00", "7fff-8000 r-xp [vdso]\n")
			w.spans = w.spans[:2]
		}, linkProbes},
		"only root can see the probes": {func(w *watched) {
			delete(w.machine, "proc/21/environ")
			delete(w.machine, "proc/22/environ")
		}, ""},
		"eBPF cannot export":              {func(w *watched) { w.spans = w.spans[:2] }, linkOutside},
		"eBPF of uservice2 cannot export": {func(w *watched) { w.spans = w.spans[:4] }, linkOutside},
		"eBPF knows no name": {func(w *watched) {
			w.spans[2].service, w.spans[3].service, w.spans[4].service = "service", "service", "service"
		}, linkOutside},
		"eBPF watches the instrumented pair too": {func(w *watched) {
			w.fake.spans = append(w.fake.spans, span{testTrace, "uservice4", "GET /", "server", 18, 5, ""})
		}, linkOutside},
		"the gateway sends no traceparent": {func(w *watched) {
			for i := range w.spans[2:] {
				w.spans[2+i].trace = other
			}
			w.spans[2].parent = 0
		}, linkJoined},
		"the kernel may not write": {func(w *watched) { w.spans[4].trace, w.spans[4].parent = other, 0 }, linkJoined},
		"uservice2 is down":        {func(w *watched) { w.status = http.StatusBadGateway }, linkProbes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t)
			c.wrong(w)
			report, text := examine(t, w.options())
			if report.FirstBroken != c.first {
				t.Errorf("the first broken link is %q, want %q", report.FirstBroken, c.first)
			}
			_, text, _ = strings.Cut(text, "trace link") // what comes before is that of a stack which is well
			compareText(t, "ebpf "+name, text)
		})
	}
}
