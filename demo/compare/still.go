package compare

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/services"
)

// addStill adds a figure that does not depend on load.
func (c *comparison) addStill(name, unit string, plain, instrumented float64) {
	c.report.Still = append(c.report.Still, newMetric(name, unit, []float64{plain}, []float64{instrumented}))
}

// measureFiles compares the services that were built from root into bin, and their sources.
func (c *comparison) measureFiles(root, bin string) error {
	var size, modules, lines, telemetry [2]float64
	for i, p := range c.pairs {
		needed := map[string]bool{}
		for _, s := range p.services() {
			program := services.Program(bin, s.Name)
			file, err := os.Stat(program)
			if err != nil {
				return fmt.Errorf("size of %s: %w", s.Name, err)
			}
			size[i] += float64(file.Size())
			info, err := buildinfo.ReadFile(program)
			if err != nil {
				return fmt.Errorf("dependencies of %s: %w", s.Name, err)
			}
			for _, module := range info.Deps {
				needed[module.Path] = true
			}
			all, err := codeLines(filepath.Join(root, s.Name, "*.go"))
			if err != nil {
				return fmt.Errorf("lines of %s: %w", s.Name, err)
			}
			otel, err := codeLines(filepath.Join(root, s.Name, "otel*.go"))
			if err != nil {
				return fmt.Errorf("lines of %s: %w", s.Name, err)
			}
			lines[i] += all
			telemetry[i] += otel
		}
		modules[i] = float64(len(needed))
	}
	c.addStill("binaries, both", "bytes", size[0], size[1])
	c.addStill("modules needed", "count", modules[0], modules[1])
	c.addStill("lines of Go", "count", lines[0], lines[1])
	c.addStill("  without the otel files", "count", lines[0]-telemetry[0], lines[1]-telemetry[1])
	return nil
}

// codeLines counts the lines that are neither blank nor a comment in the files that match a
// pattern, tests apart.
func codeLines(pattern string) (n float64, err error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		for line := range bytes.Lines(source) {
			if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.HasPrefix(line, []byte("//")) {
				n++
			}
		}
	}
	return n, nil
}

// benchmark counts allocations: the services cannot be asked for them from outside, and must not be
// changed for it. Its step `logs` is what the services do in the demo without Docker.
const benchmark = "^BenchmarkRequest$/^logs$"

// measureAllocations runs the services' benchmarks. That they cannot be run is no error but a note.
func (c *comparison) measureAllocations(ctx context.Context, root string) error {
	c.begin("counting allocations with the services' benchmarks")
	args := []string{"test", "-buildvcs=false", "-run", "^$", "-bench", benchmark, "-benchmem",
		"-benchtime", "10000x"}
	for _, p := range c.pairs {
		args = append(args, "./"+p.caller.Name, "./"+p.callee.Name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(root, "go.work"), "PWD="+root)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	err := c.starter.Run(cmd)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	counts := parseBenchmarks(out.String())
	var allocations, allocated [2]float64
	for i, p := range c.pairs {
		for _, s := range p.services() {
			n, ok := counts[s.Name]
			if !ok {
				if err == nil {
					err = errors.New("no result for " + s.Name)
				}
				lines := strings.Split(strings.TrimSpace(out.String()), "\n")
				c.note("Allocations are left out: go test: %v: %s", err, lines[len(lines)-1])
				return nil
			}
			allocations[i] += n.allocations
			allocated[i] += n.bytes
		}
	}
	c.report.Still = slices.Insert(c.report.Still, 0,
		newMetric("allocations per request", "count", allocations[:1], allocations[1:]),
		newMetric("allocated per request", "bytes", allocated[:1], allocated[1:]))
	return nil
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
