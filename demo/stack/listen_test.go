package stack

import (
	"io"
	"net"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// listening returns an address on which somebody listens until the test ends.
func listening(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestATakenDefaultMovesAndATakenWishIsAnError(t *testing.T) {
	addr := listening(t).Addr().String()
	var said strings.Builder
	l, err := Listen("gateway", "", "gateway-addr", addr, &said)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if text := said.String(); !strings.HasPrefix(text, "gateway: ") || !strings.Contains(text, addr) || !strings.Contains(text, "so it is on "+l.Addr().String()) {
		t.Errorf("said %q", text)
	}
	for _, wish := range []string{addr, "8000", "localhost:http:80"} {
		_, err = Listen("gateway", wish, "gateway-addr", "", io.Discard)
		if err == nil || !strings.Contains(err.Error(), wish) || !strings.Contains(err.Error(), "give -gateway-addr a free host:port") {
			t.Errorf("%v", err)
		}
	}
}

func TestWildcardAddressesAreReached(t *testing.T) {
	for in, want := range map[string]string{"0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", "127.0.0.2:1": "127.0.0.2:1", "[::1]:1": "[::1]:1"} {
		if got := reachable(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestServicesMoveWhenTheirPortIsTakenAndTheirMetricsToo(t *testing.T) {
	taken, free := listening(t).Addr().String(), listening(t)
	free.Close()
	var messages strings.Builder
	s := &Stack{o: Options{Messages: &messages, Addrs: map[string]string{"anywhere": anyPort}}, services: []*instance{
		{Service: topology.Service{Name: "plain", Addr: taken}},
		{Service: topology.Service{Name: "anywhere", Addr: taken, Metrics: free.Addr().String(), Instrumented: true}},
		{Service: topology.Service{Name: "unlucky", Addr: free.Addr().String(), Metrics: taken, Instrumented: true}},
	}}
	for _, svc := range s.services {
		if err := s.place(svc); err != nil {
			t.Fatal(err)
		}
	}
	plain, anywhere, unlucky := s.services[0], s.services[1], s.services[2]
	if plain.addr == taken || unlucky.metrics == taken || unlucky.addr != free.Addr().String() || anywhere.addr != anyPort || anywhere.metrics != anyPort {
		t.Errorf("%+v, %+v, %+v", plain, anywhere, unlucky)
	}
	if text := messages.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "unlucky's metrics: ") {
		t.Errorf("said %q", text)
	}
}
