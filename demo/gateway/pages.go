package gateway

import (
	"embed"
	htmltemplate "html/template"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	texttemplate "text/template"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// page is one of the gateway's own answers, for a browser or for curl. Its text goes by its status.
type page struct {
	Status int
	Host   string   // that was asked for
	Links  []string // to what there is instead
}

//go:embed pages
var pages embed.FS

var (
	htmlPage = htmltemplate.Must(htmltemplate.ParseFS(pages, "pages/page.html", "pages/texts.tmpl"))
	textPage = texttemplate.Must(texttemplate.ParseFS(pages, "pages/page.txt", "pages/texts.tmpl"))
)

// unknownHost answers 404 and lists what there is instead.
func (g *Gateway) unknownHost(w http.ResponseWriter, r *http.Request) {
	p := page{Status: http.StatusNotFound, Host: topology.HostName(r.Host)}
	port := ""
	if n := requestPort(r); n != "80" {
		port = ":" + n
	}
	for _, host := range slices.Sorted(maps.Keys(g.proxies)) {
		p.Links = append(p.Links, "http://"+host+port+"/")
	}
	p.write(w, r)
}

// requestPort is the port in the Host header, or 80. Nothing but a number counts, or a link made of
// it could lead to another host: net/http lets `name:@elsewhere.example` through.
func requestPort(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			return strconv.FormatUint(n, 10)
		}
	}
	return "80"
}

// write sends a page as HTML to whoever accepts that, and as plain text to all others.
func (p page) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy",
		"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	var t interface{ Execute(io.Writer, any) error } = textPage
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		t = htmlPage
		h.Set("Content-Type", "text/html; charset=utf-8")
	}
	w.WriteHeader(p.Status)
	_ = t.Execute(w, p) // a client that is gone by now has its own trouble
}
