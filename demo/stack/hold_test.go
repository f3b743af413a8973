package stack

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/grafana-tempo-go-demo/demo/collector"
	"example.com/grafana-tempo-go-demo/demo/tempo"
)

func TestServiceThatDoesNotStayIsGivenUp(t *testing.T) {
	o, _, _ := options(t, "uservice4=die soon")
	o.Restart = true
	s := start(t, o)
	var deaths []Death
	for len(deaths) == 0 || deaths[len(deaths)-1].Again {
		select {
		case d := <-s.Deaths():
			deaths = append(deaths, d)
		case <-time.After(20 * time.Second):
			t.Fatalf("no end of it: %+v", deaths)
		}
	}
	// The first life, the new ones, and the last word.
	if len(deaths) != 1+maxRestarts+1 {
		t.Errorf("%d deaths: %+v", len(deaths), deaths)
	}
	for _, d := range deaths {
		if d.Part != "uservice4" || !strings.HasPrefix(d.How, "exit status 7") {
			t.Errorf("%+v", d)
		}
	}
	if last := deaths[len(deaths)-1].How; !strings.Contains(last, "started again 5 times in a row and is left alone") {
		t.Errorf("the last word is %q", last)
	}
	if status, _ := get(t, s.URLs().Gateway, "uservice3.localhost"); status != http.StatusOK {
		t.Errorf("uservice3 answers %d", status)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestStopDuringTheWaitForARestart(t *testing.T) {
	o, _, _ := options(t, "uservice4=die soon")
	o.Restart = true
	s := start(t, o)
	for range 4 {
		<-s.Deaths()
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	for name, url := range s.URLs().Services {
		if !refused(url) {
			t.Errorf("%s still answers", name)
		}
	}
}

// The gateway is told of no trouble that the services would not have: it answers while its collector is away, and sends
// what it has when there is one again.
func TestGatewayOutlivesItsCollector(t *testing.T) {
	o, _, _ := options(t, "")
	s := start(t, o)
	if err := s.collector.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-s.Deaths():
		if d.Part != "collector" {
			t.Errorf("%+v", d)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody noticed")
	}
	var ids []string
	for end := time.Now().Add(400 * time.Millisecond); time.Now().Before(end); { // more than one export
		status, body := get(t, s.URLs().Gateway, "uservice3.localhost")
		if status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(strings.Fields(body)[1], "trace="), ":")
		ids = append(ids, id)
	}
	var l net.Listener
	waitFor(t, "port of the collector", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", s.URLs().OTLPGRPC)
		return err == nil
	})
	again := collector.New(collector.Options{})
	go again.ServeGRPC(l)
	defer again.Shutdown(context.Background())
	api := http.Server{Handler: again.APIHandler()}
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go api.Serve(door)
	defer api.Close()
	client := &tempo.Client{URL: "http://" + door.Addr().String()}
	for _, id := range ids {
		waitFor(t, "trace of what was answered meanwhile", func() bool {
			tr, err := client.Trace(t.Context(), id)
			return err == nil && len(tr.Spans) == 2
		})
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}
