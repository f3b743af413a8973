package stack

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// Addr is where a part is to listen.
type Addr struct {
	// Value is host:port; an empty one means the part's default, port 0 any free one.
	Value string
	// Asked tells that somebody wants exactly this address: a taken one is an error then, and not a reason to move.
	Asked bool
}

// defaults are the addresses of the parts that are not services.
const (
	DefaultGateway  = "127.0.0.1:8000"
	DefaultExplorer = "127.0.0.1:3000"
	DefaultTempo    = "127.0.0.1:3200"
	DefaultOTLPGRPC = "127.0.0.1:4317"
	DefaultOTLPHTTP = "127.0.0.1:4318"
)

// Any is the address of a part that may listen on any free port of the loopback interface.
var Any = Addr{Value: "127.0.0.1:0", Asked: true}

// CheckAddr says what is wrong with a host:port, or nil. Ports are numbers: names would depend on the machine.
func CheckAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: want host:port such as 127.0.0.1:8000", addr)
	}
	n := 0
	if port == "" || strings.Trim(port, "0123456789") != "" || len(port) > 5 {
		return fmt.Errorf("address %q: the port is not a number", addr)
	}
	if _, err := fmt.Sscan(port, &n); err != nil || n > 65535 {
		return fmt.Errorf("address %q: the port is not between 0 and 65535", addr)
	}
	return nil
}

// Listen opens the address of a part. A default that cannot be had moves to a free port on the same host, and moved
// says so; an address that was asked for does not move. The part's flag for its address is called flag.
func Listen(part, flag string, a Addr, fallback string) (l net.Listener, moved string, err error) {
	value := a.Value
	if value == "" {
		value = fallback
	}
	l, err = net.Listen("tcp", value)
	if err == nil {
		return l, "", nil
	}
	if a.Asked {
		return nil, "", addrError(part, flag, value, err)
	}
	host, _, splitErr := net.SplitHostPort(value)
	if splitErr != nil {
		return nil, "", fmt.Errorf("%s: %w", part, CheckAddr(value))
	}
	l, freeErr := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if freeErr != nil {
		return nil, "", addrError(part, flag, value, err)
	}
	return l, fmt.Sprintf("%s: %s %s, so it is on %s instead", part, value, reason(err), reachable(l.Addr().String())), nil
}

// addrError names the part, the address, what is wrong with it and what to do.
func addrError(part, flag, addr string, err error) error {
	return fmt.Errorf("%s cannot listen on %s: it %s: end what uses it, or give another with -%s (%w)", part, addr, reason(err), flag, err)
}

func reason(err error) string {
	switch {
	case isTaken(err):
		return "is taken"
	case isDenied(err):
		return "is reserved to administrators"
	default:
		return "cannot be had"
	}
}

// reachable turns an address that was listened on into one that can be dialled: 0.0.0.0 and [::] are no destinations
// everywhere.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// available tells whether a service could listen on the address at this moment, with the error if not.
func available(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// isDenied and isTaken look through net.OpError; the numbers differ by system.
func isTaken(err error) bool  { return errors.Is(err, errAddrInUse) }
func isDenied(err error) bool { return errors.Is(err, errAccess) }
