// The log lines of a trace, in order of time, each with the way to its span.

import { h, icon } from "./dom.js";
import { clock, multiline, plural, visible } from "./format.js";
import { colour } from "./colours.js";
import { values } from "./span.js";

const long = 1500; // characters of a line
const signs = { error: "bad", fatal: "bad", warn: "warn" };

// logSection shows what the log store has of a trace, of which no span may be here.
export function logSection({ logs, trace }, id) {
  if (!logs) return "";
  const { about, bad } = logs, lines = logs.lines ?? [];
  return h("section", { class: "card logs", "aria-labelledby": "logs-title" },
    h("div", { class: "card-head" }, h("h3", { id: "logs-title" }, "Logs"), lines.length > 0 && h("span", { class: "of" }, plural(lines.length, "line"))),
    lines.length > 0 && logLines(lines, trace, id),
    about && h("p", { class: bad ? "note bad" : "soft" }, bad && icon("unplugged"), visible(about)));
}

// logLines lists lines. With a trace's id each has a link to its span.
export function logLines(lines, trace, id) {
  return h("ol", { class: "log-lines" }, ...lines.map((line) => {
    const { at, time, service, severity, text, span, span_id: spanID, attributes = [] } = line;
    const shown = multiline(text.slice(0, long)) + (text.length > long ? " …" : "");
    const fold = h("details", { ontoggle: (e) => e.target.open && !e.target.children[1] && fold.append(values(attributes)) },
      h("summary", {}, attributes.map(({ key, value }) => visible(`${key}=${value.slice(0, 200).replace(/\s+/g, " ")}`)).join("  ").slice(0, 400)));
    return h("li", { class: "log " + colour(service) },
      h("time", { class: "num", dateTime: time, title: clock(Date.parse(time)) }, at.ms < 0 ? "−" + at.text.slice(1) : "+" + at.text),
      h("span", { class: "badge " + (signs[severity] ?? "") }, visible(severity) || "–"),
      h("span", { class: "who" }, h("span", { class: "dot" }), visible(service)),
      h("div", { class: "log-text" },
        span >= 0 && id ? h("a", { href: `/trace/${id}#${spanID}`, title: "Open its span, " + visible(trace.spans[span].name) }, shown) : h("span", {}, shown),
        span < 0 && trace && h("span", { class: "wf-note" }, spanID ? "its span is not here" : "of no span"),
        attributes.length > 0 && fold));
  }));
}
