package stack

import (
	"io"
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
		var said strings.Builder
		l, err := Listen("gateway", "gateway-addr", addr, false, &said)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if want := "gateway: " + addr + " is taken, so it is on " + l.Addr().String() + " instead\n"; said.String() != want {
			t.Errorf("said %q, want %q", said.String(), want)
		}
	})
	t.Run("a taken address that was asked for is an error that names it", func(t *testing.T) {
		_, err := Listen("gateway", "gateway-addr", addr, true, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "gateway cannot listen on "+addr+": it is taken") || !strings.Contains(err.Error(), "-gateway-addr") {
			t.Errorf("%v", err)
		}
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

func TestServicesMoveWhenTheirPortIsTakenAndTheirMetricsToo(t *testing.T) {
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
	addr := taken.Addr().String()
	var messages strings.Builder
	s := newStack(Options{Messages: &messages, Addrs: map[string]string{"anywhere": anyPort}})
	s.services = []*instance{
		{Service: topology.Service{Name: "plain", Addr: addr}},
		{Service: topology.Service{Name: "anywhere", Addr: addr, Metrics: free, Instrumented: true}},
		{Service: topology.Service{Name: "unlucky", Addr: free, Metrics: addr, Instrumented: true}},
	}
	if err := s.placeServices(); err != nil {
		t.Fatal(err)
	}
	moved := s.find("plain").addr
	if moved == addr || s.find("anywhere").addr != anyPort || s.find("unlucky").addr != free {
		t.Errorf("the services are to listen on %s, %s, %s", moved, s.find("anywhere").addr, s.find("unlucky").addr)
	}
	for name, want := range map[string]string{"plain": "", "anywhere": anyPort, "unlucky": anyPort} {
		if got := s.find(name).metrics; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	want := "plain: " + addr + " is taken, so it is on " + moved + " instead\n" +
		"unlucky's metrics: " + addr + " is taken, so they take a free port instead\n"
	if text := messages.String(); text != want {
		t.Errorf("said %q, want %q", text, want)
	}
}
