// Package discover finds the runs of the demo without Docker on this machine; their ports may have
// moved. A run announces its addresses in its temporary folder, which it removes when it stops.
package discover

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// Prefix begins the name of a run's temporary folder; the process id comes next, then a dash.
	Prefix = "grafana-tempo-go-demo-"
	// fileName is the file in that folder.
	fileName = "urls.json"
	// maxBytes bounds what is read of it: the folder for temporary files is world-writable.
	maxBytes = 64 << 10
)

// URLs are the addresses of a run. Their JSON form is what `demo up -json` prints.
type URLs struct {
	Gateway  string            `json:"gateway"`   // http://host:port
	Explorer string            `json:"explorer"`  // http://host:port
	Tempo    string            `json:"tempo"`     // http://host:port of the collector's Tempo API
	OTLPGRPC string            `json:"otlp_grpc"` // host:port
	OTLPHTTP string            `json:"otlp_http"` // http://host:port
	Services map[string]string `json:"services"`  // http://host:port by service name
	Metrics  map[string]string `json:"metrics"`   // http://host:port/metrics by the name of a service that has them
}

// Run is a run that has announced itself. It may have been killed since: ask its gateway.
type Run struct {
	PID       int
	Announced time.Time
	URLs      URLs
}

// Announce writes the addresses of a run into its temporary folder, whose name must be Prefix and
// the process id. The file appears as a whole. Removing the folder takes the announcement back.
func Announce(dir string, urls URLs) error {
	data, err := json.Marshal(urls)
	partial := filepath.Join(dir, fileName+".partial")
	if err == nil {
		err = os.WriteFile(partial, append(data, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(partial, filepath.Join(dir, fileName))
	}
	if err != nil {
		return fmt.Errorf("announce the run: %w", err)
	}
	return nil
}

// Find returns the runs announced below dir, os.TempDir() for those of `go run ./demo`, the latest first.
// What cannot be read is somebody else's, or half gone, and is left out.
func Find(dir string) (runs []Run) {
	paths, _ := filepath.Glob(filepath.Join(dir, Prefix+"*", fileName))
	for _, path := range paths {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(filepath.Dir(path)), Prefix), "-")
		run, ok := read(path)
		if run.PID, _ = strconv.Atoi(pid); ok && run.PID > 0 {
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Or(b.Announced.Compare(a.Announced), cmp.Compare(b.PID, a.PID)) })
	return runs
}

func read(path string) (run Run, ok bool) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxBytes { // a pipe would be waited on for ever
		return run, false
	}
	data, err := os.ReadFile(path)
	run.Announced = info.ModTime()
	return run, err == nil && json.Unmarshal(data, &run.URLs) == nil && run.URLs.Gateway != ""
}
