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
	if all, otel, err := codeLines(os.DirFS(dir)); all != 5 || otel != 2 || err != nil {
		t.Errorf("%v lines, %v in otel files, %v", all, otel, err)
	}
	if all, otel, err := codeLines(os.DirFS(t.TempDir())); all != 0 || otel != 0 || err != nil {
		t.Errorf("of nothing: %v lines, %v in otel files, %v", all, otel, err)
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
