package gateway

import (
	"bytes"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// page is one of the gateway's own answers, for a browser or for curl.
type page struct {
	Status int
	Title  string
	Text   string
	Links  []link
}

type link struct{ Text, URL string }

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{{.Status}} {{.Title}}</title>
</head>
<body>
<main>
<h1>{{.Status}} {{.Title}}</h1>
<p>{{.Text}}</p>
{{if .Links}}<ul>
{{range .Links}}<li><a href="{{.URL}}">{{.Text}}</a></li>
{{end}}</ul>
{{end}}<p>This page comes from the gateway.</p>
</main>
</body>
</html>
`))

// unknownHost answers 404 and lists what there is instead.
func (g *Gateway) unknownHost(w http.ResponseWriter, r *http.Request) {
	p := page{
		Status: http.StatusNotFound,
		Title:  "no such host",
		Text:   fmt.Sprintf("The gateway routes by host name and knows no host named %q. It knows these:", shown(topology.HostName(r.Host))),
	}
	port := ""
	if n := portAsked(r); n != "80" {
		port = ":" + n
	}
	for _, host := range g.hosts {
		url := "http://" + host + port + "/"
		p.Links = append(p.Links, link{Text: url, URL: url})
	}
	write(w, r, p)
}

// shown cuts a host name for a page to what a name can have at most.
func shown(host string) string {
	const longest = 253 // RFC 1035
	if len(host) <= longest {
		return host
	}
	return valid(host[:longest]) + "..."
}

// portAsked is the port in the Host header, or 80. Nothing but a number counts, or a link made of it could lead to another
// host: net/http lets `name:@elsewhere.example` through.
func portAsked(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			return strconv.FormatUint(n, 10)
		}
	}
	return "80"
}

// upstreamFailed answers for a service that did not. What exactly went wrong is in the log and not on the page.
func (g *Gateway) upstreamFailed(w http.ResponseWriter, r *http.Request, status int) {
	host := shown(topology.HostName(r.Host))
	p := page{Status: status}
	switch status {
	case http.StatusGatewayTimeout:
		p.Title = "the service is too slow"
		p.Text = fmt.Sprintf("The service behind %s took the request and did not answer in time. Its own log says what it was doing.", host)
	case http.StatusRequestTimeout:
		p.Title = "the request did not arrive"
		p.Text = "The request announced a body that did not come, or not in time."
	case StatusClientClosedRequest:
		// Nobody reads this one.
		w.WriteHeader(status)
		return
	default:
		p.Title = "the service cannot be reached"
		p.Text = fmt.Sprintf("The service behind %s is not there or broke off. See whether it still runs; the gateway's log has the error.", host)
	}
	write(w, r, p)
}

// write sends a page as HTML to whoever accepts that, and as plain text to everybody else.
func write(w http.ResponseWriter, r *http.Request, p page) {
	var body bytes.Buffer
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		if err := pageTemplate.Execute(&body, p); err != nil {
			http.Error(w, p.Title, p.Status)
			return
		}
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(&body, "%d %s\n%s\n", p.Status, p.Title, p.Text)
		for _, l := range p.Links {
			fmt.Fprintf(&body, "  %s\n", l.URL)
		}
	}
	w.WriteHeader(p.Status)
	// A client that is gone by now has its own trouble.
	_, _ = body.WriteTo(w)
}
