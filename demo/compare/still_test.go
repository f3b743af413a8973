package compare

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestLinesOfCodeAreCounted(t *testing.T) {
	dir := t.TempDir()
	for name, source := range map[string]string{
		"main.go":         "// a\n\npackage a // b\n\nfunc f() {\n\t// c\n}\n",
		"otel_metrics.go": "package a\n\nvar x = 1 /* c */\n",
		"main_test.go":    "package a\n",
		"page.html":       "<p>\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string]float64{"*.go": 5, "otel*.go": 2, "none*.go": 0} {
		if got, err := codeLines(filepath.Join(dir, pattern)); got != want || err != nil {
			t.Errorf("%s: %v lines, %v, want %v", pattern, got, err, want)
		}
	}
}

func TestBenchmarksAreRead(t *testing.T) {
	got := parseBenchmarks("goos: linux\npkg: example.com/demo/uservice1\ncpu: x\n" +
		"BenchmarkRequest/logs-2         \t   10000\t     57820 ns/op\t    8375 B/op\t      93 allocs/op\nPASS\n" +
		"pkg: example.com/demo/uservice3\nBenchmarkRequest/logs \t 1\t 1.5 ns/op\t 1 spans/s\t 7 B/op\t 2 allocs/op\nFAIL\n")
	want := map[string]allocation{"uservice1": {93, 8375}, "uservice3": {2, 7}}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
