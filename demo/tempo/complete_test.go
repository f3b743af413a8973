package tempo

import "testing"

func TestComplete(t *testing.T) {
	span := func(id, parent, kind string, answered bool) *Span {
		s := &Span{SpanID: id, ParentID: parent, Kind: kind, Attributes: map[string]any{}}
		if answered {
			s.Attributes["http.request.method"] = "GET"
			s.Attributes["http.response.status_code"] = int64(200)
		}
		return s
	}
	root, proxy, server := span("1", "", "server", true), span("2", "1", "client", true), span("3", "2", "server", true)
	redis, out := span("4", "3", "client", false), span("5", "3", "client", true)
	refused := span("5", "3", "client", false)
	refused.Attributes["http.request.method"] = "GET"
	for _, tc := range []struct {
		name  string
		spans []*Span
		want  bool
	}{
		{"no span", nil, false},
		{"no root", []*Span{proxy, server}, false},
		{"a parent is missing", []*Span{root, server}, false},
		{"the server of an answered call is missing", []*Span{root, proxy, server, redis, out}, false},
		{"a call that was refused has no server", []*Span{root, proxy, server, redis, refused}, true},
		{"a database has none either", []*Span{root, proxy, server, redis}, true},
		{"all there", []*Span{root, proxy, server, out, span("6", "5", "server", true)}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := NewTrace("1", tc.spans).Complete(); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
