// Sentences, as the explorer writes them: in pieces, of which some name a span or a trace.

import { h, icon } from "./dom.js";
import { multiline, visible } from "./format.js";

// say makes a sentence of its pieces, and links of those that have an id.
export function say(pieces) {
  return pieces.map((piece) => (piece.trace
    ? h("a", { class: piece.span ? "span-link" : "part-link", href: `/trace/${piece.trace}${piece.span ? "#" + piece.span : ""}` }, visible(piece.text))
    : multiline(piece.text)));
}

// note is a sentence or two with a sign before them.
export function note({ kind, icon: symbol, title, text }) {
  if (kind === "mystery") return h("div", { class: "note mystery" }, h("p", { class: "note-title" }, visible(title)), h("p", {}, ...say(text)));
  return h("p", { class: kind || symbol ? "note " + kind : "hint" }, symbol && icon(symbol),
    h("span", {}, title && h("strong", {}, visible(title) + " "), h("span", { class: "pre" }, ...say(text))));
}

// spanLink names a span of a trace, and opens it.
export function spanLink(span, trace) {
  return h("a", { class: "span-link", href: `/trace/${trace.id}#${span.span_id}` }, visible(span.name) || "(no name)", h("span", { class: "of" }, " of " + visible(span.service)));
}
