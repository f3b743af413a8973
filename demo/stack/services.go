package stack

import (
	"maps"
	"slices"
	"strings"
)

// Service is one row of the table of services. The compose stack runs the same four; a test in e2e/ holds this table
// equal to docker-compose.yaml.
type Service struct {
	// Name is the service's name and its folder in the repository; it is reached through the proxy as <Name>.localhost.
	Name string
	// Addr is the host address on which it listens unless told otherwise.
	Addr string
	// Metrics is the host address on which it serves its metrics unless told otherwise; empty for one that has none.
	Metrics string
	// Upstream names the service that it calls, or is empty.
	Upstream string
	// Env is its fixed environment. What depends on addresses (UPSTREAM, TRACE_LINK and, for the instrumented ones,
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_PROMETHEUS_HOST and _PORT) is added at the start, and so are
	// the bounds of its mock (REDIS_* for a service that has an upstream, DATABASE_* for one that has none).
	Env map[string]string
	// Instrumented tells whether it sends traces, and so whether it needs to know where to.
	Instrumented bool
}

// Host is the host name by which the proxy routes to the service.
func (s Service) Host() string { return s.Name + ".localhost" }

// Services returns the table, a fresh copy each time. A service stands after the one that it calls: that is the order to
// start in, and backwards the order to stop in.
func Services() []Service {
	return []Service{
		{Name: "uservice2", Addr: "127.0.0.1:8082", Env: collecting(nil)},
		{Name: "uservice4", Addr: "127.0.0.1:8084", Metrics: "127.0.0.1:9464", Env: telemetry("uservice4"), Instrumented: true},
		{Name: "uservice1", Addr: "127.0.0.1:8081", Env: collecting(nil), Upstream: "uservice2"},
		{Name: "uservice3", Addr: "127.0.0.1:8083", Metrics: "127.0.0.1:9463", Env: telemetry("uservice3"), Upstream: "uservice4", Instrumented: true},
	}
}

// telemetry is the part of the OTEL_* variables that is the same wherever the service runs. Every request is sampled,
// and the batches are small in time and large in number, so that a trace is complete a quarter of a second after its
// answer and nothing is lost under load. There is no Loki here: log lines go to standard output only.
func telemetry(name string) map[string]string {
	return collecting(map[string]string{
		"OTEL_SERVICE_NAME":              name,
		"OTEL_TRACES_SAMPLER":            "always_on",
		"OTEL_TRACES_EXPORTER":           "otlp",
		"OTEL_PROPAGATORS":               "jaeger",
		"OTEL_BSP_SCHEDULE_DELAY":        "200",
		"OTEL_BSP_MAX_QUEUE_SIZE":        "8192",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2048",
		"OTEL_METRICS_EXPORTER":          "prometheus",
		"OTEL_GO_X_OBSERVABILITY":        "true", // the SDK's own metrics, such as spans that were dropped
	})
}

// collecting adds how garbage is collected: less often than by default, because the services have little that lives long
// and make much that does not, and harder as they near the memory that 5,000 visitors at once need. docs/cost.md says what
// it brings.
func collecting(env map[string]string) map[string]string {
	all := map[string]string{"GOGC": "400", "GOMEMLIMIT": "640MiB"}
	maps.Copy(all, env)
	return all
}

// ours are variables that the services read. Those of the caller's shell must not reach them: the table decides.
var ours = []string{
	"ADDR", "UPSTREAM", "REDIS_MIN", "REDIS_MAX", "DATABASE_MIN", "DATABASE_MAX", "LOG_LEVEL", "TRACE_LINK",
	"METRICS_ADDR", "HEALTHCHECK",
}

// childEnv is the parent's environment without what would disturb a service, plus the service's own, sorted. Of a
// variable that stands twice, a process sees the last, so the parent's are filtered and not merely overruled. How garbage
// is collected is the parent's to say, where it does: nothing depends on it, and it is worth playing with.
func childEnv(parent []string, own map[string]string) []string {
	own = maps.Clone(own)
	var env []string
	for _, kv := range parent {
		name, _, _ := strings.Cut(kv, "=")
		// Names are compared without case, as Windows does.
		upper := strings.ToUpper(name)
		if strings.HasPrefix(upper, "OTEL_") || slices.Contains(ours, upper) {
			continue
		}
		if upper == "GOGC" || upper == "GOMEMLIMIT" {
			delete(own, upper)
		}
		env = append(env, kv)
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		env = append(env, name+"="+own[name])
	}
	return env
}
