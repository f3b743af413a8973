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
	h := Only(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	foreign := http.Header{"Origin": {"http://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	for name, test := range map[string]struct {
		on, method, host string
		header           http.Header
		want             int
	}{
		"a program":                             {on: "127.0.0.1", method: "GET", host: "127.0.0.1:3200", want: 200},
		"by the name localhost":                 {on: "127.0.0.1", method: "GET", host: "LocalHost.:3200", want: 200},
		"by a name under localhost":             {on: "127.0.0.1", method: "POST", host: "tempo.localhost", want: 200},
		"by IPv6":                               {on: "::1", method: "POST", host: "[::1]:3200", want: 200},
		"a name that was bound to this machine": {on: "127.0.0.1", method: "GET", host: "evil.example:3200", want: 421},
		"the same over IPv6":                    {on: "::1", method: "GET", host: "evil.example", want: 421},
		"a name that only looks like ours":      {on: "127.0.0.1", method: "GET", host: "127.0.0.1.evil.example", want: 421},
		"no name":                               {on: "127.0.0.1", method: "GET", want: 421},
		"another machine's address":             {on: "127.0.0.1", method: "GET", host: "192.0.2.8:3200", want: 421},
		"another site's page writes":            {on: "127.0.0.1", method: "POST", host: "localhost:3200", header: foreign, want: 403},
		"another port's page writes":            {on: "127.0.0.1", method: "POST", host: "localhost:3200", header: http.Header{"Sec-Fetch-Site": {"same-site"}}, want: 403},
		"an old browser's page writes":          {on: "127.0.0.1", method: "POST", host: "localhost:3200", header: http.Header{"Origin": {"http://evil.example"}}, want: 403},
		"another site's page cannot read it":    {on: "127.0.0.1", method: "GET", host: "localhost:3200", header: foreign, want: 200},
		"opened to others on purpose":           {on: "192.0.2.7", method: "POST", host: "collector.example:4318", want: 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, arrived(test.on, test.method, test.host, test.header))
			if w.Code != test.want {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, test.want)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cross-Origin-Resource-Policy") != "same-origin" ||
				w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("headers: %v", w.Header())
			}
		})
	}
}
