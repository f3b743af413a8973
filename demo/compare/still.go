package compare

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/services"
	"example.com/grafana-tempo-go-demo/demo/topology"
)

// measureStill compares what does not depend on load: the services that were built from root into
// bin, and their sources. That allocations cannot be counted is no error but a note.
func (c *comparison) measureStill(ctx context.Context, root, bin string) error {
	c.begin("counting allocations with the services' benchmarks")
	counts, err := c.countAllocations(ctx, root, bin)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.note("Allocations are left out: %v", err)
	}
	// By pair, both services together; 0 where it is unknown.
	var allocations, allocated, memory, binaries, modules, lines, linesApart [2]float64
	for i, p := range pairs {
		memory[i] = float64(c.idle[i].peak)
		needed := map[string]bool{}
		for _, s := range p.services {
			allocations[i] += counts[s.Name].allocations
			allocated[i] += counts[s.Name].bytes
			file, err := os.Stat(services.Program(bin, s.Name))
			if err != nil {
				return err
			}
			binaries[i] += float64(file.Size())
			info, err := buildinfo.ReadFile(services.Program(bin, s.Name))
			if err != nil {
				return err
			}
			for _, module := range info.Deps {
				needed[module.Path] = true
			}
			all, otel, err := codeLines(os.DirFS(filepath.Join(root, s.Name)))
			if err != nil {
				return err
			}
			lines[i] += all
			linesApart[i] += all - otel
		}
		modules[i] = float64(len(needed))
	}
	for _, m := range []struct {
		name, unit string
		of         [2]float64
	}{
		{"allocations per request", "count", allocations},
		{"allocated per request", "bytes", allocated},
		{"memory after one request", "bytes", memory},
		{"binaries, both", "bytes", binaries},
		{"modules needed", "count", modules},
		{"lines of Go", "count", lines},
		{"  without the otel files", "count", linesApart},
	} {
		c.report.Still = appendMetric(c.report.Still, m.name, m.unit, m.of[:1], m.of[1:])
	}
	return nil
}

// codeLines counts the lines of a folder's Go files that are neither blank nor a comment, tests
// apart, and those of its otel files among them.
func codeLines(folder fs.FS) (all, otel float64, err error) {
	names, _ := fs.Glob(folder, "*.go")
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := fs.ReadFile(folder, name)
		if err != nil {
			return 0, 0, err
		}
		for line := range bytes.Lines(source) {
			if line = bytes.TrimSpace(line); len(line) == 0 || bytes.HasPrefix(line, []byte("//")) {
				continue
			}
			all++
			if strings.HasPrefix(name, "otel") {
				otel++
			}
		}
	}
	return all, otel, nil
}

// benchmark counts allocations: the services cannot be asked for them from outside, and must not be
// changed for it. Its step `logs` is what the services do in the demo without Docker.
const benchmark = "^BenchmarkRequest$/^logs$"

// countAllocations runs the services' benchmarks, and returns what each service makes, by name.
func (c *comparison) countAllocations(ctx context.Context, root, bin string) (map[string]allocation, error) {
	overlay := filepath.Join(bin, "overlay.json") // compiles the benchmark, which is one file, into each service
	args := []string{"test", "-overlay", overlay, "-buildvcs=false", "-run", "^$", "-bench", benchmark, "-benchmem", "-benchtime", "10000x"}
	replace := map[string]string{}
	for _, s := range topology.Services() {
		args = append(args, "./"+s.Name)
		replace[filepath.Join(root, s.Name, "bench_test.go")] = filepath.Join(root, ".ci", "request_bench_test.go")
	}
	text, _ := json.Marshal(map[string]any{"Replace": replace}) // of text alone, so it cannot fail
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"), "PWD="+root)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	counts := parseBenchmarks(out.String())
	if len(counts) < len(topology.Services()) {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		err = cmp.Or(err, errors.New("a result is missing"))
		return nil, fmt.Errorf("go test: %w: %s", err, lines[len(lines)-1])
	}
	return counts, nil
}

// allocation is what one request makes.
type allocation struct{ allocations, bytes float64 }

var benchmarkResult = regexp.MustCompile(`(?m)^Benchmark\S+\s.*\s(\d+) B/op\s+(\d+) allocs/op\r?$`)

// parseBenchmarks reads the output of go test -bench -benchmem, in the format of
// https://go.dev/design/14313-benchmark-format. Keys are the last elements of the packages' paths.
func parseBenchmarks(out string) map[string]allocation {
	found := map[string]allocation{}
	for _, section := range strings.Split(out, "pkg: ")[1:] {
		name, results, _ := strings.Cut(section, "\n")
		if match := benchmarkResult.FindStringSubmatch(results); match != nil {
			size, _ := strconv.ParseFloat(match[1], 64) // digits only
			count, _ := strconv.ParseFloat(match[2], 64)
			found[path.Base(strings.TrimSpace(name))] = allocation{allocations: count, bytes: size}
		}
	}
	return found
}
