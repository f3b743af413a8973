// A trace as Tempo's JSON has it (OpenTelemetry's protobuf in JSON: github.com/open-telemetry/opentelemetry-proto, with
// ids in base64), and what the page makes of it: a tree with times in milliseconds since the trace began.

// parse returns null while the store knows no span of the trace.
export function parse(text) {
  const answer = JSON.parse(text);
  const data = answer.trace ?? answer;
  const spans = [];
  for (const rs of data.resourceSpans ?? data.batches ?? []) {
    const resource = attributes(rs.resource?.attributes);
    const service = String(resource.find((a) => a.key === "service.name")?.value ?? "") || "unknown service";
    for (const ss of rs.scopeSpans ?? rs.instrumentationLibrarySpans ?? []) {
      for (const s of ss.spans ?? []) spans.push(decode(s, service, resource, ss.scope ?? {}));
    }
  }
  return spans.length ? build(spans, answer) : null;
}

function decode(s, service, resource, scope) {
  return {
    id: hex(s.spanId), parentID: hex(s.parentSpanId), traceID: hex(s.traceId),
    service, resource, scope,
    name: s.name ?? "",
    kind: word(s.kind, "SPAN_KIND_", ["unspecified", "internal", "server", "client", "producer", "consumer"]),
    status: word(s.status?.code, "STATUS_CODE_", ["unset", "ok", "error"]),
    message: s.status?.message ?? "",
    startNano: nano(s.startTimeUnixNano), endNano: nano(s.endTimeUnixNano),
    attributes: attributes(s.attributes),
    rawEvents: s.events ?? [], links: s.links ?? [],
    children: [], parent: null, depth: 0,
  };
}

// hex turns the base64 of an id into digits. An id that is digits already stays: some stores write it so.
function hex(id) {
  if (!id) return "";
  if (/^([0-9a-f]{16}|[0-9a-f]{32})$/i.test(id)) return id.toLowerCase();
  try {
    return Array.from(atob(id), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  } catch {
    return id;
  }
}

function word(value, prefix, words) {
  if (typeof value === "number") return words[value] ?? words[0];
  return typeof value === "string" ? value.replace(prefix, "").toLowerCase() : words[0];
}

function nano(value) {
  try { return BigInt(value ?? 0); } catch { return 0n; }
}

function attributes(list) {
  return (list ?? []).map((a) => ({ key: a.key ?? "", ...anyValue(a.value) }));
}

function anyValue(v = {}) {
  if ("stringValue" in v) return { value: v.stringValue, type: "string" };
  if ("intValue" in v) return { value: String(v.intValue), type: "int" };
  if ("doubleValue" in v) return { value: String(v.doubleValue), type: "double" };
  if ("boolValue" in v) return { value: String(v.boolValue), type: "bool" };
  if ("bytesValue" in v) return { value: v.bytesValue, type: "bytes, base64" };
  if ("arrayValue" in v) return { value: JSON.stringify((v.arrayValue.values ?? []).map(plain)), type: "list" };
  if ("kvlistValue" in v) return { value: JSON.stringify(plain(v)), type: "map" };
  return { value: "", type: "empty" };
}

function plain(v = {}) {
  if (v.arrayValue) return (v.arrayValue.values ?? []).map(plain);
  if (v.kvlistValue) return Object.fromEntries((v.kvlistValue.values ?? []).map((a) => [a.key, plain(a.value)]));
  return v.stringValue ?? v.intValue ?? v.doubleValue ?? v.boolValue ?? v.bytesValue ?? null;
}

function build(spans, answer) {
  let first = spans[0].startNano, last = spans[0].startNano;
  for (const s of spans) {
    if (s.startNano < first) first = s.startNano;
    if (s.endNano > last) last = s.endNano;
    if (s.startNano > last) last = s.startNano;
  }
  const ms = (n) => Number(n - first) / 1e6; // exact enough: a difference, not a date
  const byID = new Map();
  for (const s of spans) {
    s.start = ms(s.startNano);
    s.end = Math.max(s.start, ms(s.endNano));
    s.backwards = s.endNano < s.startNano;
    s.duration = s.end - s.start;
    s.events = s.rawEvents.map((e) => ({ name: e.name ?? "", at: ms(nano(e.timeUnixNano)), attributes: attributes(e.attributes) }));
    // A client span and its server's may share one id (Zipkin does that); the server's is the parent of what follows.
    if (!byID.has(s.id) || s.kind === "server") byID.set(s.id, s);
  }
  spans.sort((a, b) => a.start - b.start || b.end - a.end);
  const roots = [];
  for (const s of spans) {
    const parent = byID.get(s.parentID);
    s.orphan = Boolean(s.parentID) && !parent;
    if (parent && parent !== s && !(s.children.length && isAncestor(s, parent))) {
      s.parent = parent;
      parent.children.push(s);
    } else {
      roots.push(s);
    }
  }
  // Depth first with a stack of our own: a chain of ten thousand spans is no reason to overflow the engine's.
  const order = [];
  const stack = roots.toReversed();
  while (stack.length) {
    const s = stack.pop();
    s.depth = s.parent ? s.parent.depth + 1 : 0;
    s.index = order.length;
    order.push(s);
    for (let i = s.children.length - 1; i >= 0; i--) stack.push(s.children[i]);
  }
  for (const s of order) selfTime(s);
  const root = roots.find((s) => !s.orphan) ?? roots[0];
  return {
    id: root.traceID.padStart(32, "0"),
    spans: order, roots, root,
    duration: Number(last - first) / 1e6,
    startedAt: Number(first / 1_000_000n), // milliseconds since 1970
    services: [...new Set(order.map((s) => s.service))],
    errors: order.filter((s) => s.status === "error").length,
    partial: /partial/i.test(answer.status ?? "") ? answer.message || "The store sent a part of this trace only." : "",
    find: (id) => byID.get(id) ?? null,
  };
}

// isAncestor guards against parents that go round in a circle. Only a span that has children already can be one.
function isAncestor(s, of) {
  for (let p = of; p; p = p.parent) if (p === s) return true;
  return false;
}

// selfTime finds when a span was not waiting for a child: its own interval without the union of theirs.
function selfTime(s) {
  s.self = [];
  let at = s.start;
  for (const c of s.children) { // by start
    if (c.start > at) s.self.push([at, Math.min(c.start, s.end)]);
    at = Math.max(at, c.end);
    if (at >= s.end) break;
  }
  if (at < s.end) s.self.push([at, s.end]);
  s.selfTime = s.self.reduce((sum, [from, to]) => sum + Math.max(0, to - from), 0);
}

// sums adds up self time by a key, the greatest first. Self times do not overlap within a branch, so they add up to the
// trace's duration when nothing runs side by side.
export function sums(trace, keyOf) {
  const rows = new Map();
  for (const s of trace.spans) {
    const key = keyOf(s);
    let row = rows.get(key);
    if (!row) rows.set(key, row = { key, service: s.service, name: s.name, spans: 0, errors: 0, self: 0 });
    row.spans++;
    row.self += s.selfTime;
    if (s.status === "error") row.errors++;
  }
  return [...rows.values()].sort((a, b) => b.self - a.self);
}

const value = (span, key) => span.attributes.find((a) => a.key === key)?.value;

// askedFor is the service that a request through the proxy was meant for: the host name on the proxy's server span.
export function askedFor(trace, services) {
  const host = String(value(trace.root, "server.address") ?? value(trace.root, "http.host") ?? "").toLowerCase();
  return services.find((s) => host.split(":")[0] === s.host) ?? null;
}

export const httpStatus = (trace) => value(trace.root, "http.response.status_code") ?? value(trace.root, "http.status_code") ?? "";
export const userAgent = (trace) => value(trace.root, "user_agent.original") ?? "";

// darkness finds the time that a trace leaves unexplained: a call that was answered by a service of which the trace has no
// span. It returns that service, the calling span, and the trace that the answer named if it was another; or null.
export function darkness(trace, services) {
  const candidates = [];
  const asked = askedFor(trace, services);
  if (asked) candidates.push([asked, (s) => s.service === trace.root.service]);
  for (const caller of services) {
    const called = services.find((s) => s.name === caller.calls);
    if (called) candidates.push([called, (s) => s.service === caller.name]);
  }
  for (const [service, isCaller] of candidates) {
    if (trace.services.includes(service.name)) continue;
    const calls = trace.spans.filter((s) => isCaller(s) && s.kind === "client" && !s.children.length && value(s, "http.response.status_code") !== undefined);
    const span = calls.sort((a, b) => b.duration - a.duration)[0];
    if (span) return { service, span, elsewhere: answeredTrace(span, trace.id) };
  }
  return null;
}

// answeredTrace is the id in the traceresponse that a call got, if it is not that of the trace it was made in.
function answeredTrace(span, id) {
  for (const event of span.events) {
    const response = event.attributes.find((a) => a.key === "traceresponse")?.value ?? "";
    const found = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(response)?.[1];
    if (found && found !== id) return found;
  }
  return null;
}
