// Package local keeps other sites' pages away from servers that are meant for this machine alone.
// A loopback address does not do that: the browser that shows those pages is on this machine too.
package local

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Named reports whether a request names this machine: localhost, a name under .localhost, a loopback
// address, or the address that the connection came in on. A page from elsewhere can make its own
// name resolve to a loopback address and then counts as the same origin (DNS rebinding), but it
// cannot send another Host header.
func Named(r *http.Request) bool {
	host := topology.HostName(r.Host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	return ip.IsLoopback() || ip.Unmap() == localAddr(r)
}

// localAddr is the address that the connection came in on, or none.
func localAddr(r *http.Request) netip.Addr {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if tcp, ok := local.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Only guards an API without a login. A request that comes in on a loopback address must name this
// machine, or the answer is 421. Whoever makes the server listen on another address wants other names
// to reach it, and has to guard it. A page of another origin may not change anything (403), and
// cannot read an answer, because no answer allows that.
func Only(next http.Handler) http.Handler {
	return guard(next, func(r *http.Request) bool { return !localAddr(r).IsLoopback() || Named(r) })
}

// Page guards a page and its API as Only does, and answers to the names of this machine alone, on
// whatever address a request comes in.
func Page(next http.Handler) http.Handler { return guard(next, Named) }

func guard(next http.Handler, named func(*http.Request) bool) http.Handler {
	guarded := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// Not even as a script or a picture.
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		if !named(r) {
			http.Error(w, "This server answers to the names of this machine only. "+
				"Ask for http://localhost or http://127.0.0.1 with its port.", http.StatusMisdirectedRequest)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}
