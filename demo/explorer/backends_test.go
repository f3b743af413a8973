package explorer

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestOnlyAFewPathsOfTempoAreReached(t *testing.T) {
	for name, test := range map[string]struct {
		method, path string
		want         string // what Tempo is asked; "" is nothing
		status       int
	}{
		"a trace":             {"GET", "/tempo/api/v2/traces/1f?start=1", "/base/api/v2/traces/1f?start=1", 200},
		"a search":            {"GET", "/tempo/api/search?limit=5", "", 404},
		"what is no trace id": {"GET", "/tempo/api/v2/traces/..", "", 404},
		"an encoded way up":   {"GET", "/tempo/api/v2/traces/%2e%2e%2fflush", "", 400},
		"the rest":            {"GET", "/tempo/flush", "", 404},
		"a write":             {"POST", "/tempo/api/v2/traces/1f", "", 404},
		"a delete":            {"DELETE", "/tempo/api/v2/traces/1f", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			tempo := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Set-Cookie", "a=b")
				_, _ = io.WriteString(w, "{}")
			})
			h := New(Options{Tempo: parse(t, tempo.URL+"/base"), Gateway: parse(t, nowhere)})
			w := ask(t, h, test.method, test.path, "", http.Header{"Cookie": {"secret"}, "Authorization": {"secret"}})
			if w.Code == http.StatusTemporaryRedirect || w.Code == http.StatusMovedPermanently { // the mux cleans a path
				w = ask(t, h, test.method, w.Header().Get("Location"), "", nil)
			}
			if w.Code != test.status {
				t.Errorf("answered %d, want %d: %s", w.Code, test.status, w.Body)
			}
			if test.want == "" {
				if len(tempo.asked) > 0 {
					t.Errorf("Tempo was asked for %s", (<-tempo.asked).URL)
				}
				return
			}
			asked := <-tempo.asked
			if asked.URL.String() != test.want {
				t.Errorf("Tempo was asked for %s, want %s", asked.URL, test.want)
			}
			if asked.Header.Get("Cookie")+asked.Header.Get("Authorization")+asked.Header.Get("X-Forwarded-For") != "" {
				t.Errorf("Tempo was told %v", asked.Header)
			}
			if w.Header().Get("Set-Cookie") != "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("the page was told %v", w.Header())
			}
		})
	}
}

// TestWhatTheStoreSendsIsData has a store that would like its answer to be a page with a script.
func TestWhatTheStoreSendsIsData(t *testing.T) {
	for _, status := range []int{200, 400, 502} {
		tempo := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Security-Policy", "script-src *")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `<script src="/tempo/api/v2/traces/1f"></script>`)
		})
		h := New(Options{Tempo: parse(t, tempo.URL), Gateway: parse(t, nowhere)})
		w := ask(t, h, "GET", "/tempo/api/v2/traces/1f", "", nil)
		policy, mediaType := w.Header().Values("Content-Security-Policy"), w.Header().Get("Content-Type")
		if w.Code != status || len(policy) != 1 || policy[0] != "default-src 'none'; sandbox; frame-ancestors 'none'" ||
			mediaType != "application/json" && mediaType != "text/plain; charset=utf-8" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("answered %d with %v", w.Code, w.Header())
		}
	}
}

func TestTheConfigurationTellsWhatThereIs(t *testing.T) {
	withSecret := parse(t, nowhere)
	withSecret.User = url.UserPassword("user", "hunter2")
	w := ask(t, New(Options{Tempo: withSecret, Gateway: parse(t, nowhere)}), "GET", "/api/config", "", nil)
	var got struct {
		Services       []string
		Ledger, Faults bool
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Ledger || got.Faults || len(got.Services) != 4 || got.Services[0] != "uservice1" {
		t.Errorf("told %+v", got)
	}
	if strings.Contains(w.Body.String(), "hunter2") {
		t.Error("a password is told")
	}
}

func TestAnAnswerWithoutAnEndIsRefused(t *testing.T) {
	store := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	})
	h := New(Options{Tempo: parse(t, store.URL), Gateway: parse(t, store.URL)})
	for _, tc := range []struct{ method, path, body string }{
		{"GET", "/tempo/api/v2/traces/1f", ""}, {"GET", "/api/traces", ""}, {"POST", "/api/call", `{"service":"uservice1"}`},
	} {
		if w := ask(t, h, tc.method, tc.path, tc.body, nil); w.Code != http.StatusBadGateway {
			t.Errorf("%s: answered %d %s", tc.path, w.Code, w.Body)
		}
	}
}
