package topology

import "testing"

func TestHostNames(t *testing.T) {
	for host, want := range map[string]string{
		"Uservice3.localhost.:8000": "uservice3.localhost",
		"uservice3.localhost":       "uservice3.localhost",
		"[::1]:8000":                "::1",
		"":                          "",
	} {
		if got := HostName(host); got != want {
			t.Errorf("HostName(%q) = %q, want %q", host, got, want)
		}
	}
	if got := ServiceOf("Uservice3.localhost:8000"); got != Uservice3 {
		t.Errorf("got %q", got)
	}
}

func TestTheTableIsConsistent(t *testing.T) {
	seen := map[string]Service{}
	for _, s := range Services() {
		if s.Upstream != "" && seen[s.Upstream].Name == "" {
			t.Errorf("%s stands before %s, which it calls", s.Name, s.Upstream)
		}
		seen[s.Name] = s
	}
	for _, s := range seen {
		twin := seen[s.Twin]
		if twin.Twin != s.Name || twin.Instrumented == s.Instrumented || (twin.Upstream == "") != (s.Upstream == "") {
			t.Errorf("%+v and %+v are no twins", s, twin)
		}
		if (s.Metrics != "") != s.Instrumented {
			t.Errorf("%s: metrics at %q, instrumented %v", s.Name, s.Metrics, s.Instrumented)
		}
	}
	if u := Upstreams(); len(u) != 2 || u[Uservice1] != Uservice2 || u[Uservice3] != Uservice4 {
		t.Errorf("upstreams: %v", u)
	}
}
