package tour

import (
	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/story"
	"example.com/grafana-tempo-go-demo/demo/visit"
)

// Report is what `demo tour -json` prints, one object on standard output.
type Report struct {
	// Plain is the call of uservice1, of which an outsider knows no more than this.
	Plain *visit.Answer `json:"plain"`
	// Instrumented is the call of uservice3.
	Instrumented *visit.Answer `json:"instrumented"`
	// Trace is what the collector received of the second call, as package story has it.
	Trace *story.Trace `json:"trace"`
	// Complete reports whether all of its spans were there when it was read; see tempo.Trace.Complete.
	Complete bool `json:"complete"`
	// Ledger says of both calls which way the propagation header went.
	Ledger Ledger `json:"ledger"`

	plain *story.Trace // of the first call; nil if it was not found
}

// Ledger has the two calls' entries in the hop ledger, in the shape of GET /api/ledger.
type Ledger struct {
	Plain        *ledger.Request `json:"plain"`
	Instrumented *ledger.Request `json:"instrumented"`
}
