// A trace as Tempo's JSON has it (OpenTelemetry's protobuf in JSON: github.com/open-telemetry/opentelemetry-proto, with
// ids in base64), and what the page makes of it: a tree with times in milliseconds since the trace began.

import { account, isDark, lengthOf } from "./time.js";

export const sent = 6000; // milliseconds in which an exporter sends what it has, unless it is told to wait longer

// parse returns null while the store knows no span of the trace.
export function parse(text) {
  const answer = JSON.parse(text);
  const spans = [];
  for (const rs of answer.trace?.resourceSpans ?? []) {
    const resource = attributes(rs.resource?.attributes);
    const service = String(resource.find((a) => a.key === "service.name")?.value ?? "") || "unknown service";
    for (const ss of rs.scopeSpans ?? []) {
      for (const s of ss.spans ?? []) spans.push(decode(s, service, resource, ss.scope ?? {}));
    }
  }
  return spans.length ? build(spans, answer) : null;
}

function decode(s, service, resource, scope) {
  return {
    id: hex(s.spanId), parentID: hex(s.parentSpanId), traceID: hex(s.traceId),
    service, resource, scope,
    outside: resource.some((a) => a.key === "telemetry.distro.name" && a.value === "opentelemetry-ebpf-instrumentation"),
    name: s.name ?? "",
    kind: word(s.kind, "SPAN_KIND_", "unspecified"),
    status: word(s.status?.code, "STATUS_CODE_", "unset"),
    message: s.status?.message ?? "",
    startNano: nano(s.startTimeUnixNano), endNano: nano(s.endTimeUnixNano),
    attributes: attributes(s.attributes),
    rawEvents: s.events ?? [], links: s.links ?? [],
    children: [], parent: null, depth: 0,
  };
}

// hex turns the base64 of an id into digits.
const hex = (id = "") => Array.from(atob(id), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");

const word = (name, prefix, none) => name?.replace(prefix, "").toLowerCase() ?? none;

const nano = (text) => BigInt(text ?? 0);

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
    s.top = s.parent ? s.parent.top : s;
    s.dark = isDark(s);
    s.index = order.length;
    order.push(s);
    for (let i = s.children.length - 1; i >= 0; i--) stack.push(s.children[i]);
  }
  const duration = Number(last - first) / 1e6;
  const root = roots.find((s) => !s.orphan) ?? roots[0];
  return {
    id: root.traceID.padStart(32, "0"),
    spans: order, roots, root,
    duration,
    unexplained: account(order, duration), // intervals
    startedAt: Number(first / 1_000_000n), // milliseconds since 1970
    services: [...new Set(order.map((s) => s.service))],
    errors: order.filter((s) => s.status === "error").length,
    partial: /partial/i.test(answer.status ?? "") ? answer.message || "The store sent only part of this trace." : "",
    find: (id) => byID.get(id) ?? null,
  };
}

// isAncestor guards against parents that go round in a circle. Only a span that has children already can be one.
function isAncestor(s, of) {
  for (let p = of; p; p = p.parent) if (p === s) return true;
  return false;
}

const value = (span, key) => span.attributes.find((a) => a.key === key)?.value;

// relays are those who only pass a request on, or make one up: a trace that begins with them is named for whom they call.
export const relays = new Set(["gateway", "traefik", "prober"]);

// askedFor is the service that was called: who the trace begins with, or behind a gateway the host name on its server span.
export function askedFor(trace, services) {
  if (!relays.has(trace.root.service)) return services.find((s) => s.name === trace.root.service) ?? null;
  const host = String(value(entry(trace), "server.address") ?? value(entry(trace), "http.host") ?? "").toLowerCase();
  return services.find((s) => host.split(":")[0] === s.host) ?? null;
}

// entry is the span that knows what was asked for: the gateway's, or else the first.
const entry = (trace) => trace.spans.find((s) => relays.has(s.service) && s.kind === "server") ?? trace.root;

export const httpStatus = (trace) => value(entry(trace), "http.response.status_code") ?? value(entry(trace), "http.status_code") ?? "";

// sameRequest reports whether two requests asked for the same, a query aside, and got the same answer.
export function sameRequest(a, b) {
  return httpStatus(a) === httpStatus(b) && ["http.request.method", "url.path"].every((key) => value(entry(a), key) === value(entry(b), key));
}

// queryOf is what a request asked for after its "?". The gateway hides the values; the ledger has them. It is null if
// nobody has.
export function queryOf(trace, requests) {
  const request = requests?.find((r) => r.hops?.some((hop) => hop.trace_id === trace.id));
  const query = request ? request.query ?? "" : value(entry(trace), "url.query") ?? "";
  return /REDACTED/.test(query) ? null : query;
}

// darkness is what a trace leaves unexplained: its intervals, and the longest call of somebody of whom the trace has no
// span, who that is, and the trace that the answer named if it was another. It is null if all is told.
export function darkness(trace, services) {
  const pieces = trace.unexplained;
  const [span] = trace.spans.filter((s) => s.dark).sort((a, b) => b.duration - a.duration);
  if (!span && !pieces.length) return null;
  const dark = { pieces, time: lengthOf(pieces), span: span ?? null, service: null, name: "", elsewhere: null };
  if (!span) return dark;
  const calls = services.find((s) => s.name === span.service)?.calls;
  const service = relays.has(span.service) ? askedFor(trace, services) : services.find((s) => s.name === calls);
  if (service && !trace.services.includes(service.name)) dark.service = service;
  dark.name = service?.name ?? String(value(span, "peer.service") ?? value(span, "server.address") ?? "the other side");
  dark.elsewhere = answers(span).find((a) => a.traceID !== trace.id)?.traceID ?? null;
  return dark;
}

// answers are the traceresponse headers that a span wrote down in its events.
export function answers(span) {
  return span.events.flatMap((event) => {
    const header = event.attributes.find((a) => a.key === "traceresponse")?.value ?? "";
    const ids = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(header);
    return ids ? [{ value: header, traceID: ids[1], spanID: ids[2], event: event.name }] : [];
  });
}
