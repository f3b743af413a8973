package stack

import (
	"net"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

func TestAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()

	t.Run("a taken default moves and says so", func(t *testing.T) {
		l, moved, err := Listen("gateway", "gateway-addr", Addr{Value: addr})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if !strings.Contains(moved, addr+" is taken") || !strings.Contains(moved, l.Addr().String()) {
			t.Error(moved)
		}
	})
	t.Run("a taken address that was asked for is an error that names it", func(t *testing.T) {
		_, _, err := Listen("gateway", "gateway-addr", Addr{Value: addr, Asked: true})
		if err == nil || !strings.Contains(err.Error(), "gateway cannot listen on "+addr+": it is taken") || !strings.Contains(err.Error(), "-gateway-addr") {
			t.Errorf("%v", err)
		}
	})
	t.Run("any port is free", func(t *testing.T) {
		l, moved, err := Listen("gateway", "gateway-addr", Addr{Value: anyPort, Asked: true})
		if err != nil || moved != "" {
			t.Fatal(moved, err)
		}
		l.Close()
	})
	for in, ok := range map[string]bool{
		"127.0.0.1:8000": true, ":0": true, "[::1]:1": true, "localhost:80": true,
		"8000": false, "127.0.0.1": false, "127.0.0.1:": false, "127.0.0.1:http": false, "127.0.0.1:65536": false, "127.0.0.1:-1": false,
		"127.0.0.1:99999999999999999999": false,
	} {
		if err := CheckAddr(in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
	for in, want := range map[string]string{
		"0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", ":1": "127.0.0.1:1", "127.0.0.2:1": "127.0.0.2:1", "[::1]:1": "[::1]:1",
	} {
		if got := reachable(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestMetricsMoveWithTheirServiceAndWhenTheirPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	var messages strings.Builder
	s := newStack(Options{Messages: &messages})
	s.services = []*service{
		{Service: topology.Service{Name: "plain", Addr: "127.0.0.1:0"}},
		{Service: topology.Service{Name: "moved", Addr: "127.0.0.1:0", Metrics: "127.0.0.1:1"}},
		{Service: topology.Service{Name: "unlucky", Addr: free, Metrics: taken.Addr().String()}},
	}
	defer s.starter.Close()
	if err := s.placeServices(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"plain": "", "moved": anyPort, "unlucky": anyPort} {
		if got := s.find(name).metrics; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if text := messages.String(); !strings.Contains(text, "unlucky's metrics: "+taken.Addr().String()+" is taken") {
		t.Errorf("nobody is told of the port: %q", text)
	}
}

func TestTakenPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()

	t.Run("a taken default of a service moves and says so", func(t *testing.T) {
		o, _, messages := options(t, "")
		o.Addrs["uservice2"] = Addr{Value: addr} // as a default is: not asked for
		s := start(t, o)
		if !strings.Contains(messages.String(), "uservice2: "+addr+" is taken") {
			t.Errorf("said %q", messages)
		}
		if status, _ := get(t, s.URLs().Gateway, "uservice2.localhost"); status != 200 {
			t.Errorf("got %d", status)
		}
	})
	for _, part := range []string{"explorer", "uservice3"} {
		t.Run("a taken address asked for "+part, func(t *testing.T) {
			o, _, _ := options(t, "")
			want := Addr{Value: addr, Asked: true}
			o.Addrs[part] = want
			_, err := Start(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), part+" cannot listen on "+addr) {
				t.Errorf("%v", err)
			}
		})
	}
}
