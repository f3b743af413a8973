package services

import (
	"maps"
	"slices"
	"strings"

	"example.com/grafana-tempo-go-demo/demo/topology"
)

// Environment returns the variables of a service that are the same wherever it runs; a test in e2e/
// holds them equal to docker-compose.yaml. What depends on addresses is the caller's to add:
// UPSTREAM and, for an instrumented service, TRACE_LINK, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and
// _LOGS_ENDPOINT, and OTEL_EXPORTER_PROMETHEUS_HOST and _PORT.
func Environment(s topology.Service) map[string]string {
	// Collect garbage less often than by default, because the services make much that is
	// short-lived and little that is not, but harder near the memory that 5,000 visitors at once
	// need. docs/cost.md has the measurements.
	env := map[string]string{"GOGC": "200", "GOMEMLIMIT": "640MiB"}
	if s.Instrumented {
		// Every request is sampled. Batches are small in time and large in number, so that a trace
		// is complete a quarter of a second after its answer and nothing is lost under load.
		maps.Copy(env, map[string]string{
			"OTEL_SERVICE_NAME":              s.Name,
			"OTEL_TRACES_SAMPLER":            "always_on",
			"OTEL_TRACES_EXPORTER":           "otlp",
			"OTEL_PROPAGATORS":               "jaeger",
			"OTEL_BSP_SCHEDULE_DELAY":        "200",
			"OTEL_BSP_MAX_QUEUE_SIZE":        "65536",
			"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1024",
			"OTEL_BSP_EXPORT_TIMEOUT":        "600000", // spans wait this long for a store that is away
			"OTEL_EXPORTER_OTLP_TIMEOUT":     "600000",
			"OTEL_BLRP_EXPORT_TIMEOUT":       "600000", // and log lines
			"OTEL_BLRP_MAX_QUEUE_SIZE":       "6144",   // takes its memory at once
			"OTEL_METRICS_EXPORTER":          "prometheus",
			"OTEL_GO_X_OBSERVABILITY":        "true", // the SDK's own metrics, such as dropped spans
		})
	}
	return env
}

// ours are the variables that the services read and the demo decides on, besides OTEL_*.
var ours = []string{"ADDR", "UPSTREAM", "LOG_LEVEL", "TRACE_LINK", "HEALTHCHECK"}

// Merge returns a process's environment: the parent's without what the user's shell must not decide,
// then the service's own, sorted. It is for exec.Cmd, where the last of several values wins. The
// parent's REDIS_MIN and its like go through; its GOGC and GOMEMLIMIT win, because docs/cost.md
// invites to try others.
func Merge(parent []string, own map[string]string) []string {
	own = maps.Clone(own)
	var env []string
	for _, kv := range parent {
		name, _, _ := strings.Cut(kv, "=")
		name = strings.ToUpper(name) // Windows does not distinguish case
		if strings.HasPrefix(name, "OTEL_") || slices.Contains(ours, name) {
			continue
		}
		if name == "GOGC" || name == "GOMEMLIMIT" {
			delete(own, name)
		}
		env = append(env, kv)
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		env = append(env, name+"="+own[name])
	}
	return env
}
