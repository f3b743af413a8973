package docs

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/topology"
	"example.com/grafana-tempo-go-demo/e2e/internal/compose"
	"example.com/grafana-tempo-go-demo/e2e/internal/testbed"
)

// localAddress matches URLs on this machine and inside the compose network, with their paths.
var localAddress = regexp.MustCompile(`\bhttps?://(localhost|127\.0\.0\.1|[a-z0-9-]+\.localhost|[a-z0-9-]+:\d+)(:\d+)?(/[^\s)>'"` + "`" + `]*)?`)

// underTest turns a documented URL into the one of the same part in the shared demo. ok is false if
// the demo has no such part (Grafana, for example), or if the tests judge a stack that was up
// already.
func underTest(t *testing.T, address string) (here string, ok bool) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	demo := testbed.Shared(t).Demo
	if demo == nil {
		return "", false // only some of its addresses are known
	}
	port := u.Port()
	byPort := map[string]string{"": demo.Gateway, "80": demo.Gateway}
	for part, url := range map[string]string{
		topology.Gateway: demo.Gateway, topology.Tempo: demo.Tempo, topology.OTLPHTTP: demo.OTLPHTTP, topology.Explorer: demo.Explorer,
	} {
		_, port, _ := net.SplitHostPort(topology.Addr(part))
		byPort[port] = url
	}
	for _, service := range topology.Services() {
		_, port, _ := net.SplitHostPort(service.Addr)
		byPort[port] = demo.Services[service.Name]
	}
	target, err := url.Parse(byPort[port])
	if err != nil || target.Host == "" {
		return "", false
	}
	// Port 3000 is also Grafana's; only the path / exists in both.
	_, explorerPort, _ := net.SplitHostPort(topology.Addr(topology.Explorer))
	if port == explorerPort && u.Path != "/" && u.Path != "" {
		return "", false
	}
	u.Host = net.JoinHostPort(u.Hostname(), target.Port())
	return u.String(), true
}

// TestAddressesAreServed checks each local URL in the documentation: its port is published or a
// default of the demo, and the shared demo, if it has that part, answers.
func TestAddressesAreServed(t *testing.T) {
	known := map[string]bool{"": true}
	for _, service := range compose.Project(t, nil).Services {
		for _, port := range service.Ports {
			known[port.Published] = true
		}
	}
	for _, part := range topology.Parts() {
		_, port, _ := net.SplitHostPort(part.Addr)
		known[port] = true
	}
	configured := sourceText(t)
	asked := map[string]bool{}
	for _, d := range documents(t) {
		ports := maps.Clone(known)
		for _, assigned := range regexp.MustCompile(`[A-Z0-9]_PORT=(\d+)`).FindAllStringSubmatch(d.text, -1) {
			ports[assigned[1]] = true
		}
		for _, address := range localAddress.FindAllString(d.text, -1) {
			address = strings.TrimRight(address, ".,;:")
			u, err := url.Parse(address)
			if err != nil {
				t.Errorf("%s: %s: %v", d.name, address, err)
				continue
			}
			inside := !strings.HasSuffix(u.Hostname(), "localhost") && u.Hostname() != "127.0.0.1"
			switch {
			case inside || !ports[u.Port()]:
				if !strings.Contains(configured, u.Host) {
					t.Errorf("%s names %s, and neither the stack nor its configuration knows %s", d.name, address, u.Host)
				}
				continue
			case strings.ContainsAny(address, "<{") || asked[address]:
				continue
			}
			asked[address] = true
			here, ok := underTest(t, address)
			if !ok {
				continue
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, here, nil)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(req.URL.Hostname(), ".localhost") { // Go's resolver does not know such names
				req.Host, req.URL.Host = req.URL.Host, net.JoinHostPort("127.0.0.1", req.URL.Port())
			}
			res, err := testbed.Shared(t).Client.Do(req)
			if err != nil {
				t.Errorf("%s names %s: %v", d.name, address, err)
				continue
			}
			res.Body.Close()
			// A URL without a path is the base of others. The gateway does not know the host
			// 127.0.0.1: commands that name it send another Host header. And ?fail= asks for an
			// error.
			base := u.Path == "" || strings.HasPrefix(here, testbed.Shared(t).Demo.Gateway) && u.Path == "/"
			if res.StatusCode >= 400 && !(base && res.StatusCode == http.StatusNotFound) && !strings.Contains(u.RawQuery, "fail=") {
				t.Errorf("%s names %s, which answers %s", d.name, address, res.Status)
			}
		}
	}
	if len(asked) < 10 {
		t.Errorf("only %d addresses were found", len(asked))
	}
}
