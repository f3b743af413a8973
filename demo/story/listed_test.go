package story

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

// row writes a listed trace in a line: title, root, services, and what went wrong.
func row(l Listed) string {
	var services []string
	for _, s := range l.Services {
		text := fmt.Sprint(s.Name, " ", s.Spans)
		if s.Dark {
			text = s.Name + " dark"
		}
		services = append(services, text)
	}
	return fmt.Sprintf("%s | %s | %s | %d of %d failed", l.Title, l.Root, strings.Join(services, ", "), l.Errors, l.Spans)
}

func TestAListedTrace(t *testing.T) {
	type spans = map[string]tempo.Stats
	two, failed := tempo.Stats{Spans: 2}, tempo.Stats{Spans: 3, Errors: 2}
	for name, tc := range map[string]struct {
		tempo.Summary
		wish Wish
		want string
	}{
		"a foreign program begins it": {Summary: tempo.Summary{HasRoot: true, Service: "shop", Name: "GET /cart", Services: spans{"shop": two, "uservice4": failed}},
			want: "shop | GET /cart | shop 2, uservice4 3 | 2 of 5 failed"},
		"a name that is a path": {Summary: tempo.Summary{HasRoot: true, Service: "uservice3", Name: "GET /{$}", Services: spans{"uservice3": two}}, wish: NewWish("shop.example", "/", ""),
			want: "uservice3 | GET /{$} | uservice3 2 | 0 of 2 failed"},
		"a name that is neither a path nor a method": {Summary: tempo.Summary{HasRoot: true, Service: "uservice3", Name: "handle", Services: spans{"uservice3": two}}, wish: NewWish("", "/", ""),
			want: "uservice3 | handle | uservice3 2 | 0 of 2 failed"},
		"behind a gateway, whom nobody calls": {Summary: tempo.Summary{HasRoot: true, Service: "traefik", Name: "GET", Services: spans{"traefik": two, "uservice3": two, "uservice4": two}},
			want: "uservice3 | traefik · GET | traefik 2, uservice3 2, uservice4 2 | 0 of 6 failed"},
		"who was asked has sent nothing": {Summary: tempo.Summary{HasRoot: true, Service: "gateway", Name: "GET", Services: spans{"gateway": two, "uservice4": two}}, wish: NewWish("uservice3.localhost:8000", "/", "slow=redis"),
			want: "uservice3 | GET /?slow=redis | gateway 2, uservice4 2, uservice3 dark | 0 of 4 failed"},
		"another name may be that of who is missing": {Summary: tempo.Summary{HasRoot: true, Service: "gateway", Name: "GET", Services: spans{"gateway": two, "unknown_service:uservice3": two}}, wish: NewWish("uservice3.localhost:8000", "/", "slow=redis"),
			want: "uservice3 | GET /?slow=redis | gateway 2, unknown_service:uservice3 2 | 0 of 4 failed"},
		"nobody counts": {Summary: tempo.Summary{HasRoot: true, Service: "gateway", Name: "GET"}, wish: NewWish("uservice1.localhost", "", ""),
			want: "uservice1 | gateway · GET |  | 0 of 0 failed"},
		"its first span is missing": {Summary: tempo.Summary{Services: spans{"uservice4": two, "b": two}},
			want: "b | Its first span has not arrived | b 2, uservice4 2 | 0 of 4 failed"},
		"nothing is known": {want: "unknown service | Its first span has not arrived |  | 0 of 0 failed"},
		"a first span without a name": {Summary: tempo.Summary{HasRoot: true, Service: "shop", Services: spans{"shop": two}},
			want: "shop | (no name) | shop 2 | 0 of 2 failed"},
		"a first span of nobody": {Summary: tempo.Summary{HasRoot: true, Name: "GET", Services: spans{"": two}},
			want: "unknown service | GET | unknown service 2 | 0 of 2 failed"},
		"names that browsers' objects know": {Summary: tempo.Summary{HasRoot: true, Service: "__proto__", Name: "constructor", Services: spans{"__proto__": failed}},
			want: "__proto__ | constructor | __proto__ 3 | 2 of 3 failed"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.Start, tc.Duration = epoch, time.Second
			if got := row(List(tc.Summary, tc.wish)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestADurationInAList has what searches cut off: whole milliseconds.
func TestADurationInAList(t *testing.T) {
	for ms, want := range map[int]string{0: "<1 ms", 1: "1 ms", 12: "12 ms", 999: "999 ms", 1855: "1.85 s", 1859: "1.85 s", 4350: "4.35 s"} {
		if got := List(tempo.Summary{Duration: time.Duration(ms) * time.Millisecond}, Wish{}).Duration; got != want {
			t.Errorf("%d ms are %q, want %q", ms, got, want)
		}
	}
}
