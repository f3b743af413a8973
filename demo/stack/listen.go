package stack

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

const anyPort = "127.0.0.1:0"

// AnyAddrs lets every part listen on a free port of the loopback interface: see Options.Addrs.
func AnyAddrs() map[string]string {
	addrs := map[string]string{}
	for _, part := range topology.Parts() {
		addrs[part.Name] = anyPort
	}
	return addrs
}

// listen opens the addresses of all parts. What runs inside this process keeps them; a service opens its
// own again.
func (s *Stack) listen() error {
	for _, p := range topology.Parts() {
		if svc := s.find(p.Name); svc != nil {
			if err := s.place(svc); err != nil {
				return err
			}
			continue
		}
		l, err := s.open(p.Name, p.Addr)
		if err != nil {
			return err
		}
		s.parts[p.Name] = &part{listener: l}
	}
	return nil
}

// place decides where a service listens and serves its metrics.
func (s *Stack) place(svc *instance) (err error) {
	if asked := s.o.Addrs[svc.Name]; strings.HasSuffix(asked, ":0") {
		svc.addr, svc.metrics = asked, anyPort
		return nil
	}
	free := func(name, fallback string) (string, error) {
		l, err := s.open(name, fallback)
		if err != nil {
			return "", err
		}
		return l.Addr().String(), l.Close()
	}
	if svc.addr, err = free(svc.Name, svc.Addr); err == nil && svc.Instrumented {
		svc.metrics, err = free(svc.Name+"'s metrics", svc.Metrics)
	}
	return err
}

// open listens for a part.
func (s *Stack) open(name, fallback string) (net.Listener, error) {
	return Listen(name, s.o.Addrs[name], name+"-addr", fallback, s.o.Messages)
}

// Listen opens the address that somebody asked for by a flag, for a part. If nobody did and the fallback
// cannot be had, the part moves to a free port on the same host, and messages says so.
func Listen(part, asked, flag, fallback string, messages io.Writer) (net.Listener, error) {
	l, err := net.Listen("tcp", cmp.Or(asked, fallback))
	switch {
	case err == nil:
		return l, nil
	case asked != "":
		return nil, fmt.Errorf("%s: %w: give -%s a free host:port; port 0 takes any", part, err, flag)
	}
	host, _, _ := net.SplitHostPort(fallback)
	l, freeErr := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if freeErr != nil {
		return nil, fmt.Errorf("%s: %w", part, err)
	}
	fmt.Fprintf(messages, "%s: %v, so it is on %s instead\n", part, err, l.Addr())
	return l, nil
}

// reachable makes a listener's address one to dial, which 0.0.0.0 and [::] are not everywhere.
func reachable(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
