package explorer

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"path"
	"time"
)

//go:embed web
var embedded embed.FS

// asset is one file of the page.
type asset struct {
	data []byte
	etag string
}

// mediaTypes are set here because a machine's own table may call JavaScript something that browsers
// refuse.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

func loadAssets() map[string]asset {
	assets := map[string]asset{}
	entries, err := embedded.ReadDir("web")
	if err != nil {
		panic(err) // what is embedded can be read
	}
	for _, entry := range entries {
		data, err := embedded.ReadFile("web/" + entry.Name())
		if err != nil {
			panic(err)
		}
		assets[entry.Name()] = asset{data, fmt.Sprintf(`"%.12x"`, sha256.Sum256(data))}
	}
	return assets
}

// page answers both / and /trace/<id>; it looks at its own address to know which of them it is.
func (e *explorer) page(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	if id := r.PathValue("id"); id != "" && !isTraceID(id) {
		status = http.StatusNotFound // the page says why
	}
	w.Header().Set("Content-Type", mediaTypes[".html"])
	w.WriteHeader(status)
	_, _ = w.Write(e.assets["index.html"].data)
}

func (e *explorer) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	a, ok := e.assets[name]
	if !ok {
		fail(w, http.StatusNotFound, "The page has no such part. Reload it: it may be of another version.")
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // asked about each time, sent only when it has changed
	w.Header().Set("Etag", a.etag)
	w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.data))
}
