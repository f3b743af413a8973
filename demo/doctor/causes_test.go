package doctor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// namedCauses returns the causes that the checks name: the arguments of broken after its first, and
// variables and lists of the type cause, and what stages mean.
func namedCauses(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	add := func(list []ast.Expr) {
		for _, e := range list {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				name, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				named[name] = true
			}
		}
	}
	isCause := func(e ast.Expr) bool {
		ident, ok := e.(*ast.Ident)
		return ok && ident.Name == "cause"
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "broken" {
					add(n.Args[1:])
				}
			case *ast.ValueSpec:
				if isCause(n.Type) {
					add(n.Values)
				}
			case *ast.CompositeLit:
				if array, ok := n.Type.(*ast.ArrayType); ok && isCause(array.Elt) {
					add(n.Elts)
				}
			case *ast.KeyValueExpr: // of a stage
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "none" || key.Name == "few") {
					add([]ast.Expr{n.Value})
				}
			}
			return true
		})
	}
	return named
}

func TestEveryCauseIsWrittenAndNamed(t *testing.T) {
	named := namedCauses(t)
	if len(named) < 50 {
		t.Fatalf("only %d causes are found in the code", len(named))
	}
	for name := range named {
		if causes().Lookup(name) == nil {
			t.Errorf("causes.tmpl has no %q", name)
		}
	}
	for _, tmpl := range causes().Templates() {
		name := tmpl.Name()
		if !named[name] && !strings.Contains(causesText, `{{template "`+name+`" .}}`) && name != "causes.tmpl" {
			t.Errorf("no check names %q", name)
		}
	}
}

func TestEveryCauseSaysWhyAndWhatToDo(t *testing.T) {
	for _, kind := range []Kind{Compose, Local} {
		urls := map[string]string{topology.Gateway: "http://127.0.0.1", topology.Explorer: "http://127.0.0.1:3000"}
		for name := range namedCauses(t) {
			var about any = "uservice3 uservice4"
			if name == "endpoint in vain" {
				about = struct{ Sender, Endpoint string }{"uservice3", "http://127.0.0.1:1"}
			}
			c := advice{Options{Kind: kind, URLs: urls}, topology.Gateway, about}.cause(cause(name))
			if c.Why == "" || c.Do == "" || strings.Contains(c.Why+c.Do, "<no value>") || strings.Contains(c.Why+c.Do, "template") {
				t.Errorf("%s, %s: %+v", kind, name, c)
			}
			if !strings.HasSuffix(c.Why, ".") && name != "header changed" && name != "header not sent" { // which end with the header
				t.Errorf("%s, %s: %q is no sentence", kind, name, c.Why)
			}
		}
	}
}
