package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/ledger"
	"example.com/grafana-tempo-go-demo/demo/tour"
)

func TestTourAsData(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"tour", "-json", "-fail=database"}, fast...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	gone(t, tmp)
	var r tour.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r.Plain.Status != 200 || r.Plain.DurationMS <= 0 || r.Plain.TraceResponse != "" {
		t.Errorf("plain: %+v", r.Plain)
	}
	if r.Instrumented.Status != 502 || !strings.Contains(r.Instrumented.TraceResponse, r.Trace.ID) {
		t.Errorf("instrumented: %+v", r.Instrumented)
	}
	var tree []string
	for _, s := range r.Trace.Spans {
		tree = append(tree, fmt.Sprintf("%s%s/%s %s", strings.Repeat(" ", s.Depth), s.Service, s.Name, s.Status))
	}
	want := `gateway/GET error
 gateway/ReverseProxy error
  uservice3/handle_incoming_call error
   uservice3/redis_call ok
   uservice3/other_uservice_call error
    uservice4/handle_incoming_call error
     uservice4/database_call error`
	if got := strings.Join(tree, "\n"); got != want || !r.Trace.Complete {
		t.Errorf("complete %v, got\n%s\nwant\n%s", r.Trace.Complete, got, want)
	}
	for _, l := range []struct {
		who  string
		got  *ledger.Request
		want string
	}{
		{"uservice1", r.Ledger.Plain, "gateway started, uservice1 dropped; untied uservice2"},
		{"uservice3", r.Ledger.Instrumented, "gateway started, uservice3 continued, uservice4 continued"},
	} {
		if l.got == nil {
			t.Errorf("the call of %s is not in the ledger", l.who)
			continue
		}
		var hops []string
		for _, h := range l.got.Hops {
			hops = append(hops, h.To+" "+string(h.Action))
		}
		got := strings.Join(hops, ", ")
		for _, h := range l.got.Untied {
			got += "; untied " + h.To
		}
		if got != l.want {
			t.Errorf("the ledger of %s is %s, want %s", l.who, got, l.want)
		}
	}
}

func TestTourAsAStory(t *testing.T) {
	cmd, tmp := demo(t, append([]string{"tour"}, fast...)...)
	cmd.Env = append(cmd.Env, "COLUMNS=90", "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	gone(t, tmp)
	for _, want := range []string{
		"1. uservice1", "-> 200 OK after", "traceresponse: 00-", "            └─ database_call      uservice4", "      ├─ redis_call",
		"uservice1  uber-trace-id", "dropped", "uservice3 -> uservice4  uber-trace-id", "One trace, from gateway to uservice4.", "What next:",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.ContainsRune(string(out), '\x1b') {
		t.Error("colours, though it is no terminal")
	}
}
