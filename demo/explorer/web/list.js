// The list of recent traces. It asks every other second and changes only what has changed: rows are kept by trace id, so
// that focus, selection and scroll position survive two hundred requests a second.

import * as api from "./api.js";
import { $, h, icon, poller, setText } from "./dom.js";
import { age, clock, plural, visible } from "./format.js";
import { colour } from "./colours.js";

const every = 1500; // milliseconds between two questions
const fewAtOnce = 3; // more new rows than this do not push away what the reader points at

export class TraceList {
  // state(ok, err) is told whether the trace store answers.
  constructor({ config, state }) {
    this.state = state;
    this.rows = new Map(); // trace id -> {li, entry, ...}
    this.shown = []; // ids in order
    this.services = new Set();
    this.paused = false;
    this.el = $("#list");
    this.wire();
    for (const name of config.services) this.addService(name);
    this.el.replaceChildren(...Array.from({ length: 6 }, () => h("li", { class: "ghost", "aria-hidden": "true" })));
    this.poll = poller(() => this.refresh(), every, (err) => this.trouble(err));
    this.poll.kick();
    setInterval(() => { if (!document.hidden) for (const row of this.rows.values()) row.tick(); }, 1000);
  }

  wire() {
    const query = new URLSearchParams(location.search);
    this.wantedService = query.get("service") ?? "";
    $("#f-min").value = query.get("min") ?? "";
    $("#f-errors").checked = query.has("errors");
    $("#filters").addEventListener("input", () => this.filtersChanged());
    $("#filters").addEventListener("submit", (e) => e.preventDefault());
    $("#pause").addEventListener("click", () => {
      this.paused = !this.paused;
      $("#pause").setAttribute("aria-pressed", String(this.paused));
      setText($("#pause"), this.paused ? "Resume" : "Pause");
      if (!this.paused) this.release();
    });
    $("#newer").addEventListener("click", () => this.release(true));
    this.el.addEventListener("pointerenter", () => { this.pointed = true; });
    this.el.addEventListener("pointerleave", () => { this.pointed = false; this.release(); });
    this.el.addEventListener("focusout", () => setTimeout(() => this.release()));
    this.el.addEventListener("keydown", (e) => this.key(e));
  }

  filtersChanged() {
    const text = String(this.filters()).replace("errors=", "errors");
    history.replaceState(history.state, "", location.pathname + (text ? "?" + text : "") + location.hash);
    this.held = null;
    this.asked?.abort();
    this.poll.kick();
  }

  // filters are the same in the page's address and in a question.
  filters() {
    const query = new URLSearchParams();
    const service = $("#f-service").value || this.wantedService;
    const min = $("#f-min").value.trim();
    if (service) query.set("service", service);
    if (min) query.set("min", min);
    if ($("#f-errors").checked) query.set("errors", "");
    return query;
  }

  addService(name) {
    if (this.services.has(name) || this.services.size > 100) return;
    this.services.add(name);
    const select = $("#f-service");
    const after = [...select.options].slice(1).find((o) => o.value > name) ?? null;
    select.insertBefore(h("option", { value: name, selected: name === this.wantedService }, visible(name)), after);
    if (name === this.wantedService) this.wantedService = "";
  }

  async refresh() {
    const query = this.filters();
    this.asked = new AbortController();
    const { signal } = this.asked;
    const list = await api.traces(query, signal).catch((err) => {
      if (!signal.aborted) throw err; // otherwise the filters have changed, and the next question is on its way
    });
    if (!list) return;
    $("#f-min").setAttribute("aria-invalid", String(Boolean(list.min_problem)));
    setText($("#f-min-hint"), list.min_problem ?? "");
    $("#f-min-hint").hidden = !list.min_problem;
    for (const s of list.services) this.addService(s);
    this.offer(list);
    this.trouble(null);
  }

  // offer shows a new list, unless that would pull rows away under the reader's hand.
  offer(list) {
    const fresh = list.traces.filter((e) => !this.rows.has(e.id)).length;
    const hold = this.shown.length && fresh && (this.paused || this.busy() && fresh > fewAtOnce);
    this.held = hold ? list : null;
    $("#newer").hidden = !hold;
    if (!hold) return this.render(list);
    setText($("#newer"), `Show ${fresh === list.traces.length ? "the newest" : plural(fresh, "newer trace")}`);
    for (const entry of list.traces) if (this.rows.has(entry.id)) this.update(this.rows.get(entry.id), entry);
  }

  busy() { return this.pointed || this.el.contains(document.activeElement); }

  release(always = false) {
    if (!this.held || !always && (this.paused || this.busy())) return;
    $("#newer").hidden = true;
    this.render(this.held);
    this.held = null;
    if (always) $(".list-box").scrollTop = 0;
  }

  render({ traces, foot, empty }) {
    const focused = document.activeElement?.closest("#list a")?.dataset.id;
    // What the reader has in hand stays, though it has become old.
    if (focused && !traces.some((e) => e.id === focused)) traces = [...traces, this.rows.get(focused).entry];
    const ids = new Set(traces.map((e) => e.id));
    for (const li of [...this.el.children]) {
      if (ids.has(li.dataset.id)) continue;
      li.remove();
      this.rows.delete(li.dataset.id);
    }
    this.longest = Math.max(1, ...traces.map((e) => e.duration_ms));
    let at = this.el.firstElementChild;
    for (const entry of traces) {
      let row = this.rows.get(entry.id);
      if (!row) this.rows.set(entry.id, row = newRow(entry.id));
      this.update(row, entry);
      // Only what stands in the wrong place is moved: moving an element takes the focus from it.
      if (row.li === at) at = at.nextElementSibling;
      else this.el.insertBefore(row.li, at);
    }
    this.shown = traces.map((e) => e.id);
    this.rove(focused ?? (ids.has(this.roving) ? this.roving : this.shown[0]));
    this.open();
    setText($("#list-foot"), foot);
    $("#list-empty").hidden = !empty;
    if (!empty) return;
    put($("#list-empty"), "state", "wait", empty.title, [empty.text]);
  }

  update(row, entry) {
    row.entry = entry;
    setText(row.title, visible(entry.title));
    setText(row.root, visible(entry.root));
    const chips = JSON.stringify(entry.services);
    if (row.chipsKey !== chips) {
      row.chipsKey = chips;
      const bright = entry.services.filter((s) => !s.dark);
      row.chips.replaceChildren(...bright.slice(0, 5).map((s) => chip(s.name, colour(s.name), plural(s.spans, "span"))),
        bright.length > 5 ? h("span", { class: "chip more" }, "+" + (bright.length - 5)) : "",
        ...entry.services.filter((s) => s.dark).map((s) => chip(s.name, "dark", "no spans")));
    }
    setText(row.spans, entry.spans && !entry.errors ? plural(entry.spans, "span") : "");
    const errors = entry.errors ? `${entry.errors} of ${plural(entry.spans, "span")} failed` : "";
    row.li.classList.toggle("failed", Boolean(errors));
    if (row.errors.textContent !== errors) row.errors.replaceChildren(...(errors ? [icon("error"), errors] : []));
    setText(row.duration, entry.duration);
    row.bar.style.width = Math.max(1.5, entry.duration_ms / this.longest * 100) + "%";
    row.li.classList.toggle("before", Boolean(entry.before));
    row.age.title = clock(Date.parse(entry.started_at));
    row.tick();
  }

  // open marks the trace that is shown beside the list. With choosing, a row puts its trace beside that one.
  open(id = this.current, choosing = this.choosing) {
    this.current = id;
    this.choosing = choosing;
    setText($("#traces-title"), choosing ? "Compare with…" : "Recent traces");
    $("#choosing").hidden = !choosing;
    $("#choosing a").href = "/trace/" + id;
    for (const [of, row] of this.rows) {
      row.a.href = (choosing ? `/trace/${id}/with/` : "/trace/") + of;
      row.li.classList.toggle("current", of === id);
      row.a.ariaCurrent = of === id ? "true" : null;
    }
  }

  // trouble says why there is no list, or with null that there is one. An error without a title is this page's own.
  trouble(err) {
    $("#list-trouble").hidden = !err;
    this.el.classList.toggle("stale", Boolean(err));
    this.state(!err?.gone, err);
    if (!err) return;
    if (!err.title) reportError(err);
    if (!this.shown.length) this.el.replaceChildren();
    const soft = (this.shown.length ? "What is below was read before. " : "") + "This page keeps asking.";
    put($("#list-trouble"), "state bad", err.gone ? "unplugged" : "error", err.title ?? "The list cannot be drawn", [err.message, soft]);
  }

  key(e) {
    const link = e.target.closest("#list a");
    if (!link || e.ctrlKey || e.metaKey || e.altKey) return;
    const at = this.shown.indexOf(link.dataset.id);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.shown.length - 1, PageDown: at + 10, PageUp: at - 10 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    const id = this.shown[Math.max(0, Math.min(this.shown.length - 1, to))];
    this.rove(id);
    this.rows.get(id).a.focus();
  }

  focus() {
    this.el.scrollIntoView({ block: "nearest" });
    this.rows.get(this.roving)?.a.focus();
  }

  // rove makes one row the one that the tab key reaches.
  rove(id) {
    this.roving = id;
    for (const [of, row] of this.rows) row.a.tabIndex = of === id ? 0 : -1;
  }
}

function newRow(id) {
  const parts = ["title", "root", "chips", "spans", "errors", "duration", "bar", "age"];
  const row = Object.fromEntries(parts.map((part) => [part, h("span", { class: "t-" + part })]));
  row.a = h("a", { href: "/trace/" + id, "data-id": id, tabIndex: -1 },
    h("span", { class: "t-what" }, row.title, " ", row.root), row.chips, h("span", { class: "t-counts" }, row.errors, " ", row.spans),
    h("span", { class: "t-time" }, row.duration, h("span", { class: "t-track" }, row.bar)), row.age);
  row.li = h("li", { "data-id": id }, row.a);
  row.tick = () => setText(row.age, age(Date.now() - Date.parse(row.entry.started_at)));
  return row;
}

function chip(name, kind, title) {
  return h("span", { class: "chip " + kind, title }, h("span", { class: "dot" }), visible(name));
}

// put writes a message into a box, unless it is there already: a screen reader would read it again.
function put(box, kind, symbol, title, texts) {
  const key = [title, ...texts].join("\n");
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const lines = texts.map((text, i) => h("p", { class: i ? "soft" : "" }, visible(text)));
  box.replaceChildren(h("div", { class: kind }, icon(symbol), h("p", { class: "state-title" }, title), ...lines));
}
