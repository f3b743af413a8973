package explorer

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"path"
	"time"

	"example.com/grafana-tempo-go-demo/demo/traceid"
)

var (
	//go:embed web
	embedded embed.FS
	//go:embed web/index.html
	index []byte
)

// mediaTypes are set here because a machine's own table may call JavaScript something that browsers
// refuse.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// page answers both / and /trace/<id>; it looks at its own address to know which of them it is.
func page(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	if id := r.PathValue("id"); id != "" {
		if _, err := traceid.Trace(id); err != nil {
			status = http.StatusNotFound // the page says why
		}
	}
	w.Header().Set("Content-Type", mediaTypes[".html"])
	w.WriteHeader(status)
	_, _ = w.Write(index)
}

func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, err := embedded.ReadFile("web/" + name)
	if err != nil {
		fail(w, http.StatusNotFound, "The page has no such part. Reload it: it may be from another version.")
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // asked about each time, sent only when it has changed
	w.Header().Set("Etag", fmt.Sprintf(`"%.12x"`, sha256.Sum256(data)))
	w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}
