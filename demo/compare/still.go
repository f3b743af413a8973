package compare

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// telemetryFile is the file of the instrumented services that sets everything up; it is the same in both.
const telemetryFile = "otel.go"

// measureFiles compares the built services in bin, and their sources.
func (c *comparison) measureFiles(bin string) error {
	var size, modules, lines, business [2]float64
	for i, p := range c.pairs {
		needed := map[string]bool{}
		for _, s := range p.services() {
			path := binary(bin, s.Name)
			file, err := os.Stat(path)
			if err != nil {
				return fmt.Errorf("size of %s: %w", s.Name, err)
			}
			size[i] += float64(file.Size())
			info, err := buildinfo.ReadFile(path)
			if err != nil {
				return fmt.Errorf("dependencies of %s: %w", s.Name, err)
			}
			for _, module := range info.Deps {
				needed[module.Path] = true
			}
			all, telemetry, err := countLines(filepath.Join(c.Root, s.Name))
			if err != nil {
				return fmt.Errorf("lines of %s: %w", s.Name, err)
			}
			lines[i] += float64(all)
			business[i] += float64(all - telemetry)
		}
		modules[i] = float64(len(needed))
	}
	c.still("binaries, both", "bytes", size[0], size[1])
	c.still("modules needed", "count", modules[0], modules[1])
	c.still("lines of Go", "count", lines[0], lines[1])
	c.still("  without "+telemetryFile, "count", business[0], business[1])
	return nil
}

// countLines counts the lines of a folder's Go files that have code on them, tests apart; telemetry is how many of them
// stand in telemetryFile.
func countLines(dir string) (all, telemetry int, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return 0, 0, err
	}
	if len(names) == 0 {
		return 0, 0, fmt.Errorf("there is no Go file in %s", dir)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return 0, 0, err
		}
		n := codeLines(source)
		all += n
		if filepath.Base(name) == telemetryFile {
			telemetry += n
		}
	}
	return all, telemetry, nil
}

// codeLines counts the lines with something else than comments.
func codeLines(source []byte) int {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0) // without comments
	lines := map[int]bool{}
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && literal == "\n" { // inserted at the end of a line
			continue
		}
		first := file.Line(pos)
		for line := range strings.Count(literal, "\n") + 1 { // a raw string may have several
			lines[first+line] = true
		}
	}
}

// benchmark is what is run to count allocations: the services cannot be asked from outside, and must not be changed for
// it. The step is the one that runs as the services do in the demo without Docker.
const benchmark = "^BenchmarkRequest$/^logs$"

// allocationsStep is how long measureAllocations takes, about.
func (c *comparison) allocationsStep() time.Duration {
	return 15*time.Second + time.Duration(c.Requests)*4*200*time.Microsecond
}

// measureAllocations runs the services' benchmarks. Without them the comparison is still one, so that they cannot be run
// is a note.
func (c *comparison) measureAllocations(ctx context.Context) error {
	c.progress.step("counting allocations with the services' benchmarks", c.allocationsStep())
	args := []string{"test", "-buildvcs=false", "-run", "^$", "-bench", benchmark, "-benchmem", "-benchtime", strconv.Itoa(c.Requests) + "x"}
	for _, p := range c.pairs {
		for _, s := range p.services() {
			args = append(args, "./"+s.Name)
		}
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = c.Root
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(c.Root, "go.work"), "PWD="+c.Root)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ownGroup(cmd)
	cmd.Cancel = func() error { return interruptGroup(cmd) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
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
				c.note(fmt.Sprintf("Allocations are left out: go test: %v: %s", err, lines[len(lines)-1]))
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

var (
	benchmarkPackage = regexp.MustCompile(`^pkg: .*/([^/]+)$`)
	benchmarkResult  = regexp.MustCompile(`^Benchmark\S+\s.*\s(\d+) B/op\s+(\d+) allocs/op$`)
)

// parseBenchmarks reads the output of go test -bench -benchmem, whose format is
// https://go.dev/design/14313-benchmark-format, and returns the allocations by the last element of the package's path.
func parseBenchmarks(out string) map[string]allocation {
	found := map[string]allocation{}
	name := ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		if match := benchmarkPackage.FindStringSubmatch(line); match != nil {
			name = match[1]
		} else if match := benchmarkResult.FindStringSubmatch(line); match != nil {
			size, _ := strconv.ParseFloat(match[1], 64) // digits only
			count, _ := strconv.ParseFloat(match[2], 64)
			found[name] = allocation{allocations: count, bytes: size}
		}
	}
	return found
}
