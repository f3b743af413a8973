package main

import (
	"strings"
	"testing"

	"example.com/grafana-tempo-go-demo/demo/discover"
)

func TestMessagesNameEveryAddress(t *testing.T) {
	text := describe(discover.URLs{
		Gateway: "http://127.0.0.1:8000", Explorer: "http://127.0.0.1:3000", Tempo: "http://127.0.0.1:3200", OTLPGRPC: "127.0.0.1:4317",
		OTLPHTTP: "http://127.0.0.1:4318", Services: map[string]string{"uservice1": "http://127.0.0.1:8081", "uservice3": "http://127.0.0.1:8083"},
	})
	for _, want := range []string{
		"http://uservice3.localhost:8000/", "http://127.0.0.1:8083", "http://127.0.0.1:3000", "http://127.0.0.1:3200", "127.0.0.1:4317", "127.0.0.1:4318",
		"curl -i -H 'Host: uservice3.localhost' http://127.0.0.1:8000/",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
