// The hop ledger: what happened to the propagation header at every hop of one request. The data is that of package
// ledger's HTTP API.

import { h, icon } from "./dom.js";
import { visible } from "./format.js";
import { colour } from "./colours.js";
import { spanLink } from "./say.js";

const words = {
  started: ["good", "started", "No trace id arrived, so it started a trace."],
  continued: ["good", "continued", "It continued the trace whose id arrived."],
  watched: ["good", "watched", "It did nothing with the trace itself. The kernel, which watches it, passed the trace on."],
  dropped: ["warn", "dropped", "A trace id arrived, and it did nothing with it."],
  "ignored-malformed": ["bad", "ignored malformed", "It could not read what arrived."],
  "ignored-format": ["bad", "ignored format", "It does not read this format."],
  "not-received": ["bad", "not received", "No trace id arrived."],
  unknown: ["", "unknown", "The records do not say."],
};
const sources = {
  recorded: "recorded by this end",
  inferred: "inferred: the other end recorded it, and nothing is between the two",
  unknown: "nobody recorded it",
};
const outcomes = { whole: ["good", "ok"], cut: ["bad", "error"], ended: ["warn", "error"], untraced: ["warn", "error"], unknown: ["", "wait"] };

// sampledMeans stands once on a page that shows a header, or the lack of a trace.
export const sampledMeans = "Sampled (flag 1): the sender records its span, and a receiver that obeys the flag records its own too. Not sampled (flag 0): they record none.";

// Ledger is the place on the page.
export class Ledger {
  constructor(id, config) {
    this.id = id.toLowerCase().padStart(32, "0");
    this.config = config;
    this.body = h("div", { class: "ledger-body" }, h("p", { class: "soft" }, "Reading the records…"));
    this.element = h("section", { class: "card ledger", "aria-labelledby": "ledger-title" },
      h("div", { class: "card-head" }, h("h3", { id: "ledger-title" }, "Hop ledger"), h("span", { class: "soft" }, "what happened to the propagation header on the way")), this.body);
    if (!config.ledger) this.body.replaceChildren(h("p", { class: "soft" }, "Nobody keeps a ledger here: this explorer did not start the services, so it cannot read their logs. ",
      h("code", {}, "go run ./demo"), " keeps one, and ", h("code", {}, "docker compose logs | go run ./demo ledger"), " makes one from a compose stack's logs."));
  }

  // show draws what is known of the requests of a trace, which is null as long as no span has arrived.
  show(requests, trace) {
    this.requests = requests ?? [];
    this.trace = trace;
    if (this.config.ledger) this.draw();
  }

  draw() {
    if (!this.requests.length) { this.body.replaceChildren(absent()); return; }
    this.body.replaceChildren(...this.requests.slice(0, 10).map((r) => request(r, this)), h("p", { class: "hint" }, sampledMeans));
    // Where both headers are shown, nobody asks.
    if (!this.headers().some((header) => header.name === "traceparent")) {
      this.body.append(h("p", { class: "hint w3c" }, "Why not W3C's traceparent? Many running systems still speak Jaeger's uber-trace-id, and so does this demo. ",
        h("code", {}, "OTEL_PROPAGATORS=tracecontext,jaeger go run ./demo"), " speaks both."));
    }
  }

  headers() {
    return headersOf(this.requests ?? []);
  }
}

// headersOf are all headers that left or arrived.
export function headersOf(requests) {
  return requests.flatMap((r) => r.hops ?? []).flatMap((x) => [...x.left?.headers ?? [], ...x.arrived?.headers ?? []]);
}

function absent() {
  return h("p", { class: "soft" }, "Nothing is recorded about this trace: its requests did not come through here, or it is older than the records.");
}

// request and hop draw what the ledger at knows.
function request(r, at) {
  const unsampled = r.outcome === "whole" && /not sampled/.test(r.summary);
  const [kind, symbol] = unsampled ? outcomes.ended : outcomes[r.outcome] ?? outcomes.unknown;
  return h("article", { class: "l-request" },
    h("p", { class: "note " + kind }, icon(symbol), h("span", {}, visible(headline(r, at)))),
    h("ol", { class: "hops" }, ...(r.hops ?? []).map((x) => hop(x, at))),
    r.untied?.length ? h("div", { class: "untied" },
      h("h4", {}, "May belong to this request"),
      h("p", { class: "soft" }, `These arrived while it was open, and nothing in them says whose they are.${r.untied_total > r.untied.length ? ` ${r.untied.length} of ${r.untied_total} are shown.` : ""}`),
      h("ol", { class: "hops" }, ...r.untied.map((x) => hop(x, at, true)))) : null);
}

// headline is the summary of a request. Spans may tell more of where its trace begins and ends than the logs, which those
// services alone write that came with the demo.
function headline(r, { id, trace }) {
  const last = (r.hops ?? []).findLast((x) => x.trace_id === id);
  const root = trace?.spans[0];
  if (r.outcome !== "whole" || !last || !root || root.orphan) return r.summary;
  const isBelow = (s, spanID) => { for (let p = s; p; p = trace.spans[p.parent]) if (p.span_id === spanID) return true; return false; };
  const to = trace.spans.findLast((s) => isBelow(s, last.span_id))?.service ?? last.to;
  const ends = root.service === to ? `in ${to} alone` : `from ${root.service} to ${to}`;
  return r.summary.replace(/^One trace, (in .+? alone|from .+? to .+?)\.(?= |$)/, () => `One trace, ${ends}.`);
}

// hop draws one hop; a loose one may belong to another request.
function hop(x, at, loose = false) {
  const { id, trace } = at;
  const find = (spanID) => trace?.spans.findLast((s) => s.span_id === spanID);
  const [kind, word, meaning] = words[x.action] ?? ["", visible(x.action), ""];
  // A sender that the records do not know has its own span's id in the header that arrived.
  const sent = x.from === "client" && x.arrived?.headers?.find((header) => header.trace_id === id && find(header.span_id));
  const from = loose ? "?" : sent ? find(sent.span_id).service : x.from;
  const back = x.traceresponse && { ...x.traceresponse, name: "traceresponse" };
  if (back && !back.value) {
    const answer = trace?.spans.flatMap((s) => s.answers ?? []).find((a) => a.span_id === back.span_id);
    if (answer) Object.assign(back, { value: answer.value, source: "recorded", note: `from the event "${answer.event}"` });
  }
  const answered = back?.trace_id === id && find(back.span_id);
  const who = (name) => h("span", { class: "who " + colour(name) }, ["client", "?"].includes(name) ? "" : h("span", { class: "dot" }), visible(name));
  return h("li", { class: "hop" + (loose ? " loose" : ""), "data-action": x.action, "data-from": x.from, "data-to": x.to },
    h("div", { class: "hop-head" },
      h("span", { class: "hop-who" }, who(from), h("span", { class: "arrow", "aria-label": "to" }, " → "), who(x.to)),
      h("span", { class: "badge " + kind, title: meaning }, word),
      x.kernel ? h("span", { class: "badge", title: "The sender is not instrumented and writes no header." }, loose ? "perhaps the kernel's header" : "the kernel's header") : null,
      x.status ? h("span", { class: x.status >= 500 ? "hop-status bad" : "hop-status" }, String(x.status)) : null,
      x.ambiguous ? h("span", { class: "badge", title: "It may belong to another request of the same trace." }, "ambiguous") : null),
    h("p", { class: "hop-says" }, ...carries(x, at), visible(x.says)),
    h("div", { class: "sides" }, side("left " + (loose ? "its sender" : visible(from)), x.left, id), side("arrived at " + visible(x.to), x.arrived, id)),
    back ? h("div", { class: "back-again" }, h("span", { class: "side-name" }, "came back", back.source === "inferred" ? " (inferred)" : "", answered ? [", with the span id of ", spanLink(answered, trace)] : ""), header(back, id, back.source)) : null);
}

// carries says whose span's id the headers carry that arrived, a sentence for each span.
function carries(x, at) {
  const bySpan = new Map();
  for (const header of (x.arrived?.source === "unknown" ? x.left : x.arrived)?.headers ?? []) {
    const key = header.trace_id + header.span_id;
    if (header.valid && header.span_id) bySpan.set(key, [...bySpan.get(key) ?? [], header]);
  }
  return [...bySpan.values()].flatMap((same) => [visible(same.map((header) => header.name).join(" and ")),
    same.length > 1 ? " carry " : " carries ", ...whose(x, same[0], at), ". "]);
}

function whose(x, header, { id, trace }) {
  const span = header.trace_id === id && trace?.spans.findLast((s) => s.span_id === header.span_id);
  const passed = header.sender && header.sender !== x.from ? `, passed on by ${visible(x.from)}` : "";
  if (span) return ["the span id of ", spanLink(span, trace), passed];
  const one = "the id of a span" + (header.sender ? ` of ${visible(header.sender)}` : "");
  if (header.sampled === false) return [one, " that was not recorded", passed];
  if (header.trace_id !== id) return [one, ", in ", h("a", { href: `/trace/${header.trace_id}#${header.span_id}` }, "another trace"), passed];
  return [one, " that is not in the trace store", passed];
}

function side(name, s, id) {
  const source = s?.source ?? "unknown";
  return h("div", { class: "side " + source }, h("span", { class: "side-name", title: sources[source] }, name, source === "recorded" ? "" : h("span", { class: "source" }, source === "inferred" ? " (inferred)" : "")),
    source === "unknown" ? h("p", { class: "soft" }, "not recorded")
      : s.headers?.length ? s.headers.map((x) => header(x, id)) : h("p", { class: "nothing" }, "no propagation header"));
}

// header shows one header's value with its parts marked: the trace id, the span id, and the flags.
function header(x, id, source = "recorded") {
  const part = (cls, text, title) => h("span", { class: "part " + cls, title }, visible(text));
  let value;
  if (!x.value && source === "inferred") {
    value = [h("span", { class: "soft" }, "not in the logs; the receiver's ids are "), part("p-trace", x.trace_id, "trace id"), " ", part("p-span", x.span_id, "span id"),
      x.trace_id === id ? "" : h("span", { class: "soft" }, "; an event in that trace may have it")];
  } else {
    value = marked(x.value ?? "", [[x.trace_id, "p-trace", "trace id"], [x.span_id, "p-span", "span id"]], part);
  }
  const foreign = x.trace_id && x.trace_id !== id;
  const facts = [
    x.flags && `flags ${x.flags}`,
    x.sampled === true ? "sampled" : x.sampled === false ? "not sampled" : "",
  ].filter(Boolean).map(visible);
  return h("div", { class: "l-header" + (x.valid ? "" : " invalid") },
    h("code", {}, h("span", { class: "h-name" }, visible(x.name) + ": "), ...value),
    h("p", { class: "h-facts" },
      x.valid ? facts.length ? h("span", {}, facts.join(", ")) : null : h("span", { class: "problem" }, icon("error"), visible(x.problem || "not valid")),
      foreign ? h("span", { class: "problem" }, icon("error"), "another trace: ", h("a", { href: "/trace/" + x.trace_id }, x.trace_id.slice(0, 8) + "…")) : null,
      x.note ? h("span", {}, visible(x.note)) : null));
}

// marked finds ids in a value, also where leading zeros are missing.
function marked(value, ids, part) {
  const out = [];
  let rest = value;
  for (const [digits, cls, title] of ids) {
    const short = digits?.replace(/^0+/, "");
    if (!short) continue;
    const written = rest.toLowerCase().includes(digits) ? digits : short;
    const at = rest.toLowerCase().indexOf(written);
    if (at < 0) continue;
    out.push(visible(rest.slice(0, at)), part(cls, rest.slice(at, at + written.length), title));
    rest = rest.slice(at + written.length);
  }
  out.push(visible(rest));
  return out;
}
