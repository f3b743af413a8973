package local

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// arrived is a request that came in on an address.
func arrived(on, method, host string, header http.Header) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.Host = host
	for name, values := range header {
		r.Header[name] = values
	}
	addr := &net.TCPAddr{IP: net.ParseIP(on), Port: 3200}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
}

func TestOnlyThisMachinesPagesGetIn(t *testing.T) {
	let := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	api := Only(let)
	page := Page(let)
	foreign := http.Header{"Origin": {"http://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	for name, test := range map[string]struct {
		on, method, host string
		header           http.Header
		api, page        int // 0 is 200
	}{
		"a program":                             {on: "127.0.0.1", method: "GET", host: "127.0.0.1:3200"},
		"the page itself":                       {on: "127.0.0.1", method: "POST", host: "localhost:3200", header: http.Header{"Sec-Fetch-Site": {"same-origin"}}},
		"by the name localhost":                 {on: "127.0.0.1", method: "GET", host: "LocalHost.:3200"},
		"by a name under localhost":             {on: "127.0.0.1", method: "POST", host: "tempo.localhost"},
		"by another loopback address":           {on: "127.0.0.2", method: "GET", host: "127.0.0.2"},
		"by IPv6":                               {on: "::1", method: "POST", host: "[::1]:3200"},
		"a name that was bound to this machine": {on: "127.0.0.1", method: "GET", host: "evil.example:3200", api: 421, page: 421},
		"the same over IPv6":                    {on: "::1", method: "GET", host: "evil.example", api: 421, page: 421},
		"names that only look like ours":        {on: "127.0.0.1", method: "GET", host: "127.0.0.1.evil.example", api: 421, page: 421},
		"no name under localhost":               {on: "127.0.0.1", method: "GET", host: "evillocalhost", api: 421, page: 421},
		"no name":                               {on: "127.0.0.1", method: "GET", api: 421, page: 421},
		"another machine's address":             {on: "127.0.0.1", method: "GET", host: "192.0.2.8:3200", api: 421, page: 421},
		"another site's page writes":            {on: "127.0.0.1", method: "POST", host: "localhost:3200", header: foreign, api: 403, page: 403},
		"another port's page writes":            {on: "127.0.0.1", method: "POST", host: "localhost:3200", header: http.Header{"Sec-Fetch-Site": {"same-site"}}, api: 403, page: 403},
		"an old browser's page writes":          {on: "127.0.0.1", method: "POST", host: "localhost:3200", header: http.Header{"Origin": {"http://evil.example"}}, api: 403, page: 403},
		"another site's page cannot read it":    {on: "127.0.0.1", method: "GET", host: "localhost:3200", header: foreign},
		"opened to others on purpose":           {on: "192.0.2.7", method: "POST", host: "collector.example:4318", page: 421},
		"the address that it came in on":        {on: "192.0.2.7", method: "GET", host: "192.0.2.7:3200"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, guard := range []struct {
				name string
				http.Handler
				want int
			}{{"api", api, test.api}, {"page", page, test.page}} {
				w := httptest.NewRecorder()
				guard.ServeHTTP(w, arrived(test.on, test.method, test.host, test.header))
				if w.Code != max(guard.want, 200) {
					t.Errorf("%s: answered %d %s, want %d", guard.name, w.Code, w.Body, max(guard.want, 200))
				}
				if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cross-Origin-Resource-Policy") != "same-origin" ||
					w.Header().Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: headers: %v", guard.name, w.Header())
				}
			}
		})
	}
}
