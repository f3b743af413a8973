// Everything about one span.

import { announce, h, icon, setText } from "./dom.js";
import { multiline, plural, visible } from "./format.js";
import { colour } from "./colours.js";
import { logLines } from "./logs.js";
import { note, spanLink } from "./say.js";

const long = 1500; // characters of a value that are shown at once
const most = 200; // events

// spanDetails describes a span of a trace, with its log lines. close() and zoom() are what its buttons do.
export function spanDetails(span, trace, lines, { close, zoom }) {
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
  const [kind, ...sign] = { error: ["bad", icon("error"), "error"], ok: ["good", icon("ok"), "ok"] }[span.status] ?? ["", "unset"];
  const parent = trace.spans[span.parent], resource = trace.resources[span.resource] ?? [];
  return h("div", { class: "card span-card " + colour(span.service) },
    h("div", { class: "card-head" },
      h("h3", { id: "span-title" }, h("span", { class: "dot" }), visible(span.name) || "(no name)", " ", h("span", { class: "of" }, visible(span.service))),
      h("button", { type: "button", class: "quiet close", onclick: close, "aria-label": "Close the span's details" }, icon("close"))),
    h("dl", { class: "facts small" },
      fact("Status", h("span", { class: "badge " + kind }, ...sign)), fact("Kind", span.kind), span.outside && fact("Seen", "from outside, by the kernel (eBPF)"),
      fact("Starts at", span.start.text), fact("Duration", span.duration.text), fact("Self time", span.dark ? "–" : span.self_time.text),
      fact("Span id", h("code", {}, visible(span.span_id)), span.callee && h("span", {}, "in the header to ", spanLink(trace.spans[span.callee], trace))),
      parent ? fact("Parent", spanLink(parent, trace), span.by_header && "by the span id in the header")
        : span.orphan && fact("Parent", h("code", {}, visible(span.parent_id)), "not in the trace store")),
    h("div", { class: "span-acts" }, copyButton("Copy span id", span.span_id), copyButton("Copy link", `${location.origin}/trace/${trace.id}#${span.span_id}`),
      h("button", { type: "button", class: "quiet", onclick: zoom }, icon("zoom"), "Zoom to it")),
    ...(span.notes ?? []).map(note),
    h("section", {}, h("h4", {}, "Attributes"), values(span.attributes, "This span has no attributes.")),
    span.events && events(span),
    lines.length > 0 && h("section", {}, h("h4", {}, "Logs"), logLines(lines)),
    span.links && h("p", { class: "hint" }, plural(span.links, "link") + " to other traces: see the raw JSON."),
    h("details", { class: "resource" }, h("summary", {}, "Resource ", h("span", { class: "of" }, plural(resource.length, "attribute"))),
      values(resource, "Nothing is known about the process that sent it."),
      span.scope && h("p", { class: "hint" }, "Instrumented by ", h("code", {}, visible(span.scope)))));
}

// copyButton copies a text.
export function copyButton(label, text) {
  const word = h("span", {}, label);
  const copy = async () => {
    // The clipboard is for secure contexts; a plain http address that is not loopback is none.
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    setText(word, done ? "Copied" : "Not allowed");
    announce(done ? "Copied." : "The browser does not allow copying here.");
    setTimeout(() => setText(word, label), 1500);
  };
  return h("button", { type: "button", class: "quiet", onclick: copy }, icon("copy"), word);
}

// events draws the events on the span's own time axis, and lists them.
function events({ events: list, duration }) {
  const at = (e) => (duration.ms ? Math.min(100, Math.max(0, e.after.ms / duration.ms * 100)) : 0) + "%";
  const shown = list.slice(0, most);
  return h("section", {}, h("h4", {}, "Events"),
    h("div", { class: "event-axis", "aria-hidden": "true" }, h("span", { class: "event-line" }),
      shown.map((e, i) => h("span", { class: "event-pin" + (e.bad ? " bad" : ""), style: { left: at(e) } }, list.length <= 9 ? String(i + 1) : ""))),
    h("div", { class: "event-ends soft", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, duration.text)),
    h("ol", { class: "events" }, ...shown.map((e) => h("li", {},
      h("p", {}, h("strong", {}, visible(e.name) || "(no name)"), " ", h("span", { class: "soft" }, "at +" + e.after.text)),
      e.attributes && values(e.attributes)))),
    list.length > most && h("p", { class: "hint" }, `and ${list.length - most} more`));
}

// values lists attributes.
export function values(list = [], none = "") {
  if (!list.length) return h("p", { class: "soft" }, none);
  return h("dl", { class: "kv" }, ...list.map(({ key, value, type = "string" }) => {
    const dd = h("dd", { title: type }, value === "" ? h("span", { class: "soft" }, type === "empty" ? "no value" : "empty") : multiline(value.slice(0, long)));
    if (value.length > long) {
      dd.append(h("button", { type: "button", class: "inline", onclick: () => { dd.replaceChildren(multiline(value)); } }, ` … all ${value.length.toLocaleString("en")} characters`));
    }
    return h("div", {}, h("dt", {}, breakable(visible(key))), dd);
  }));
}

// breakable lets a long key or name break after its dots and underscores.
export function breakable(key) {
  return key.split(/(?<=[._])/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
}
