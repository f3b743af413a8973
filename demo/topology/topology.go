// Package topology knows the services' names, who calls whom, and where each part listens by
// default. A test in e2e/ holds its table equal to docker-compose.yaml.
package topology

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// The four services. Uservice1 calls uservice2, and uservice3 calls uservice4.
const (
	Uservice1 = "uservice1"
	Uservice2 = "uservice2"
	Uservice3 = "uservice3"
	Uservice4 = "uservice4"
)

// Service is one row of the table of services.
type Service struct {
	// Name is the service's name and its folder in the repository.
	Name string
	// Addr is the host:port on which it listens in the run without Docker.
	Addr string
	// Metrics is the host:port on which it serves its metrics there; empty where it has none.
	Metrics string
	// Upstream names the service that it calls; empty where it calls none.
	Upstream string
	// Twin names the same program with or without instrumentation.
	Twin string
	// Instrumented reports whether it sends spans.
	Instrumented bool
}

// Host is the host name by which the gateway routes to the service.
func (s Service) Host() string { return Host(s.Name) }

// Services returns the table, a fresh copy each time. A service stands after the one that it calls:
// that is the order to start in, and backwards the order to stop in.
func Services() []Service {
	return []Service{
		{Name: Uservice2, Addr: "127.0.0.1:8082", Twin: Uservice4},
		{Name: Uservice4, Addr: "127.0.0.1:8084", Twin: Uservice2, Metrics: "127.0.0.1:9464", Instrumented: true},
		{Name: Uservice1, Addr: "127.0.0.1:8081", Twin: Uservice3, Upstream: Uservice2},
		{Name: Uservice3, Addr: "127.0.0.1:8083", Twin: Uservice1, Metrics: "127.0.0.1:9463", Upstream: Uservice4,
			Instrumented: true},
	}
}

// Upstreams maps each service that calls another to the one that it calls.
func Upstreams() map[string]string {
	upstreams := map[string]string{}
	for _, s := range Services() {
		if s.Upstream != "" {
			upstreams[s.Name] = s.Upstream
		}
	}
	return upstreams
}

// The parts of the run without Docker that are not services.
const (
	Gateway  = "gateway"
	Explorer = "explorer"
	Tempo    = "tempo"
	OTLPGRPC = "otlp-grpc"
	OTLPHTTP = "otlp-http"
)

// Part is a part of the run without Docker that listens on an address.
type Part struct {
	Name  string
	Addr  string // host:port unless told otherwise
	About string // what it is, in words that follow the address
}

// Parts returns all parts: those that are not services, then the services.
func Parts() []Part {
	parts := []Part{
		{Gateway, "127.0.0.1:8000", "the way in, which routes by host name"},
		{Explorer, "127.0.0.1:3000", "the page with the traces"},
		{Tempo, "127.0.0.1:3200", "the collector's Tempo API"},
		{OTLPGRPC, "127.0.0.1:4317", "the collector's OTLP over gRPC"},
		{OTLPHTTP, "127.0.0.1:4318", "the collector's OTLP over HTTP"},
	}
	for _, s := range Services() {
		parts = append(parts, Part{s.Name, s.Addr, s.Name + " itself, bypassing the gateway"})
	}
	return parts
}

// Host is the host name by which the gateway routes to a service: uservice3.localhost. Browsers and
// curl know that such names are this machine; Go's resolver does not, so Go clients dial the
// proxy's address and set the Host header.
func Host(service string) string { return service + ".localhost" }

// ParseURL reads the address of a part, from which others are made. The error says what is wanted, and
// not what was given: that may have a password.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want a URL such as http://localhost:3200, without a query or a fragment")
	}
	return u, nil
}

// HostName turns a Host header, Uservice3.localhost.:8000, into a route's uservice3.localhost.
func HostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// ServiceOf is the service that a Host header asks for: uservice3 for uservice3.localhost:8000. It
// is the name's first label, whether or not there is such a service.
func ServiceOf(host string) string {
	name, _, _ := strings.Cut(HostName(host), ".")
	return name
}
