package tempo

// Complete tells whether a trace has arrived as a whole, whatever its shape: it
// has a root, every span's parent is there, and every HTTP client that got an
// answer has the span of the server that gave it. More need not be asked: a
// process sends its spans in the order in which they end, so those inside a
// server's span came before it. The trace of a service that sends no spans, of
// which only its caller's are known, is thus never complete.
func (t *Trace) Complete() bool {
	byID := map[string]*Span{}
	for _, s := range t.Spans {
		byID[s.SpanID] = s
	}
	root := false
	served := map[string]bool{}
	for _, s := range t.Spans {
		if s.ParentID == "" {
			root = true
		} else if byID[s.ParentID] == nil {
			return false
		}
		if s.Kind == "server" {
			served[s.ParentID] = true
		}
	}
	for _, s := range t.Spans {
		_, asked := s.Attributes["http.request.method"]
		_, answered := s.Attributes["http.response.status_code"]
		if s.Kind == "client" && asked && answered && !served[s.SpanID] {
			return false
		}
	}
	return root
}
