// The hop ledger: what happened to the propagation header at every hop of one request, as package story has it.

import { h, icon } from "./dom.js";
import { visible } from "./format.js";
import { colour } from "./colours.js";
import { say } from "./say.js";

const words = {
  started: ["good", "No trace id arrived, so it started a trace."],
  continued: ["good", "It continued the trace whose id arrived."],
  dropped: ["warn", "A trace id arrived, and it did nothing with it."],
  "ignored-malformed": ["bad", "It could not read what arrived."],
  "ignored-format": ["bad", "It does not read this format."],
  "not-received": ["bad", "No trace id arrived."],
  unknown: ["", "The records do not say."],
};
const icons = { good: "ok", warn: "error", bad: "error", "": "wait" };

// Ledger is the place on the page.
export class Ledger {
  constructor(id, config) {
    this.kept = config.ledger;
    this.body = h("div", { class: "ledger-body" }, h("p", { class: "soft" }, "Reading the records…"));
    this.element = h("section", { class: "card ledger", "aria-labelledby": "ledger-title" },
      h("div", { class: "card-head" }, h("h3", { id: "ledger-title" }, "Hop ledger"), h("span", { class: "soft" }, "what happened to the propagation header on the way")), this.body);
    if (!config.ledger) this.body.replaceChildren(h("p", { class: "soft" }, "Nobody keeps a ledger here: this explorer did not start the services, so it cannot read their logs. ",
      h("code", {}, "go run ./demo"), " keeps one, and ", h("code", {}, "docker compose logs | go run ./demo ledger"), " makes one from a compose stack's logs."));
  }

  // show draws the newest requests of a trace, of a total.
  show({ requests, total, sampled_means: sampledMeans }) {
    if (!this.kept || !requests) return;
    const headers = requests.flatMap((r) => r.hops).flatMap((x) => [...(x.left ?? []), ...(x.arrived ?? [])]);
    this.body.replaceChildren(
      requests.length ? legend(headers) : "",
      ...requests.map(request),
      requests.length ? h("p", { class: "hint" }, total > requests.length ? `The newest ${requests.length} of ${total.toLocaleString("en")} requests with this trace id. ` : "", sampledMeans)
        : h("p", { class: "soft" }, "Nothing is recorded about this trace: its requests did not come through here, or it is older than the records."),
      // Where both headers are shown, nobody asks.
      requests.length && !headers.some((x) => x.name === "traceparent") ? h("p", { class: "hint w3c" }, "Why not W3C's traceparent? Many running systems still speak Jaeger's uber-trace-id, and so does this demo. ",
        h("code", {}, "OTEL_PROPAGATORS=tracecontext,jaeger go run ./demo"), " speaks both.") : "");
  }
}

// legend says what the colours and the fields of a header are.
function legend(headers) {
  if (!headers.some((x) => x.parts?.some((p) => p.kind))) return "";
  const mark = (kind, text) => h("span", { class: "part p-" + kind }, text);
  return h("p", { class: "hint l-legend" }, mark("trace", "Trace id"), " and ", mark("span", "span id"), " of the sender. ",
    headers.some((x) => x.name === "uber-trace-id") && h("span", {}, h("code", {}, "uber-trace-id"), " has four fields: trace id, span id, the id of the span's parent (",
      h("code", {}, ":0:"), ": given up, so always 0) and flags (1: sampled)."));
}

function request(r) {
  return h("article", { class: "l-request" },
    h("p", { class: "note " + r.kind }, icon(icons[r.kind]), h("span", {}, visible(r.headline))),
    h("ol", { class: "hops" }, ...r.hops.map(hop)));
}

function hop(x) {
  const [kind, meaning] = words[x.action] ?? []; // none while a fault is hidden
  const who = (name) => h("span", { class: "who " + colour(name) }, ["client", "?"].includes(name) ? "" : h("span", { class: "dot" }), visible(name));
  return h("li", { class: "hop", "data-action": x.action, "data-from": x.from, "data-to": x.to },
    h("div", { class: "hop-head" },
      h("span", { class: "hop-who" }, who(x.from), h("span", { class: "arrow", "aria-label": "to" }, " → "), who(x.to)),
      x.action && h("span", { class: "badge " + kind, title: meaning }, x.action.replace("-", " ")),
      x.status ? h("span", { class: x.status >= 500 ? "hop-status bad" : "hop-status" }, String(x.status)) : null),
    h("p", { class: "hop-says" }, ...say(x.says)),
    x.unchanged ? side(`Sent by ${visible(x.from)}, and arrived unchanged at ${visible(x.to)}`, x.arrived)
      : h("div", { class: "sides" }, side("Sent by " + visible(x.from), x.left), side("Received by " + visible(x.to), x.arrived)),
    x.back ? h("div", { class: "back-again" }, h("span", { class: "side-name" }, "Came back", x.back_of ? [", with the span id of ", ...say([x.back_of])] : ""), header(x.back)) : null);
}

function side(name, headers) {
  return h("div", { class: headers === null ? "side unknown" : "side" }, h("span", { class: "side-name" }, name),
    headers === null ? h("p", { class: "soft" }, "Not recorded")
      : headers.length ? headers.map(header) : h("p", { class: "nothing" }, "No propagation header"));
}

// header shows one header's value with its parts marked.
function header(x) {
  const problem = (...text) => h("span", { class: "problem" }, icon("error"), ...text);
  return h("div", { class: "l-header" + (x.problem ? " invalid" : "") },
    h("code", {}, h("span", { class: "h-name" }, visible(x.name) + ": "),
      ...(x.parts ?? []).map((p) => (p.kind === "trace" || p.kind === "span" ? h("span", { class: "part p-" + p.kind, title: p.kind + " id" }, visible(p.text)) : visible(p.text)))),
    h("p", { class: "h-facts" },
      x.problem ? problem(visible(x.problem)) : x.facts ? h("span", {}, visible(x.facts)) : null,
      x.another ? problem("Another trace: ", h("a", { href: "/trace/" + x.another }, x.another.slice(0, 8) + "…")) : null,
      x.note ? h("span", {}, visible(x.note)) : null));
}
