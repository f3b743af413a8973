// Package discover lets programs on one machine find the runs of the demo without Docker, whose
// ports may have moved. A run announces its addresses in a file in its temporary folder, which it
// removes when it stops.
package discover

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
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
	// maxBytes bounds what is read of it: the folder for temporary files is everybody's.
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
	if err != nil {
		return fmt.Errorf("announce the run: %w", err)
	}
	partial := filepath.Join(dir, fileName+".partial")
	if err := os.WriteFile(partial, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("announce the run: %w", err)
	}
	if err := os.Rename(partial, filepath.Join(dir, fileName)); err != nil {
		return fmt.Errorf("announce the run: %w", err)
	}
	return nil
}

// Find returns the runs announced below dir, os.TempDir() for those of `go run ./demo`, the latest
// first. What cannot be read is somebody else's, or half gone, and is left out.
func Find(dir string) []Run {
	folders, err := filepath.Glob(filepath.Join(dir, Prefix+"*"))
	if err != nil {
		return nil // a pattern in the name of dir itself
	}
	var runs []Run
	for _, folder := range folders {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), Prefix), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 0 {
			continue
		}
		if run, err := read(filepath.Join(folder, fileName)); err == nil && run.URLs.Gateway != "" {
			run.PID = n
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Or(b.Announced.Compare(a.Announced), cmp.Compare(b.PID, a.PID)) })
	return runs
}

func read(path string) (Run, error) {
	// Not a pipe, which would be waited on for ever.
	info, err := os.Lstat(path)
	if err != nil {
		return Run{}, err
	}
	if !info.Mode().IsRegular() {
		return Run{}, fmt.Errorf("%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return Run{}, err
	}
	defer f.Close()
	run := Run{Announced: info.ModTime()}
	return run, json.NewDecoder(io.LimitReader(f, maxBytes)).Decode(&run.URLs)
}
