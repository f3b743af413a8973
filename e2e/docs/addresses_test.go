package docs

import (
	"maps"
	"net"
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
		topology.Gateway: demo.Gateway, topology.Tempo: demo.Tempo, topology.Explorer: demo.Explorer,
		topology.OTLPHTTP: demo.OTLPHTTP, topology.OTLPGRPC: "http://" + demo.OTLPGRPC,
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

// TestAddressesAreThere checks each local URL in the documentation: its port is published, or a default
// of the demo, and its host is this machine or a container.
func TestAddressesAreThere(t *testing.T) {
	// Nobody listens on port 1, on purpose; the others are for services of your own.
	known, containers := map[string]bool{"": true, "1": true, "7878": true, "7879": true}, map[string]bool{}
	for _, stack := range compose.Stacks {
		for name, service := range compose.Stack(t, stack, nil).Services {
			for _, name := range append(compose.Aliases(service), name) {
				containers[name] = true
			}
			for _, port := range service.Ports {
				known[port.Published] = true
			}
		}
	}
	for _, part := range topology.Parts() {
		_, port, _ := net.SplitHostPort(part.Addr)
		known[port] = true
	}
	assigned := regexp.MustCompile(`[A-Z0-9]_PORT=(\d+)`)
	for _, d := range documents(t) {
		ports := maps.Clone(known)
		for _, found := range assigned.FindAllStringSubmatch(d.text, -1) {
			ports[found[1]] = true
		}
		for _, address := range localAddress.FindAllString(d.text, -1) {
			u, err := url.Parse(strings.TrimRight(address, ".,;:"))
			if err != nil {
				t.Errorf("%s: %s: %v", d.name, address, err)
				continue
			}
			here := strings.HasSuffix(u.Hostname(), "localhost") || u.Hostname() == "127.0.0.1"
			if !containers[u.Hostname()] && !(here && ports[u.Port()]) {
				t.Errorf("%s names %s, where nothing listens", d.name, address)
			}
		}
	}
}
