// Everything about one span.

import { h, icon } from "./dom.js";
import { duration, multiline, plural, visible } from "./format.js";
import { colour } from "./colours.js";
import { answers } from "./trace.js";

const long = 1500; // characters of a value that are shown at once

// spanLink names a span, and opens it.
export function spanLink(span) {
  return h("a", { class: "span-link", href: `/trace/${span.traceID.padStart(32, "0")}#${span.id}` }, visible(span.name) || "(no name)", h("span", { class: "of" }, " of " + visible(span.service)));
}

// spanDetails describes a span. close() is what its button does.
export function spanDetails(span, trace, { close }) {
  const title = h("h3", { id: "span-title" }, h("span", { class: "dot" }), visible(span.name) || "(no name)", " ", h("span", { class: "of" }, visible(span.service)));
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
  const status = span.status === "error" ? [h("span", { class: "badge bad" }, icon("error"), "error")]
    : span.status === "ok" ? [h("span", { class: "badge good" }, icon("ok"), "ok")] : [h("span", { class: "badge" }, "unset")];
  const answered = (a) => (a.traceID !== trace.id ? h("a", { href: `/trace/${a.traceID}#${a.spanID}` }, "a span in another trace")
    : trace.find(a.spanID) ? spanLink(trace.find(a.spanID)) : "a span that is not in the trace store");
  const callee = span.children.find((c) => crosses(span, c));
  return h("div", { class: "card span-card " + colour(span.service) },
    h("div", { class: "card-head" }, title, h("button", { type: "button", class: "quiet close", onclick: close, "aria-label": "Close the span's details" }, icon("close"))),
    h("dl", { class: "facts small" },
      fact("Status", ...status), fact("Kind", span.kind), span.outside && fact("Seen", "from outside, by the kernel (eBPF)"),
      fact("Starts at", duration(span.start)), fact("Duration", duration(span.duration)), fact("Self time", duration(span.selfTime)),
      fact("Span id", h("code", {}, visible(span.id)), callee && h("span", {}, "in the header to ", spanLink(callee))),
      span.parent ? fact("Parent", spanLink(span.parent), crosses(span.parent, span) && "by the span id in the header")
        : span.orphan ? fact("Parent", h("code", {}, visible(span.parentID)), "not in the trace store") : null),
    span.message && h("p", { class: "note " + (span.status === "error" ? "bad" : "") }, span.status === "error" ? icon("error") : "", h("span", { class: "pre" }, multiline(span.message))),
    span.backwards && h("p", { class: "note warn" }, icon("error"), "This span ends before it starts: the clock was set back, or the times are wrong."),
    events(span),
    ...answers(span).map((a) => h("p", { class: "hint" }, "traceresponse carries the span id of ", answered(a), ".")),
    h("div", { class: "columns" },
      h("section", {}, h("h4", {}, "Attributes"), values(span.attributes, "This span has no attributes.")),
      h("section", {}, h("h4", {}, "Resource"), values(span.resource, "Nothing is known about the process that sent it."),
        span.scope.name && h("p", { class: "hint" }, "Instrumented by ", h("code", {}, visible(span.scope.name)), span.scope.version ? " " + visible(span.scope.version) : ""))),
    span.links.length ? h("p", { class: "hint" }, plural(span.links.length, "link") + " to other traces: see the raw JSON.") : null);
}

// crosses reports whether a header carried the parent's span id to the child.
const crosses = (parent, child) => child.kind === "server" && child.service !== parent.service;

// events draws the events on the span's own time axis, and lists them.
function events(span) {
  if (!span.events.length) return h("section", {}, h("h4", {}, "Events"), h("p", { class: "soft" }, "This span has no events."));
  const at = (e) => (span.duration ? Math.min(100, Math.max(0, (e.at - span.start) / span.duration * 100)) : 0) + "%";
  const axis = h("div", { class: "event-axis", "aria-hidden": "true" }, h("span", { class: "event-line" }));
  for (const [i, e] of span.events.slice(0, 200).entries()) {
    axis.append(h("span", { class: "event-pin" + (e.name === "exception" ? " bad" : ""), style: { left: at(e) } }, span.events.length <= 9 ? String(i + 1) : ""));
  }
  return h("section", {}, h("h4", {}, "Events"), axis,
    h("div", { class: "event-ends soft", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, duration(span.duration))),
    h("ol", { class: "events" }, ...span.events.slice(0, 200).map((e) => h("li", {},
      h("p", {}, h("strong", {}, visible(e.name) || "(no name)"), " ", h("span", { class: "soft" }, "at +" + duration(e.at - span.start))),
      e.attributes.length ? values(e.attributes) : null))),
    span.events.length > 200 ? h("p", { class: "hint" }, `and ${span.events.length - 200} more`) : null);
}

function values(list, none) {
  if (!list.length) return h("p", { class: "soft" }, none);
  return h("dl", { class: "kv" }, ...list.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map((a) => {
    const text = String(a.value);
    const dd = h("dd", { title: a.type }, text === "" ? h("span", { class: "soft" }, a.type === "empty" ? "no value" : "empty") : multiline(text.slice(0, long)));
    if (text.length > long) {
      const more = h("button", { type: "button", class: "inline", onclick: () => { dd.replaceChildren(multiline(text)); } }, ` … all ${text.length.toLocaleString("en")} characters`);
      dd.append(more);
    }
    return h("div", {}, h("dt", {}, breakable(visible(a.key))), dd);
  }));
}

// breakable lets a long key or name break after its dots and underscores.
export function breakable(key) {
  return key.split(/(?<=[._])/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
}
