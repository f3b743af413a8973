package stack

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Addr is where a part is to listen.
type Addr struct {
	// Value is host:port; an empty one means the part's default, port 0 any free one.
	Value string
	// Asked makes a taken address an error, and not a reason to move.
	Asked bool
}

const anyPort = "127.0.0.1:0"

// AnyAddrs lets every part listen on a free port of the loopback interface: see Options.Addrs.
func AnyAddrs() map[string]Addr {
	addrs := map[string]Addr{}
	for _, part := range topology.Parts() {
		addrs[part.Name] = Addr{Value: anyPort, Asked: true}
	}
	return addrs
}

// addr is where a part is to listen, fallback if nobody has said.
func (s *Stack) addr(part, fallback string) Addr {
	a := s.o.Addrs[part]
	a.Value = cmp.Or(a.Value, fallback)
	return a
}

// CheckAddr says what is wrong with a host:port. Names of ports would depend on the machine.
func CheckAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: want host:port such as 127.0.0.1:8000", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("address %q: the port is not a number from 0 to 65535", addr)
	}
	return nil
}

// Listen opens the address of a part, which -flag sets. A default that cannot be had moves to a
// free port on the same host, and moved says so; an address that was asked for does not move.
func Listen(part, flag string, a Addr) (l net.Listener, moved string, err error) {
	l, err = net.Listen("tcp", a.Value)
	if err == nil {
		return l, "", nil
	}
	if !a.Asked {
		host, _, _ := net.SplitHostPort(a.Value)
		if l, freeErr := net.Listen("tcp", net.JoinHostPort(host, "0")); freeErr == nil {
			return l, fmt.Sprintf("%s: %s %s, so it is on %s instead", part, a.Value, reason(err), reachable(l.Addr().String())), nil
		}
	}
	return nil, "", fmt.Errorf("%s cannot listen on %s: it %s: end what uses it, or give another with -%s (%w)",
		part, a.Value, reason(err), flag, err)
}

// reason says why an address cannot be had. Windows has numbers of its own for it (winsock2.h).
func reason(err error) string {
	const wsaeacces, wsaeaddrinuse = syscall.Errno(10013), syscall.Errno(10048)
	switch {
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, wsaeaddrinuse):
		return "is taken"
	case errors.Is(err, syscall.EACCES), errors.Is(err, wsaeacces):
		return "is reserved to administrators"
	default:
		return "cannot be had"
	}
}

// reachable makes a listener's address one to dial, which 0.0.0.0 and [::] are not everywhere.
func reachable(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// available reports why nobody could listen on the address at this moment, or nil.
func available(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}
