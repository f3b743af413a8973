// The waterfall: a tree of spans, each with its bar on one time axis. Only the rows in view exist as elements, so that a
// trace of many thousand spans costs no more than what is seen of it.

import { h, icon } from "./dom.js";
import { plural, visible } from "./format.js";
import { colour } from "./colours.js";

const deepest = 14; // levels that are indented
const margin = 12; // rows kept ready above and below the view

export class Waterfall {
  // label names the tree; choose(span) is called when the reader opens a span, and with null when they close it.
  constructor(label, choose = () => {}) {
    this.choose = choose;
    this.collapsed = new Set(); // span ids
    this.rows = new Map(); // elements in the page, by key
    this.selected = null; // span
    this.active = 0; // index of the row that has, or would get, the focus
    this.axis = h("div", { class: "axis", role: "columnheader" });
    this.head = h("div", { class: "wf-row wf-head", role: "row" },
      h("div", { class: "wf-name", role: "columnheader" }, "Span"), this.axis,
      h("div", { class: "wf-num", role: "columnheader" }, "Duration"),
      h("div", { class: "wf-num wf-self", role: "columnheader", title: "Time in which the span waited for no other" }, "Self"));
    this.body = h("div", { class: "wf-body", role: "rowgroup" });
    this.element = h("div", { class: "waterfall", role: "treegrid", "aria-label": label, "aria-readonly": "true" },
      h("div", { class: "wf-headgroup", role: "rowgroup" }, this.head), this.body);
    this.element.addEventListener("scroll", () => this.soon(), { passive: true });
    this.element.addEventListener("keydown", (e) => this.key(e));
    this.element.addEventListener("click", (e) => this.click(e));
    new ResizeObserver(() => { this.height = 0; this.ticks(); this.soon(); }).observe(this.element);
  }

  // show draws a trace, or draws it again with what has arrived since. scale is the length of the axis.
  show(trace, scale = trace.duration) {
    const focused = this.element.contains(document.activeElement);
    const activeKey = this.items?.[this.active]?.key;
    this.trace = trace;
    this.scale = scale.ms || 1;
    this.scaleText = scale.text;
    this.arrange();
    if (activeKey) this.active = Math.max(0, this.items.findIndex((i) => i.key === activeKey));
    this.ticks();
    this.draw(true);
    if (focused) this.rows.get(this.items[this.active].key)?.focus({ preventScroll: true });
  }

  // arrange lists the rows that are not inside a collapsed one.
  arrange() {
    this.items = [];
    const { spans, dark } = this.trace;
    for (let i = 0; i < spans.length; i++) {
      const span = spans[i];
      this.items.push({ key: span.span_id + "/" + i, span, level: span.depth + 1 });
      if (dark?.span === i) this.items.push({ key: "dark", level: span.depth + 2 });
      if (this.collapsed.has(span.span_id)) i += span.below ?? 0;
    }
    if (dark?.span === -1) this.items.push({ key: "dark", level: 1 });
    this.active = Math.min(this.active, this.items.length - 1);
    this.element.setAttribute("aria-rowcount", this.items.length + 1);
    this.element.style.setProperty("--deepest", Math.min(deepest, spans.reduce((most, s) => Math.max(most, s.depth), 1)));
    this.element.classList.toggle("flat", spans.every((s) => !s.children));
  }

  // ticks writes the axis with round numbers, as many as there is room for.
  ticks() {
    if (!this.trace) return;
    const room = Math.max(2, Math.floor(this.axis.clientWidth / 70));
    const raw = this.scale / room;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw;
    const [unit, size] = this.scale >= 1000 ? ["s", 1000] : this.scale >= 1 ? ["ms", 1] : ["µs", 0.001];
    const labels = [h("span", { class: "tick last", style: { left: "100%" } }, this.scaleText)];
    for (let n = 0; n * step <= this.scale && n < 40; n++) {
      const at = n * step / this.scale;
      if ((1 - at) * this.axis.clientWidth > 96) labels.push(h("span", { class: "tick", style: { left: at * 100 + "%" } }, n ? `${Number((n * step / size).toPrecision(3))} ${unit}` : "0"));
    }
    this.axis.replaceChildren(h("span", { class: "unseen" }, "Timeline"), ...labels);
    this.element.style.setProperty("--step", step / this.scale * 100 + "%");
  }

  soon() {
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(false); });
  }

  // draw puts the rows that are in view into the page, and takes those out that are not.
  draw(anew) {
    if (!this.items) return;
    if (!this.height) this.height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 34;
    const { height, items } = this;
    this.body.style.height = items.length * height + "px";
    const top = Math.max(0, this.element.scrollTop - this.head.offsetHeight);
    const from = Math.max(0, Math.floor(top / height) - margin);
    const to = Math.min(items.length, Math.ceil((top + (this.element.clientHeight || 800)) / height) + margin);
    const wanted = new Map();
    for (let i = from; i < to; i++) wanted.set(items[i].key, i);
    wanted.set(items[this.active].key, this.active); // the focus must not scroll out of existence
    for (const [key, el] of this.rows) {
      if (anew || !wanted.has(key)) { el.remove(); this.rows.delete(key); }
    }
    for (const [key, i] of wanted) {
      let el = this.rows.get(key);
      if (!el) {
        el = items[i].span ? this.spanRow(items[i]) : this.darkRow(items[i]);
        this.rows.set(key, el);
        this.body.append(el);
      }
      el.style.transform = `translateY(${i * height}px)`;
      el.setAttribute("aria-rowindex", i + 2);
      el.tabIndex = i === this.active ? 0 : -1;
    }
  }

  spanRow({ key, span, level }) {
    const open = !this.collapsed.has(span.span_id);
    const failed = span.status === "error";
    const row = h("div", {
      class: `wf-row ${colour(span.service)}${failed ? " failed" : ""}${span.outside ? " outside" : ""}${span === this.selected ? " selected" : ""}`,
      role: "row", tabIndex: -1, "data-key": key, "data-span": span.span_id,
      "aria-level": level, "aria-setsize": span.siblings, "aria-posinset": span.position,
      "aria-expanded": span.children ? String(open) : null,
      "aria-selected": String(span === this.selected),
    });
    row.append(
      h("div", { class: "wf-name", role: "gridcell" },
        indent(level),
        span.children ? h("span", { class: "twist" + (open ? " open" : ""), title: open ? "Collapse" : "Expand" }, icon("twist")) : h("span", { class: "twist none" }),
        h("span", { class: "dot" }),
        h("span", { class: "wf-label" },
          h("span", { class: "wf-span" }, visible(span.name) || "(no name)"),
          h("span", { class: "wf-service" }, visible(span.service))),
        failed && h("span", { class: "wf-error" }, icon("error"), h("span", { class: "word" }, "error")),
        span.orphan && h("span", { class: "wf-note", title: "The span that this one names as its parent has not arrived." }, "parent missing"),
        span.circle && h("span", { class: "wf-note", title: "The span that this one names as its parent is below it." }, "in a circle"),
        !open && h("span", { class: "wf-note" }, "+" + span.below)),
      this.barCell(span),
      h("div", { class: "wf-num", role: "gridcell" }, span.duration.text),
      h("div", { class: "wf-num wf-self", role: "gridcell" }, span.dark ? "–" : span.self_time.text));
    return row;
  }

  barCell(span) {
    const start = span.start.ms, lasted = span.duration.ms;
    const at = (ms) => Math.min(100, Math.max(0, ms / this.scale * 100));
    const bar = h("span", { class: "bar", style: { left: at(start) + "%", width: at(start + lasted) - at(start) + "%" } });
    const cell = h("div", { class: "wf-bars", role: "gridcell", "aria-label": "starts at " + span.start.text + (span.outside ? ", seen from outside" : "") }, bar);
    const within = (ms) => (lasted ? Math.min(100, Math.max(0, (ms - start) / lasted * 100)) : 0);
    for (const [from, to] of merged(span.self ?? [], this.scale / 500)) {
      bar.append(h("span", { class: "self", style: { left: within(from) + "%", width: within(to) - within(from) + "%" } }));
    }
    for (const event of (span.events ?? []).slice(0, 50)) {
      cell.append(h("span", { class: "event" + (event.bad ? " bad" : ""), title: `${visible(event.name)} at ${event.at.text}`, style: { left: at(event.at.ms) + "%" } }));
    }
    return cell;
  }

  darkRow({ key, level }) {
    const { dark } = this.trace;
    const at = (ms) => ms / this.scale * 100;
    const pieces = merged(dark.pieces, this.scale / 500);
    const longest = pieces.reduce((a, b) => (b[1] - b[0] > a[1] - a[0] ? b : a), [0, 0]);
    return h("div", { class: "wf-row dark", role: "row", tabIndex: -1, "data-key": key, "aria-level": level, "aria-setsize": 1, "aria-posinset": 1 },
      h("div", { class: "wf-name", role: "gridcell" }, indent(level), h("span", { class: "twist none" }), h("span", { class: "dot" }),
        h("span", { class: "wf-label" }, h("span", { class: "wf-span" }, "unexplained"), h("span", { class: "wf-service" }, visible(dark.name)))),
      h("div", { class: "wf-bars", role: "gridcell" }, ...pieces.map((piece) =>
        h("span", { class: "unknown", style: { left: at(piece[0]) + "%", width: at(piece[1] - piece[0]) + "%" } }, piece === longest && at(piece[1] - piece[0]) > 25 ? h("span", {}, "unexplained") : ""))),
      h("div", { class: "wf-num", role: "gridcell" }, dark.time.text),
      h("div", { class: "wf-num wf-self", role: "gridcell" }, "–"));
  }

  // select marks a span as the open one; null marks none.
  select(span) {
    this.selected = span;
    const chosen = this.items.find((i) => span && i.span === span)?.key;
    for (const [key, el] of this.rows) {
      const is = key === chosen;
      el.classList.toggle("selected", is);
      if (el.dataset.span) el.setAttribute("aria-selected", String(is));
    }
  }

  // reveal opens what hides a span, and brings it into view.
  reveal(span, focus = false) {
    const { spans } = this.trace;
    for (let p = spans[span.parent]; p; p = spans[p.parent]) this.collapsed.delete(p.span_id);
    this.arrange();
    this.draw(true);
    this.go(this.items.findIndex((i) => i.span === span), focus);
  }

  toggle(span) {
    if (!span?.children) return;
    if (!this.collapsed.delete(span.span_id)) this.collapsed.add(span.span_id);
    this.arrange();
    this.draw(true);
    this.go(this.items.findIndex((i) => i.span === span), true);
  }

  toggleAll() {
    const parents = this.trace.spans.filter((s) => s.children);
    const all = this.collapsed.size > 0;
    this.collapsed = new Set(all ? [] : parents.map((s) => s.span_id));
    this.active = 0;
    this.arrange();
    this.draw(true);
    return !all;
  }

  go(index, focus = true) {
    if (index < 0) return;
    this.active = Math.max(0, Math.min(this.items.length - 1, index));
    const head = this.head.offsetHeight, y = this.active * this.height;
    const seen = this.element.clientHeight - head;
    if (y < this.element.scrollTop) this.element.scrollTop = y;
    else if (y + this.height > this.element.scrollTop + seen) this.element.scrollTop = y + this.height - seen;
    this.draw(false);
    if (focus) this.rows.get(this.items[this.active].key)?.focus({ preventScroll: false });
  }

  click(e) {
    const row = e.target.closest("[data-key]");
    const index = this.items.findIndex((i) => i.key === row?.dataset.key);
    if (index < 0) return;
    const { span } = this.items[index];
    if (span && e.target.closest(".twist:not(.none)")) { this.toggle(span); return; }
    this.go(index);
    if (span) this.choose(span);
  }

  // key does what the ARIA practices say of a treegrid whose rows have the focus.
  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const { span } = this.items[this.active] ?? {};
    const open = span?.children && !this.collapsed.has(span.span_id);
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 2);
    const moves = {
      ArrowDown: () => this.go(this.active + 1),
      ArrowUp: () => this.go(this.active - 1),
      PageDown: () => this.go(this.active + page),
      PageUp: () => this.go(this.active - page),
      Home: () => this.go(0),
      End: () => this.go(this.items.length - 1),
      ArrowRight: () => { if (span && this.collapsed.has(span.span_id)) this.toggle(span); else if (open) this.go(this.active + 1); },
      ArrowLeft: () => {
        if (open) this.toggle(span);
        else this.go(this.items.findLastIndex((i, at) => at < this.active && i.level < this.items[this.active].level));
      },
      Enter: () => span && this.choose(span),
      " ": () => span && this.choose(span),
      Escape: () => this.choose(null),
      "*": () => { this.collapsed.clear(); this.arrange(); this.draw(true); this.go(this.active); },
    };
    if (moves[e.key]) { e.preventDefault(); moves[e.key](); }
  }
}

// marks explains what a waterfall of this trace is drawn with.
export function marks({ spans, dark }) {
  const events = spans.flatMap((s) => s.events ?? []);
  const list = [
    ["mark-own", "at work"], ["mark-waits", "waits"],
    dark?.time.ms > 0 && ["unknown", "no span here covers it"],
    spans.some((s) => s.outside) && ["mark-outside", "seen from outside, not measured inside"],
    spans.some((s) => s.status === "error") && ["mark-failed", "failed"],
    events.some((e) => !e.bad) && ["event", "event"],
    events.some((e) => e.bad) && ["event bad", "error recorded"],
  ];
  return h("ul", { class: "hint key" }, ...list.filter(Boolean).map(([mark, text]) => h("li", {}, h("span", { class: mark }), text)));
}

// legend names the colours.
export function legend({ services, dark }) {
  const item = (cls, name, count) => h("li", { class: cls }, h("span", { class: "dot" }), h("span", { class: "legend-name" }, visible(name)), h("span", { class: "count" }, count));
  return h("ul", { class: "legend", "aria-label": "Services in this trace" },
    ...services.map((s) => item(colour(s.name) + (s.outside ? " outside" : ""), s.name, plural(s.spans, "span") + (s.outside ? ", seen from outside" : ""))),
    dark?.missing && item("dark", dark.missing, "no spans"));
}

function indent(level) {
  return h("span", { class: "indent", style: { "--depth": Math.min(level - 1, deepest) } });
}

// merged joins pieces with less than a visible gap between them: a span with a thousand children has a thousand pieces of
// self time, and a bar has a few hundred pixels.
function merged(pieces, gap) {
  const out = [];
  for (const [from, to] of pieces) {
    const last = out.at(-1);
    if (last && from - last[1] < gap) last[1] = to;
    else out.push([from, to]);
  }
  return out;
}
