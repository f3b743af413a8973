package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"example.com/grafana-tempo-go-demo/demo/tempo"
)

const (
	caller = "uservice3" // the instrumented service that the request goes to
	callee = "uservice4" // the one that it calls
)

// proxy sends the request. Go's resolver does not know *.localhost: the proxy is called, and the name is the Host header.
func (v *visit) proxy(ctx context.Context) outcome {
	name := part(v.o.Kind, "proxy")
	host := caller + ".localhost"
	var res response
	var err error
	// Traefik listens before it has read its routes, and answers 404 until then.
	v.poll(ctx, v.within(3*time.Second), "the proxy may have no routes yet", func(ctx context.Context) bool {
		v.sent = time.Now()
		res, err = v.get(ctx, answerTimeout, strings.TrimSuffix(v.o.Gateway, "/")+"/", host)
		return err != nil || res.status != http.StatusNotFound
	})
	v.answered = time.Now()
	if err != nil {
		return v.unreachable(name, "gateway", v.o.Gateway, err)
	}
	v.response = res
	// Errors of our services are pages of theirs, and name a trace.
	ours := res.header.Get("traceresponse") != "" || strings.Contains(string(res.body), "<p>Trace: ")
	detail := fmt.Sprintf("answered %d %s: %s", res.status, http.StatusText(res.status), firstText(res.body))
	ownNetwork := "docker compose ps -a " + caller + "; docker compose logs --tail 20 " + caller
	if v.o.Kind == Local {
		ownNetwork = v.logs(caller)
	}
	switch {
	case res.status == http.StatusOK && (ours || strings.Contains(string(res.body), "Hello, world!")):
		return fine("%s answered 200 through %s", caller, name)
	case ours && res.status >= 500:
		return broken(detail,
			Cause{fmt.Sprintf("%s is there, and %s behind it does not answer well.", caller, callee), v.logs(callee)},
			Cause{caller + " itself has failed.", v.logs(caller)})
	case res.status == http.StatusBadGateway || res.status == http.StatusGatewayTimeout || res.status == http.StatusServiceUnavailable:
		return broken(detail, Cause{fmt.Sprintf("%s is there, and %s behind it is down or does not answer.", name, caller), ownNetwork})
	case res.status == http.StatusNotFound:
		return broken(detail,
			Cause{fmt.Sprintf("Another program has this port, and not %s.", name), v.anotherPort()},
			Cause{fmt.Sprintf("%s has no route for the host %s.", name, host), "see conf/traefik/routes.yaml"})
	}
	return broken(detail, Cause{fmt.Sprintf("Another program has this port, and not %s.", name), v.anotherPort()})
}

func (v *visit) anotherPort() string {
	if v.o.Kind == Local {
		return "give the address that `go run ./demo` has printed with -gateway"
	}
	return "give the proxy's address with -gateway, or its port in TRAEFIK_PORT"
}

var (
	tags = regexp.MustCompile(`(?s)<(style|title|script)\b.*?</(style|title|script)>|<[^>]*>`)
	// https://www.w3.org/TR/trace-context-2/#traceresponse-header, with the parts that may be left out.
	traceResponse = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)
)

// firstText is the first words of a page.
func firstText(body []byte) string {
	text := firstLine([]byte(tags.ReplaceAllString(string(body[:min(len(body), 8192)]), "")))
	if text == "" {
		return "(an empty answer)"
	}
	return text
}

// traceID reads which trace the service says the request was.
func (v *visit) traceID(context.Context) outcome {
	value := v.response.header.Get("traceresponse")
	off := Cause{"Tracing is switched off, by TRACING=false or OTEL_SDK_DISABLED=true.",
		"TRACING=true docker compose up -d"}
	if v.o.Kind == Local {
		off = Cause{"Tracing is switched off, by OTEL_SDK_DISABLED=true.", "take it from the service's environment"}
	}
	knownOff := v.o.Getenv != nil && v.o.Getenv("TRACING") == "false"
	if knownOff {
		off.Why = "Tracing is switched off: TRACING=false is set here."
	}
	if value == "" {
		other := Cause{fmt.Sprintf("The proxy's route for %s leads to a plain service, which knows of no trace.", caller),
			"see conf/traefik/routes.yaml"}
		if regexp.MustCompile(`Trace: <code>.*[0-9a-f]{32}`).Match(v.response.body) {
			return broken("no traceresponse header, though the page names a trace",
				Cause{"Something between the service and here takes the header traceresponse away.",
					"look for rules on response headers in the proxy"})
		}
		return broken("the answer has no traceresponse header", off, other)
	}
	match := traceResponse.FindStringSubmatch(value)
	if match == nil || strings.Trim(match[1], "0") == "" {
		return broken(fmt.Sprintf("traceresponse is %q, which names no trace", value),
			Cause{"Something on the way has written another header of that name.", "curl -i -H 'Host: " + caller + ".localhost' " + v.o.Gateway})
	}
	v.id = match[1]
	if !strings.ContainsAny(match[3][1:], "13579bdf") { // the last bit of the flags is `sampled`
		causes := []Cause{
			{"The proxy decided against this trace, and " + caller + " obeys its caller (OTEL_TRACES_SAMPLER=parentbased_...).",
				v.change("set OTEL_TRACES_SAMPLER=always_on, or the proxy's --tracing.samplerate=1", "traefik", caller, callee)},
			{"OTEL_TRACES_SAMPLER of " + caller + " is always_off, or a ratio that this trace fell out of.",
				v.change("set OTEL_TRACES_SAMPLER=always_on", caller, callee)},
		}
		if v.o.Kind == Compose {
			causes = append([]Cause{off}, causes...)
		}
		return broken(v.id+" was not sampled, so nothing of it is sent anywhere", causes...)
	}
	return fine("%s, sampled", v.id)
}

// tempoReady asks the trace back end whether it is there, and grants one that has just been started its time.
func (v *visit) tempoReady(ctx context.Context) outcome {
	name := part(v.o.Kind, "tempo")
	var res response
	var err error
	v.poll(ctx, v.within(20*time.Second), name+" is starting", func(ctx context.Context) bool {
		res, err = v.ask(ctx, v.o.Tempo, "/ready", nil)
		return err != nil || res.status != http.StatusServiceUnavailable
	})
	switch {
	case err != nil:
		return v.unreachable(name, "tempo", v.o.Tempo, err)
	case res.status == http.StatusServiceUnavailable:
		return broken("not ready: "+firstLine(res.body),
			Cause{name + " is still starting, or one of its parts cannot.", v.logs(name)},
			Cause{name + " cannot write its volume, /var/tempo.", v.logs(name)})
	case res.status != http.StatusOK:
		return broken(fmt.Sprintf("/ready answers %d: %s", res.status, firstLine(res.body)),
			Cause{"Another program has this port, and not " + name + ".", "give its address with -tempo"})
	}
	return fine("ready at %s", v.o.Tempo)
}

// expected is a span that every request of the instrumented pair has.
type expected struct {
	service, name, kind string
	parent              int // index; -1 for none
}

// The service of the proxy's own spans is the proxy's name.
func (v *visit) expected() []expected {
	proxy := part(v.o.Kind, "proxy")
	return []expected{
		{proxy, "GET", "server", -1},
		{proxy, "ReverseProxy", "client", 0},
		{caller, "handle_incoming_call", "server", 1},
		{caller, "redis_call", "client", 2},
		{caller, "other_uservice_call", "client", 2},
		{callee, "handle_incoming_call", "server", 4},
		{callee, "database_call", "client", 5},
	}
}

// match finds the expected spans; what has not arrived is nil. The proxy may have another name than the usual one. A span
// of ours may be by a service that does not say its name: it is known by its place in the tree then.
func (v *visit) match() []*tempo.Span {
	want := v.expected()
	found := make([]*tempo.Span, len(want))
	if v.trace == nil {
		return found
	}
	ours := func(service string) bool { return strings.HasPrefix(service, "uservice") }
	for i, e := range want {
		for _, s := range v.trace.Spans {
			if s.Name != e.name || found[i] != nil {
				continue
			}
			isProxy := e.service == want[0].service
			if s.Service == e.service || isProxy && !ours(s.Service) {
				found[i] = s
			}
		}
	}
	for i, e := range want {
		if found[i] != nil || e.parent < 0 {
			continue
		}
		for _, s := range v.trace.Spans {
			taken := false
			for _, f := range found {
				taken = taken || f == s
			}
			parent := found[e.parent]
			if s.Name == e.name && !taken && !ours(s.Service) && parent != nil && s.ParentID == parent.SpanID {
				found[i] = s
			}
		}
	}
	return found
}

// fetch gets what there is of the trace. Less than before is not taken: Tempo may be moving it.
func (v *visit) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	t, err := v.backend.Trace(ctx, v.id)
	switch {
	case errors.Is(err, tempo.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	if v.trace == nil || len(t.Spans) >= len(v.trace.Spans) {
		v.trace = t
	}
	return nil
}

func all(spans []*tempo.Span) bool {
	for _, s := range spans {
		if s == nil {
			return false
		}
	}
	return true
}

// header judges from the spans who started the trace, and whether everybody went on with it.
func (v *visit) header(ctx context.Context) outcome {
	proxy := part(v.o.Kind, "proxy")
	var lastErr error
	var ownTrace bool  // uservice3 has started it
	var another string // the id of the trace that uservice4 was in
	var proven [2]bool // by proxy to uservice3, by uservice3 to uservice4
	v.poll(ctx, v.wait(10*time.Second), "the spans arrive", func(ctx context.Context) bool {
		if lastErr = v.fetch(ctx); lastErr != nil || v.trace == nil {
			return false
		}
		found := v.match()
		if s := found[2]; s != nil {
			ownTrace = s.ParentID == ""
			proven[0] = !ownTrace
		} else if found[1] != nil {
			proven[0] = true // uservice3 named the id of the trace that the proxy is in
		}
		if s := found[4]; s != nil {
			for _, event := range s.Events {
				answered, _ := event.Attributes["traceresponse"].(string)
				if m := traceResponse.FindStringSubmatch(answered); m != nil {
					proven[1] = m[1] == v.id
					if !proven[1] {
						another = m[1]
					}
				}
			}
		}
		if found[5] != nil {
			proven[1] = true
		}
		return ownTrace || another != "" || proven[0] && proven[1]
	})
	switch {
	case ctx.Err() != nil:
		return outcome{}
	case lastErr != nil && v.trace == nil:
		return v.badTempo(lastErr)
	case v.trace == nil:
		return skipped("cannot be told: no span of the trace has arrived")
	case ownTrace:
		return v.notContinued(ctx, proxy)
	case another != "":
		return broken(fmt.Sprintf("%s is in a trace of its own, %s", callee, another),
			Cause{fmt.Sprintf("%s and %s speak different propagation formats.", caller, callee), v.samePropagators()},
			Cause{fmt.Sprintf("Something between %s and %s drops or damages the header.", caller, callee), v.logs(callee) + ", and look at headers"})
	case proven[0] && proven[1]:
		who := "the proxy"
		if found := v.match(); found[1] != nil {
			who = found[1].Service
		}
		return fine("started by %s, continued by %s and %s", who, caller, callee)
	case proven[0]:
		return fine("continued by %s; of %s nothing can be told", caller, callee)
	case proven[1]:
		return fine("continued by %s; who started it cannot be told", callee)
	}
	return skipped("cannot be told from the spans that have arrived")
}

func (v *visit) badTempo(err error) outcome {
	name := part(v.o.Kind, "tempo")
	return broken(err.Error(),
		Cause{name + " is in trouble, or another program answers in its place.", v.logs(name)})
}

func (v *visit) samePropagators() string {
	if v.o.Kind == Local {
		return "start it without -propagators and -break: go run ./demo"
	}
	return "docker compose config | grep PROPAGATORS, make them the same, then: docker compose up -d"
}

// notContinued tells why uservice3 took itself for the first. Its log line has the headers that arrived; the proxy's own
// trace, if there is one, shows that it traced at all.
func (v *visit) notContinued(ctx context.Context, proxy string) outcome {
	orphan := v.orphan(ctx)
	headers := v.arrived(ctx)
	detail := fmt.Sprintf("%s started a trace of its own", caller)
	if orphan != "" {
		detail += fmt.Sprintf("; %s was in another, %s", proxy, orphan)
	} else {
		detail += fmt.Sprintf("; of %s there is no trace at all", proxy)
	}
	formats := Cause{fmt.Sprintf("%s and %s speak different propagation formats: one writes what the other does not read.", proxy, caller),
		v.samePropagators()}
	dropped := Cause{"The header was damaged or dropped on the way by something that changes headers.",
		"look for such rules in " + proxy + "; curl past it, to the service's own port, to compare"}
	if v.o.Kind == Local {
		dropped.Do = "see " + v.o.Explorer + ", Ledger: it has the header as it left and as it arrived"
	}
	off := Cause{fmt.Sprintf("%s does not trace, so it sends no header.", proxy),
		v.change("TRACING=true, and in traefik's command --tracing=true with --tracing.otlp.grpc.endpoint=tempo:4317", proxy)}
	if v.o.Kind == Local {
		off.Do = v.logs(proxy)
	}

	var names []string
	damaged := ""
	for _, name := range propagationHeaders {
		if value := headers[name]; value != "" {
			names = append(names, strings.ReplaceAll(name, "_", "-"))
			if form := headerForms[name]; form != nil && !form.MatchString(value) {
				damaged = strings.ReplaceAll(name, "_", "-") + ": " + value
			}
		}
	}
	carried := strings.Join(names, " and ")
	switch {
	case headers == nil && orphan != "":
		return broken(detail, formats, dropped)
	case headers == nil:
		return broken(detail, off, formats, dropped)
	case damaged != "":
		dropped.Why = fmt.Sprintf("The header was damaged on the way, and %s ignored it: %s", caller, damaged)
		return broken(detail, dropped, formats)
	case carried == "" && orphan != "":
		dropped.Why = fmt.Sprintf("No propagation header arrived at %s, though %s traces: it was dropped on the way, or OTEL_PROPAGATORS of %s is none.", caller, proxy, proxy)
		return broken(detail, dropped, formats)
	case carried == "":
		off.Why = fmt.Sprintf("No propagation header arrived at %s: %s does not trace, so it sends none.", caller, proxy)
		return broken(detail, off)
	}
	formats.Why = fmt.Sprintf("%s arrived at %s, which did not go on with it: it reads another format. OTEL_PROPAGATORS of %s and %s differ.", carried, caller, proxy, caller)
	return broken(detail, formats)
}

// propagationHeaders are those that the services may read, by the names that log lines have.
var propagationHeaders = []string{"uber_trace_id", "traceparent", "b3", "x_b3_traceid", "x_amzn_trace_id", "ot_tracer_traceid"}

// headerForms are those that are checked: Jaeger's {trace}:{span}:{parent}:{flags}, and W3C's as in
// https://www.w3.org/TR/trace-context/#traceparent-header.
var headerForms = map[string]*regexp.Regexp{
	"uber_trace_id": regexp.MustCompile(`^[0-9a-f]{1,32}:[0-9a-f]{1,16}:[0-9a-f]{1,16}:[0-9a-f]{1,2}$`),
	"traceparent":   regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}`),
}

// orphan looks for the trace of the proxy that this request should have been in: the one whose client span encloses what
// uservice3 did. It is empty when there is none.
func (v *visit) orphan(ctx context.Context) (id string) {
	served := v.match()[2]
	if served == nil {
		return ""
	}
	const skew = 50 * time.Millisecond // between clocks
	v.poll(ctx, v.within(5*time.Second), "the proxy's own trace can be searched", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		list, err := v.backend.Search(ctx, tempo.Query{Tags: map[string]string{"name": "ReverseProxy"}, Limit: 50,
			Start: served.Start.Add(-2 * time.Second), End: time.Now().Add(time.Second)})
		if err != nil {
			return false
		}
		for _, found := range list {
			t, err := v.backend.Trace(ctx, found.TraceID)
			if err != nil || found.TraceID == v.id {
				continue
			}
			continued := false
			for _, s := range t.Spans {
				continued = continued || s.Kind == "server" && s.ParentID != ""
			}
			for _, s := range t.Spans {
				if !continued && s.Name == "ReverseProxy" && s.Start.Before(served.Start.Add(skew)) && s.End.After(served.End.Add(-skew)) {
					id = t.ID
				}
			}
		}
		return id != ""
	})
	return id
}

// arrived returns the headers of the request as uservice3 logged them, if Loki has the line, or the ledger of a run without
// Docker; nil means that it is not known.
func (v *visit) arrived(ctx context.Context) (headers map[string]string) {
	if v.o.Explorer != "" {
		return v.ledger(ctx)
	}
	if v.o.Loki == "" {
		return nil
	}
	v.poll(ctx, v.within(3*time.Second), "Loki has the request's headers", func(ctx context.Context) bool {
		lines, err := v.lines(ctx, fmt.Sprintf(`{service_name=%q} | trace_id=%q |= "request"`, caller, v.id), 5*time.Minute, 10)
		if err != nil {
			return true
		}
		for _, labels := range lines {
			for name, value := range labels {
				if header, ok := strings.CutPrefix(name, "headers_"); ok {
					if headers == nil {
						headers = map[string]string{}
					}
					headers[header] = value
				}
			}
		}
		return headers != nil
	})
	return headers
}

// ledger asks the page of a run without Docker for the propagation headers that arrived at uservice3. Its JSON is that of
// package ledger.
func (v *visit) ledger(ctx context.Context) map[string]string {
	var answer struct {
		Requests []struct {
			Hops []struct {
				To      string `json:"to"`
				Arrived struct {
					Headers []struct {
						Name  string `json:"name"`
						Value string `json:"value"`
					} `json:"headers"`
				} `json:"arrived"`
			} `json:"hops"`
		} `json:"requests"`
	}
	if err := v.askJSON(ctx, v.o.Explorer, "/api/ledger", url.Values{"trace": {v.id}}, &answer); err != nil {
		return nil
	}
	for _, r := range answer.Requests {
		for _, hop := range r.Hops {
			if hop.To != caller {
				continue
			}
			headers := map[string]string{}
			for _, h := range hop.Arrived.Headers {
				headers[strings.ReplaceAll(strings.ToLower(h.Name), "-", "_")] = h.Value
			}
			return headers
		}
	}
	return nil
}

// spans holds the trace against the seven spans that it should have.
func (v *visit) spans(ctx context.Context) outcome {
	if v.states[linkHeader] == Broken {
		return skipped("needs: " + linkHeader)
	}
	var lastErr error
	v.poll(ctx, v.wait(10*time.Second), "the spans arrive", func(ctx context.Context) bool {
		lastErr = v.fetch(ctx)
		return lastErr == nil && all(v.match())
	})
	if v.trace == nil && lastErr != nil {
		return v.badTempo(lastErr)
	}
	want, found := v.expected(), v.match()
	if v.trace == nil {
		return broken(fmt.Sprintf("none of %d has arrived", len(want)), v.notSent(ctx, "no process", want[0].service, caller, callee)...)
	}
	var missing, wrong []string
	var senders []string
	unnamed := ""
	for i, e := range want {
		s := found[i]
		if s == nil {
			missing = append(missing, e.service+" "+e.name)
			if len(senders) == 0 || senders[len(senders)-1] != e.service {
				senders = append(senders, e.service)
			}
			continue
		}
		if i >= 2 && s.Service != e.service {
			unnamed = s.Service
			wrong = append(wrong, fmt.Sprintf("%s is by %q, not %s", e.name, s.Service, e.service))
		}
		if s.Kind != e.kind {
			wrong = append(wrong, fmt.Sprintf("%s %s is of kind %s, not %s", e.service, e.name, s.Kind, e.kind))
		}
		if e.parent < 0 && s.ParentID != "" {
			wrong = append(wrong, fmt.Sprintf("%s %s has a parent", e.service, e.name))
		}
		if e.parent >= 0 && found[e.parent] != nil && s.ParentID != found[e.parent].SpanID {
			wrong = append(wrong, fmt.Sprintf("%s %s is not below %s %s", e.service, e.name, want[e.parent].service, want[e.parent].name))
		}
	}
	switch {
	case len(missing) > 0:
		return broken(fmt.Sprintf("%d of %d missing: %s", len(missing), len(want), strings.Join(missing, ", ")),
			v.notSent(ctx, strings.Join(senders, " and "), senders...)...)
	case unnamed != "":
		return broken(strings.Join(wrong, "; "),
			Cause{"OTEL_SERVICE_NAME is not set for that service, so that the SDK made a name up.",
				v.change("set OTEL_SERVICE_NAME", caller, callee)})
	case len(wrong) > 0:
		return broken("all there, and not as they should be: "+strings.Join(wrong, "; "),
			Cause{"The instrumentation of that service was changed.", "compare with docs/instrumentation.diff"})
	}
	return fine("all %d, of %s, %s and %s, each below its parent", len(want), found[0].Service, caller, callee)
}

// notSent tells why spans of processes do not arrive.
func (v *visit) notSent(ctx context.Context, who string, senders ...string) []Cause {
	logs := v.logs(strings.Join(senders, " "))
	for _, sender := range senders {
		// Our services say so themselves, once a minute; their log lines take another way.
		if v.o.Loki == "" || !strings.HasPrefix(sender, "uservice") {
			continue
		}
		lines, err := v.lines(ctx, fmt.Sprintf(`{service_name=%q} | what="spans" |= "does not reach the back end"`, sender), 5*time.Minute, 1)
		if err == nil && len(lines) > 0 {
			return []Cause{{fmt.Sprintf("%s cannot reach the back end: its log says that it sends spans to %s in vain.", sender, lines[0]["endpoint"]),
				v.change("correct OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, http://tempo:4317", sender)}}
		}
	}
	if v.o.Kind == Local {
		logs = v.logs(strings.Join(senders, " or "))
	}
	if len(senders) == 3 {
		return []Cause{
			{"They send to another place than the Tempo that was asked: the endpoint's host, port or scheme is wrong.", logs},
			{"OTEL_TRACES_EXPORTER is none or console.", v.change("set OTEL_TRACES_EXPORTER=otlp", senders...)},
			{"Tempo refuses or drops what it gets.", "curl -s " + v.o.Tempo + "/metrics | grep -E 'discarded_spans|spans_received'"},
		}
	}
	return []Cause{
		{fmt.Sprintf("%s should have sent them, and cannot reach the back end: its OTLP endpoint is wrong (http://host:4317, scheme and port included).", who), logs},
		{fmt.Sprintf("%s does not export: its tracing is off, or OTEL_TRACES_EXPORTER is none or console.", who), v.change("set OTEL_TRACES_EXPORTER=otlp", senders...)},
		{fmt.Sprintf("%s was killed before its batch left, or keeps batches for long (OTEL_BSP_SCHEDULE_DELAY), or its queue was full.", who), logs},
	}
}

// hostOf is the host and port of a URL, for people.
func hostOf(target string) string {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		return u.Host
	}
	return target
}
