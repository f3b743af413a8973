package explorer

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	foreign := regexp.MustCompile(`(https?:)?//[a-z0-9]`)
	entries, err := fs.ReadDir(embedded, "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(embedded, "web/"+entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "") // a name, which nobody fetches
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s names another host: %s", entry.Name(), found)
		}
		if size := regexp.MustCompile(`font-size: [^vi][^;]*`).FindString(text); size != "" { // but a variable, or inherit
			t.Errorf("%s has a size of text of its own: %s", entry.Name(), size)
		}
		if mediaTypes[path.Ext(entry.Name())] == "" {
			t.Errorf("%s has no media type", entry.Name())
		}
		if path.Ext(entry.Name()) == ".js" && !strings.Contains(string(index), `"/assets/`+entry.Name()+`"`) {
			t.Errorf("index.html does not load %s at once", entry.Name())
		}
		if strings.Contains(text, "innerHTML") || strings.Contains(text, "insertAdjacentHTML") || strings.Contains(text, " style=") {
			t.Errorf("%s makes markup of text, or has an inline style, which the page's policy refuses", entry.Name())
		}
	}
}
