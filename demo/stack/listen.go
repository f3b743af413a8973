package stack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"

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

// Listen opens the address of a part, which -flag sets. If nobody asked for it and it cannot be had,
// the part moves to a free port on the same host, and messages says so.
func Listen(part, flag, addr string, asked bool, messages io.Writer) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	if !asked {
		host, _, _ := net.SplitHostPort(addr)
		if l, freeErr := net.Listen("tcp", net.JoinHostPort(host, "0")); freeErr == nil {
			fmt.Fprintf(messages, "%s: %s %s, so it is on %s instead\n", part, addr, reason(err), reachable(l.Addr().String()))
			return l, nil
		}
	}
	return nil, fmt.Errorf("%s cannot listen on %s: it %s: end what uses it, or give another with -%s (%w)",
		part, addr, reason(err), flag, err)
}

// reason says why an address cannot be had. Windows has a number of its own for it (winsock2.h).
func reason(err error) string {
	const wsaeaddrinuse = syscall.Errno(10048)
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaeaddrinuse) {
		return "is taken"
	}
	return "cannot be had"
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
