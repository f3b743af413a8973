// The waterfall: a tree of spans, each with its bar on one time axis. Only the rows in view exist as elements, so that a
// trace of many thousand spans costs no more than what is seen of it.

import { h, icon, remember } from "./dom.js";
import { decimal, plural, visible } from "./format.js";
import { colour } from "./colours.js";

const deepest = 14; // levels that are indented
const margin = 12; // rows kept ready above and below the view
const shortest = 1e-4; // milliseconds: nobody can zoom in further
const narrowest = 10, widest = 75; // of the names' column, in percent

export class Waterfall {
  // label names the tree. choose(span) is called when the reader opens a span, and with null when they close it; zoomed() when
  // they look at another piece of time.
  constructor(label, choose = () => {}, zoomed = () => {}) {
    this.choose = choose;
    this.zoomed = zoomed;
    this.collapsed = new Set(); // what keyOf says of spans
    this.rows = new Map(); // elements in the page, by key
    this.found = new Set(); // indices of spans
    this.selected = null; // span
    this.range = null; // the piece of time that is shown, from and to in milliseconds; null for all of it
    this.active = 0; // index of the row that has, or would get, the focus
    this.overview = h("canvas");
    this.shown = h("span", { class: "shown" });
    this.ticked = h("div", { class: "ticks" });
    this.axis = h("div", { class: "axis", role: "columnheader", title: "Drag to zoom in, double-click to see all" }, h("div", { class: "overview" }, this.overview, this.shown), this.ticked);
    this.head = h("div", { class: "wf-row wf-head", role: "row" },
      h("div", { class: "wf-name", role: "columnheader" }, "Span"), this.axis,
      h("div", { class: "wf-num", role: "columnheader" }, "Duration"),
      h("div", { class: "wf-num wf-self", role: "columnheader", title: "Time in which the span waited for no other" }, "Self"));
    this.body = h("div", { class: "wf-body", role: "rowgroup" });
    this.tree = h("div", { class: "waterfall", role: "treegrid", "aria-label": label, "aria-readonly": "true" },
      h("div", { class: "wf-headgroup", role: "rowgroup" }, this.head), this.body);
    this.split = h("div", { class: "wf-split", role: "separator", tabIndex: 0, "aria-orientation": "vertical", "aria-label": "Width of the names",
      "aria-valuemin": narrowest, "aria-valuemax": widest, title: "Drag, or use the arrow keys" });
    this.element = h("div", { class: "wf-frame" }, this.split, this.tree);
    this.tree.addEventListener("scroll", () => this.soon(), { passive: true });
    this.tree.addEventListener("keydown", (e) => this.key(e));
    this.tree.addEventListener("click", (e) => this.click(e));
    this.axis.addEventListener("pointerdown", (e) => this.dragAxis(e));
    this.axis.addEventListener("dblclick", () => this.zoom(null));
    this.split.addEventListener("pointerdown", (e) => this.dragSplit(e));
    this.split.addEventListener("keydown", (e) => this.keySplit(e));
    this.widen(Number(remember("names")) || null);
    this.resized = new ResizeObserver(() => { this.height = 0; this.ticks(); this.soon(); });
    this.resized.observe(this.tree);
  }

  // show draws a trace, or draws it again with what has arrived since. scale is the length of the axis.
  show(trace, scale = trace.duration) {
    const focused = this.tree.contains(document.activeElement) && document.activeElement.matches("[data-key]");
    const activeKey = this.items?.[this.active]?.key;
    this.trace = trace;
    this.texts = null;
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
      this.items.push({ key: span.span_id + "/" + i, span, index: i, level: span.depth + 1 });
      if (dark?.span === i) this.items.push({ key: "dark", level: span.depth + 2 });
      if (this.collapsed.has(keyOf(span))) i += span.below ?? 0;
    }
    if (dark?.span === -1) this.items.push({ key: "dark", level: 1 });
    this.active = Math.min(this.active, this.items.length - 1);
    this.chosen = this.items.findIndex((i) => i.span && i.span === this.selected);
    this.tree.setAttribute("aria-rowcount", this.items.length + 1);
    this.tree.style.setProperty("--deepest", Math.min(deepest, spans.reduce((most, s) => Math.max(most, s.depth), 1)));
    this.tree.classList.toggle("flat", spans.every((s) => !s.children));
  }

  // at is where a moment stands on the axis, in percent; what is before or after stands at its ends.
  at(ms) {
    const [from, to] = this.range ?? [0, this.scale];
    return Math.min(100, Math.max(0, (ms - from) / (to - from) * 100));
  }

  // piece is what an interval looks like, if anything of it is in the piece of time that is shown.
  piece(kind, from, to, ...inside) {
    const [first, last] = this.range ?? [0, this.scale];
    return to >= first && from <= last && h("span", { class: kind, style: { left: this.at(from) + "%", width: this.at(to) - this.at(from) + "%" } }, ...inside);
  }

  // ticks writes the axis with round numbers, as many as there is room for.
  ticks() {
    if (!this.trace) return;
    const width = this.axis.clientWidth, [from, to] = this.range ?? [0, this.scale];
    const [unit, size] = to - from >= 1000 ? ["s", 1000] : to >= 1 ? ["ms", 1] : ["µs", 0.001];
    const raw = (to - from) / Math.max(2, Math.floor(width / 84));
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw;
    const text = (ms, exact = step) => (ms ? `${decimal(ms / size, exact / size)} ${unit}` : "0");
    const last = this.range ? text(to, step / 10) : this.scaleText, labels = [h("span", { class: "tick last" }, last)];
    for (let n = Math.ceil(from / step); n * step <= to && labels.length < 40; n++) {
      const x = this.at(n * step) / 100 * width, label = text(n * step);
      if (width - x > 8 * (label.length + last.length) + 16) labels.push(h("span", { class: "tick", style: { left: x + "px" } }, label));
    }
    this.ticked.replaceChildren(h("span", { class: "unseen" }, "Timeline"), ...labels);
    const px = width / (to - from);
    this.tree.style.setProperty("--step", step * px + "px");
    this.tree.style.setProperty("--shift", -(from % step) * px + "px");
    this.element.style.setProperty("--split", this.head.firstChild.getBoundingClientRect().right - this.element.getBoundingClientRect().left + "px");
    this.split.setAttribute("aria-valuenow", Math.round(this.head.firstChild.clientWidth / this.head.clientWidth * 100));
    this.element.classList.toggle("zoomed", Boolean(this.range));
    if (this.range) this.survey(width);
  }

  // survey draws the whole trace in small, once, and marks the piece of it that is shown.
  survey(width) {
    const { overview, scale, trace: { spans }, range } = this, height = 22;
    const [from, to] = range.map((ms) => ms / scale * 100);
    this.shown.style.left = from + "%";
    this.shown.style.width = to - from + "%";
    if (this.surveyed === spans && overview.width === width) return;
    this.surveyed = spans;
    overview.width = width;
    overview.height = height;
    const style = getComputedStyle(this.tree), pen = overview.getContext("2d"), each = (height - 2) / spans.length;
    const [bad, ink] = ["--bad", "--ink-3"].map((name) => style.getPropertyValue(name));
    spans.forEach((s, i) => {
      pen.fillStyle = s.status === "error" ? bad : ink;
      pen.fillRect(s.start.ms / scale * width, i * each + 1, Math.max(1, s.duration.ms / scale * width), Math.max(0.5, each - 1));
    });
  }

  // zoom shows a piece of time; null shows all of it.
  zoom(range) {
    if (range) {
      const length = Math.min(this.scale, Math.max(shortest, range[1] - range[0]));
      const from = Math.min(this.scale - length, Math.max(0, range[0]));
      range = length < this.scale * 0.999 ? [from, from + length] : null;
    }
    this.range = range;
    this.ticks();
    this.draw(true);
    this.zoomed();
  }

  // closer zooms by a factor towards the row that has the focus.
  closer(factor) {
    const [from, to] = this.range ?? [0, this.scale], length = (to - from) * factor, { span } = this.items[this.active];
    const middle = span && factor < 1 ? span.start.ms + span.duration.ms / 2 : (from + to) / 2;
    this.zoom([middle - length / 2, middle + length / 2]);
  }

  // toSpan zooms to a span, with a little air around it.
  toSpan({ start, duration }) {
    const air = Math.max(shortest, duration.ms * 0.1);
    this.zoom([start.ms - air, start.ms + duration.ms + air]);
  }

  // dragAxis marks a piece of the axis, or of the whole trace above it, and zooms to it.
  dragAxis(e) {
    if (e.button || !this.trace) return;
    const box = this.axis.getBoundingClientRect(), [from, to] = !e.target.closest(".overview") && this.range || [0, this.scale];
    const x = (event) => Math.min(box.width, Math.max(0, event.clientX - box.left));
    const first = x(e), mark = h("span", { class: "marking" });
    drag(this.axis, e, (event) => {
      const ends = [first, x(event)].sort((a, b) => a - b);
      mark.style.left = ends[0] + "px";
      mark.style.width = ends[1] - ends[0] + "px";
      this.axis.append(mark);
      return ends;
    }, (ends) => {
      mark.remove();
      if (ends && ends[1] - ends[0] > 4) this.zoom(ends.map((end) => from + end / box.width * (to - from)));
    });
  }

  // widen gives the names a part of the width, in percent; null leaves it to the style sheet.
  widen(percent) {
    if (percent) this.element.style.setProperty("--name", Math.min(widest, Math.max(narrowest, percent)) + "%");
    else this.element.style.removeProperty("--name");
    remember("names", percent ?? "");
    this.ticks();
    this.soon();
  }

  dragSplit(e) {
    const { left, width } = this.head.getBoundingClientRect();
    drag(this.split, e, (event) => this.widen((event.clientX - left) / width * 100));
  }

  keySplit(e) {
    const now = Number(this.split.getAttribute("aria-valuenow"));
    const to = { ArrowLeft: now - 2, ArrowRight: now + 2, Home: narrowest, End: widest, Enter: null }[e.key];
    if (to === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    this.widen(to);
  }

  soon() {
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(false); });
  }

  // under shows an element below the row of the chosen span; null takes it away.
  under(element) {
    this.below?.remove();
    this.below = element && h("div", { class: "wf-under", role: "row" }, h("div", { role: "gridcell" }, element));
    if (this.below) { this.body.append(this.below); this.resized.observe(this.below); }
    this.draw(false);
  }

  // row is the element of the chosen span.
  get row() { return this.rows.get(this.items[this.chosen]?.key); }

  // y is where a row begins, in pixels; what is under the chosen one moves those below it.
  y(index) { return index * this.height + (index > this.chosen ? this.gap : 0); }

  // draw puts the rows that are in view into the page, and takes those out that are not.
  draw(anew) {
    if (!this.items) return;
    if (!this.height) this.height = parseFloat(getComputedStyle(this.tree).getPropertyValue("--row")) || 30;
    const { height, items, chosen } = this;
    if (this.below) this.below.hidden = chosen < 0;
    this.gap = this.below?.offsetHeight ?? 0;
    this.body.style.height = this.y(items.length) + "px";
    const top = Math.max(0, this.tree.scrollTop - this.head.offsetHeight);
    const index = (y) => (y < this.y(chosen) + height ? y / height : Math.max(chosen + 1, (y - this.gap) / height));
    const from = Math.max(0, Math.floor(index(top)) - margin);
    const to = Math.min(items.length, Math.ceil(index(top + (this.tree.clientHeight || 800))) + margin);
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
      el.style.transform = `translateY(${this.y(i)}px)`;
      el.setAttribute("aria-rowindex", i + 2);
      el.tabIndex = i === this.active ? 0 : -1;
    }
    if (this.gap) this.below.style.transform = `translateY(${this.y(chosen) + height}px)`;
  }

  spanRow({ key, span, index, level }) {
    const open = !this.collapsed.has(keyOf(span));
    const failed = span.status === "error";
    const row = h("div", {
      class: `wf-row ${colour(span.service)}${failed ? " failed" : ""}${span.outside ? " outside" : ""}${span === this.selected ? " selected" : ""}${this.found.has(index) ? " found" : ""}`,
      role: "row", tabIndex: -1, "data-key": key, "data-span": span.span_id,
      "aria-level": level, "aria-setsize": span.siblings, "aria-posinset": span.position,
      "aria-expanded": span.children ? String(open) : null,
      "aria-selected": String(span === this.selected),
    });
    const badge = (is, cls, symbol, word, title) => is && h("span", { class: cls, title }, icon(symbol), h("span", { class: "word" }, word));
    row.append(
      h("div", { class: "wf-name", role: "gridcell" },
        indent(level),
        span.children ? h("span", { class: "twist" + (open ? " open" : ""), title: open ? "Collapse" : "Expand" }, icon("twist")) : h("span", { class: "twist none" }),
        h("span", { class: "dot" }),
        h("span", { class: "wf-label", title: `${visible(span.name)} of ${visible(span.service)}` },
          h("span", { class: "wf-span" }, visible(span.name) || "(no name)"),
          h("span", { class: "wf-service" }, visible(span.service))),
        badge(failed, "wf-error", "error", "error", "This span failed."),
        badge(span.orphan, "wf-note", "unplugged", "parent missing", "The span that this one names as its parent has not arrived."),
        badge(span.circle, "wf-note", "circle", "in a circle", "The span that this one names as its parent is below it."),
        badge(span.repeat, "wf-note", "copy", "same id", "A span above has the same id and kind."),
        !open && h("span", { class: "wf-note" }, "+" + span.below)),
      this.barCell(span),
      h("div", { class: "wf-num", role: "gridcell" }, span.duration.text),
      h("div", { class: "wf-num wf-self", role: "gridcell" }, span.dark ? "–" : span.self_time.text));
    return row;
  }

  barCell(span) {
    const from = span.start.ms, to = from + span.duration.ms;
    const pieces = (kind, list) => this.merged(list ?? []).map((p) => this.piece(kind, ...p));
    const events = (span.events ?? []).filter((e) => this.piece("", e.at.ms, e.at.ms)).slice(0, 50);
    const bar = this.piece("bar", from, to) || h("span", { class: to < this.range?.[0] ? "beyond" : "beyond after" }, to < this.range?.[0] ? "‹" : "›");
    return h("div", { class: "wf-bars", role: "gridcell", "aria-label": "starts at " + span.start.text + (span.outside ? ", seen from outside" : "") },
      bar, ...pieces("self", span.self), ...pieces("critical", this.trace.critical && span.critical),
      ...events.map((e) => h("span", { class: "event" + (e.bad ? " bad" : ""), title: `${visible(e.name)} at ${e.at.text}`, style: { left: this.at(e.at.ms) + "%" } })));
  }

  darkRow({ key, level }) {
    const { dark } = this.trace;
    const pieces = this.merged(dark.pieces), width = ([from, to]) => this.at(to) - this.at(from);
    const longest = pieces.reduce((a, b) => (width(b) > width(a) ? b : a), [0, 0]);
    return h("div", { class: "wf-row dark", role: "row", tabIndex: -1, "data-key": key, "aria-level": level, "aria-setsize": 1, "aria-posinset": 1 },
      h("div", { class: "wf-name", role: "gridcell" }, indent(level), h("span", { class: "twist none" }), h("span", { class: "dot" }),
        h("span", { class: "wf-label" }, h("span", { class: "wf-span" }, "unexplained"), h("span", { class: "wf-service" }, visible(dark.name)))),
      h("div", { class: "wf-bars", role: "gridcell" }, ...pieces.map((p) => this.piece("unknown", ...p, p === longest && width(p) > 25 ? h("span", {}, "unexplained") : "")).filter(Boolean)),
      h("div", { class: "wf-num", role: "gridcell" }, dark.time.text),
      h("div", { class: "wf-num wf-self", role: "gridcell" }, "–"));
  }

  // merged joins pieces with less than a visible gap between them: a span with a thousand children has a thousand pieces of
  // self time, and a bar has a few hundred pixels.
  merged(pieces) {
    const [first, last] = this.range ?? [0, this.scale], gap = (last - first) / 500, out = [];
    for (const [from, to] of pieces) {
      const before = out.at(-1);
      if (to < first || from > last) continue;
      if (before && from - before[1] < gap) before[1] = to;
      else out.push([from, to]);
    }
    return out;
  }

  // select marks a span as the open one; null marks none.
  select(span) {
    this.selected = span;
    this.chosen = this.items.findIndex((i) => span && i.span === span);
    for (const [key, el] of this.rows) {
      const is = key === this.items[this.chosen]?.key;
      el.classList.toggle("selected", is);
      if (el.dataset.span) el.setAttribute("aria-selected", String(is));
    }
  }

  // reveal opens what hides a span, and brings it into view.
  reveal(span, focus = false) {
    const { spans } = this.trace;
    for (let p = spans[span.parent]; p; p = spans[p.parent]) this.collapsed.delete(keyOf(p));
    this.arrange();
    this.draw(true);
    this.go(this.items.findIndex((i) => i.span === span), focus);
  }

  toggle(span) {
    if (!span?.children) return;
    if (!this.collapsed.delete(keyOf(span))) this.collapsed.add(keyOf(span));
    this.arrange();
    this.draw(true);
    this.go(this.items.findIndex((i) => i.span === span), true);
  }

  toggleAll() {
    const parents = this.trace.spans.filter((s) => s.children);
    const all = this.collapsed.size > 0;
    this.collapsed = new Set(all ? [] : parents.map(keyOf));
    this.active = 0;
    this.arrange();
    this.draw(true);
    return !all;
  }

  // find marks the spans that have a text in their name, service, attributes, message or id, and returns how many.
  find(text) {
    const wanted = text.trim().toLowerCase(), { spans } = this.trace;
    this.texts ??= spans.map((s) => [s.name, s.service, s.span_id, s.status_message, ...(s.attributes ?? []).map((a) => a.key + "=" + a.value)].join("\n").toLowerCase());
    this.found = new Set(wanted ? [...spans.keys()].filter((i) => this.texts[i].includes(wanted)) : []);
    this.draw(true);
    return this.found.size;
  }

  // next is the next span that was found after the one at hand, or before it, and its number among them.
  next(back) {
    const found = [...this.found], now = this.items[this.active].index;
    const at = back ? found.findLastIndex((i) => i < now) : found.findIndex((i) => i > now);
    const number = at >= 0 ? at : back ? found.length - 1 : 0;
    return { span: this.trace.spans[found[number]], number: number + 1 };
  }

  go(index, focus = true) {
    if (index < 0) return;
    this.active = Math.max(0, Math.min(this.items.length - 1, index));
    const y = this.y(this.active), seen = this.tree.clientHeight - this.head.offsetHeight;
    const end = y + this.height + (this.active === this.chosen ? Math.min(this.gap, seen - this.height) : 0);
    if (end > this.tree.scrollTop + seen) this.tree.scrollTop = end - seen;
    if (y < this.tree.scrollTop) this.tree.scrollTop = y;
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

  // key does what the ARIA practices say of a treegrid whose rows have the focus, and zooms.
  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || !e.target.matches("[data-key]")) return;
    const { span } = this.items[this.active] ?? {};
    const open = span?.children && !this.collapsed.has(keyOf(span));
    const page = Math.max(1, Math.floor(this.tree.clientHeight / this.height) - 2);
    const moves = {
      ArrowDown: () => this.go(this.active + 1),
      ArrowUp: () => this.go(this.active - 1),
      PageDown: () => this.go(this.active + page),
      PageUp: () => this.go(this.active - page),
      Home: () => this.go(0),
      End: () => this.go(this.items.length - 1),
      ArrowRight: () => { if (span && this.collapsed.has(keyOf(span))) this.toggle(span); else if (open) this.go(this.active + 1); },
      ArrowLeft: () => {
        if (open) this.toggle(span);
        else this.go(this.items.findLastIndex((i, at) => at < this.active && i.level < this.items[this.active].level));
      },
      Enter: () => span && this.choose(span),
      " ": () => span && this.choose(span),
      Escape: () => (this.range ? this.zoom(null) : this.choose(null)),
      "*": () => { this.collapsed.clear(); this.arrange(); this.draw(true); this.go(this.active); },
      "+": () => this.closer(0.5),
      "-": () => this.closer(2),
      0: () => this.zoom(null),
      z: () => span && this.toSpan(span),
    };
    moves["="] = moves["+"];
    if (!moves[e.key]) return;
    e.preventDefault();
    moves[e.key]();
    if (!this.tree.contains(document.activeElement)) this.rows.get(this.items[this.active].key)?.focus({ preventScroll: true });
  }
}

// drag follows a pointer until it is let go: move(event) for each step, then end() with what the last one returned, or with
// nothing if it was taken away.
function drag(el, e, move, end = () => {}) {
  const over = new AbortController(), { signal } = over;
  let last;
  const stop = (with_) => { over.abort(); end(with_); };
  el.setPointerCapture(e.pointerId);
  el.addEventListener("pointermove", (event) => { last = move(event); }, { signal });
  el.addEventListener("pointerup", () => stop(last), { signal });
  el.addEventListener("pointercancel", () => stop(), { signal });
}

// keyOf tells a client's span from the server's, which may have the same id.
const keyOf = (span) => span.span_id + span.kind;

// marks explains what a waterfall of this trace is drawn with.
export function marks({ spans, dark, critical }) {
  const events = spans.flatMap((s) => s.events ?? []);
  const list = [
    ["mark-own", "at work"], ["mark-waits", "waits"],
    critical && ["mark-critical", "critical path"],
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
