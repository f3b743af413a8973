package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWrongUse(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"a misspelled command", "upp", 2, `there is no command "upp"; did you mean up?`},
		{"a misspelled flag", "up -jsn", 2, "flag provided but not defined: -jsn; did you mean -json?"},
		{"a command like no other", "frobnicate", 2, "there is no command \"frobnicate\"\n"},
		{"a flag like no other", "tour -frobnicate", 2, "flag provided but not defined: -frobnicate\n"},
		{"a flag without its dash", "up json", 2, `unexpected argument "json": everything is set by flags; did you mean -json?`},
		{"two letters changed places", "tour -fail reids", 2, "want redis or database; did you mean redis?"},
		{"a misspelled fault", "up -break drop-haeder", 2, "or random:7; did you mean drop-header?"},
		{"the start of a fault", "up -break killed", 2, "did you mean killed-before-flush?"},
		{"a misspelled level", "up -log-level wran", 2, "want debug, info, warn or error; did you mean warn?"},
		{"an argument too many", "tour now", 2, `unexpected argument "now"`},
		{"an address without port", "-gateway-addr 127.0.0.1", 2, "-gateway-addr: address"},
		{"bounds the wrong way round", "up -redis-max 1ms", 2, "-redis-min=100ms is more than -redis-max=1ms"},
		{"a negative bound", "tour -database-min -1s", 2, "-database-min=-1s is negative"},
		{"a dependency that there is not", "tour -fail disk", 2, "want redis or database"},
		{"a level that there is not", "up -log-level loud", 2, "loud"},
		{"a fault that there is not", "up -break drop-haeder", 2, "want drop-header, malformed-header, not-sampled,"},
		{"formats of nobody", "up -propagators jaeger", 2, "want part=list"},
		{"formats of a plain service", "up -propagators uservice1=jaeger", 2, "for gateway, uservice3 or uservice4"},
		{"a Tempo without a scheme", "explorer -tempo localhost:3200", 2, "want a URL such as http://localhost:3200"},
		{"a page's address without port", "explorer -addr localhost", 2, "-addr: address"},
		{"a ledger of nothing", "ledger -limit 0", 2, "-limit=0: want 1 or more"},
		{"help that lists the faults", "up -h", 0, "killed-before-flush  uservice4 is killed"},
		{"help for the ledger", "ledger -help", 0, "docker compose logs"},
		{"help for the explorer", "explorer -help", 0, "http://localhost:3200"},
		{"help", "help", 0, "Usage: demo [command]"},
		{"help as a flag", "-help", 0, "tour"},
		{"help for a command", "up -help", 0, "-otlp-grpc-addr"},
		{"help for the tour", "tour -h", 0, "-slow"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := runHere(t.Context(), nil, &stdout, &stderr, strings.Fields(tc.args)...)
			out := &stderr
			if tc.code == 0 {
				out = &stdout
			}
			if code != tc.code || !strings.Contains(out.String(), tc.want) || !strings.Contains(out.String(), "Usage: demo") {
				t.Errorf("exit code %d, printed %q and %q", code, &stdout, &stderr)
			}
			before, usage, _ := strings.Cut(out.String(), "Usage: demo")
			if strings.Contains(usage, "Usage: demo") {
				t.Error("the usage stands there twice")
			}
			if n := strings.Count(usage, "\n"); tc.code == 2 && (n > 5 || strings.Count(before, "\n") != 2) {
				t.Errorf("it does not fit on a screen:\n%s", out)
			}
		})
	}
}
