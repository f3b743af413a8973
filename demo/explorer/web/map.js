// Who calls whom in the recent traces, as the explorer has worked it out: places and numbers are its own.

import * as api from "./api.js";
import { $, h, icon, poller } from "./dom.js";
import { colour } from "./colours.js";
import { plural, visible } from "./format.js";

export class CallMap {
  constructor() {
    this.el = $("#map");
    this.poll = poller(async () => {
      if (this.el.hidden) return;
      try { this.show(await api.map()); } catch (err) {
        this.body.replaceChildren(h("div", { class: "state bad" }, icon("unplugged"),
          h("p", { class: "state-title" }, err.title ?? "The map cannot be drawn"), h("p", {}, err.message)));
        throw err;
      }
    }, 5000);
  }

  open(on) {
    if (on && this.el.hidden) {
      this.body = h("div", {}, h("p", { class: "soft", role: "status" }, "Reading the newest traces…"));
      this.el.replaceChildren(h("div", { class: "card" }, h("div", { class: "card-head" }, h("h2", { id: "map-title", tabIndex: -1 }, "Who calls whom")), this.body));
    }
    this.el.hidden = !on;
    if (on) this.poll.kick();
  }

  show({ nodes, calls, columns, rows, text }) {
    const focused = document.activeElement?.closest("#map a")?.dataset.node;
    const row = new Map(nodes.map((n) => [n.name, n.row]));
    const right = calls.some((c) => row.get(c.to) <= row.get(c.from)) ? 64 : 4; // for lines that go up again
    const x = Math.max(96, Math.min(196, (this.body.clientWidth - right) / columns)), narrow = x < 150, tall = narrow ? 84 : 66;
    const size = { x, y: tall + 46, w: x - (narrow ? 8 : 20), h: tall }; // from place to place, and of a box, in pixels
    const at = new Map(nodes.map((n) => [n.name, { x: n.column * size.x + 2, y: n.row * size.y + 6 }]));
    const line = (c) => {
      const a = at.get(c.from), b = at.get(c.to), half = size.w / 2, bend = size.y / 2;
      const up = b.y <= a.y; // or beside, or itself: around the right side
      return svg("path", { class: "call" + (c.stats.errors ? " bad" : ""), "marker-end": "url(#arrow)", d: up
        ? `M${a.x + size.w} ${a.y + 20} C${a.x + size.w + 60} ${a.y + 20} ${b.x + size.w + 60} ${b.y + 46} ${b.x + size.w + 5} ${b.y + 46}`
        : `M${a.x + half} ${a.y + size.h} C${a.x + half} ${a.y + size.h + bend} ${b.x + half} ${b.y - bend} ${b.x + half} ${b.y - 5}` });
    };
    const box = (n) => {
      const { x, y } = at.get(n.name), name = visible(n.name), { rate, median: { text: median } } = n.in;
      const failed = n.in.errors ? `${n.in.errors}${narrow ? "/" : " of "}${n.in.calls} failed` : plural(n.in.calls, "call");
      const write = (line, cls, words) => svg("text", { x: x + (narrow ? 9 : 14), y: y + 22 + 17 * line, class: cls }, words);
      const most = Math.floor((size.w - (narrow ? 10 : 20)) / 7.6); // characters of a name
      const numbers = narrow ? [write(1, "", rate), write(2, "", median)] : [write(1, "", `${rate} · ${median}`)];
      const drawn = svg("g", { class: `node ${n.silent ? "dark" : colour(n.name)}${n.in.errors ? " failed" : ""}` },
        svg("title", {}, n.silent ? `${name}, which sent no spans` : name), svg("rect", { x, y, width: size.w, height: size.h, rx: 9 }),
        svg("rect", { x, y: y + 12, width: 4, height: size.h - 24, rx: 2, class: "edge" }),
        write(0, "name", name.length > most ? name.slice(0, most - 1) + "…" : name), ...numbers, write(numbers.length + 1, "errors", failed));
      return n.listed ? svg("a", { href: "/?service=" + encodeURIComponent(n.name), "data-node": n.name }, drawn) : drawn;
    };
    const width = columns * size.x + right, height = rows * size.y - 30;
    const number = (words, bad) => h("td", { class: "num" + (bad ? " bad" : "") }, words);
    const inTable = (c) => h("tr", { class: colour(c.from) }, h("th", { scope: "row" }, `${visible(c.from)} → ${visible(c.to)}`),
      number(c.stats.calls.toLocaleString("en")), number(c.stats.rate), number(c.stats.errors.toLocaleString("en"), c.stats.errors), number(c.stats.median.text));
    this.body.replaceChildren(h("p", { class: "soft" }, text), nodes.length ? h("div", { class: "map-both" },
      h("div", { class: "map-box" + (narrow ? " narrow" : "") }, svg("svg",
        { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Map of the services; the table has the same numbers for each call" },
        svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 4, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0 8 4 0 8Z" })),
        ...calls.map(line), ...nodes.map(box))),
      h("div", { class: "table-box" }, h("table", {}, h("caption", {}, "Calls"),
        h("thead", {}, h("tr", {}, ...["Caller and callee", "Calls", "Rate", "Failed", "Median"].map((t, i) => h("th", { class: i ? "num" : "", scope: "col" }, t)))),
        h("tbody", {}, ...calls.map(inTable))))) : "");
    if (focused) $(`[data-node="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}

function svg(tag, attributes, ...children) {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}
