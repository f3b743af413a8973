// The list of recent traces. It asks Tempo every other second and changes only what has changed: rows are kept by trace
// id, so that focus, selection and scroll position survive two hundred requests a second.

import * as api from "./api.js";
import { $, h, icon, poller, setText } from "./dom.js";
import { age, clock, duration, fullID, parseDuration, plural, rootName, visible } from "./format.js";
import { askedFor, relays, sent } from "./trace.js";
import { colour } from "./colours.js";

const every = 1500; // milliseconds between two questions
const rested = 20_000; // milliseconds from a trace's start, after which no more is learned of it
const limit = 50; // rows
const windows = [[3600, "the last hour"], [86_400, "the last 24 hours"]]; // seconds to look back
const fewAtOnce = 3; // more new rows than this do not push away what the reader points at

export class TraceList {
  // state(ok, sentence) is told whether the trace store answers.
  constructor({ config, state }) {
    this.config = config;
    this.state = state;
    this.rows = new Map(); // trace id -> {el, entry, ...}
    this.shown = []; // ids in order
    this.own = new Map(); // entries of traces that the page has seen whole, until the search finds them
    this.targets = new Map(); // trace id -> service that was asked for, or null
    this.received = new Map(); // trace id -> services that received it, as the ledger has it
    this.began = 0; // when the fault began that the reader looks for
    this.services = new Set();
    this.window = windows[0];
    this.paused = false;
    this.current = null;
    this.el = $("#list");
    this.wire();
    this.el.replaceChildren(...Array.from({ length: 6 }, () => h("li", { class: "ghost", "aria-hidden": "true" })));
    this.poll = poller(() => this.refresh(), every);
    this.poll.kick();
    setInterval(() => { if (!document.hidden) this.tick(); }, 1000);
  }

  wire() {
    this.readAddress();
    for (const service of this.config.services) this.addService(service.name);
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

  readAddress() {
    const query = new URLSearchParams(location.search);
    this.wantedService = query.get("service") ?? "";
    $("#f-min").value = query.get("min") ?? "";
    $("#f-errors").checked = query.has("errors");
  }

  filtersChanged() {
    const { service, min, errors } = this.filters();
    const query = new URLSearchParams();
    if (service) query.set("service", service);
    if (min) query.set("min", $("#f-min").value.trim());
    if (errors) query.set("errors", "");
    const text = String(query).replace("errors=", "errors");
    history.replaceState(history.state, "", location.pathname + (text ? "?" + text : "") + location.hash);
    this.held = null;
    this.asked?.abort();
    this.poll.kick();
  }

  filters() {
    const input = $("#f-min");
    const min = parseDuration(input.value);
    input.setAttribute("aria-invalid", String(Number.isNaN(min)));
    $("#f-min-hint").hidden = !Number.isNaN(min);
    const service = $("#f-service").value || this.wantedService;
    return { service, min: Number.isNaN(min) ? 0 : min, errors: $("#f-errors").checked };
  }

  addService(name) {
    if (this.services.has(name) || this.services.size > 100) return;
    this.services.add(name);
    const select = $("#f-service");
    const option = h("option", { value: name, selected: name === this.wantedService }, visible(name));
    const after = [...select.options].slice(1).find((o) => o.value > name);
    select.insertBefore(option, after ?? null);
    if (name === this.wantedService) this.wantedService = "";
  }

  async refresh() {
    const { service, min, errors } = this.filters();
    const filtered = Boolean(service || min || errors);
    this.asked = new AbortController();
    const { signal } = this.asked;
    const now = Math.floor(Date.now() / 1000);
    const range = { start: now - this.window[0], end: now + 60 };
    const questions = [api.search({ q: this.config.query, limit: filtered ? 2 * limit : limit, ...range }, signal)];
    if (filtered) questions.push(...this.filterQueries(service, min, errors, range, signal));
    let answers;
    try {
      answers = await Promise.all(questions);
    } catch (err) {
      if (signal.aborted) return; // the filters have changed, and the next question is on its way
      this.trouble(err);
      throw err;
    }
    this.trouble(null);
    const entries = new Map();
    for (const summary of answers.flat()) {
      const entry = fromSummary(summary);
      const known = entries.get(entry.id);
      if (!known || entry.stats && !known.stats) entries.set(entry.id, entry);
      for (const s of Object.keys(entry.stats ?? {})) this.addService(s);
    }
    for (const [id, entry] of this.own) {
      const found = entries.get(id);
      if (!found || !found.stats || found.spans < entry.spans) entries.set(id, { ...found, ...entry });
      else if (Date.now() - entry.seen > 15_000) this.own.delete(id);
    }
    await this.findTargets([...entries.values()], range, signal);
    if (this.config.ledger) await this.findReceivers([...entries.values()], signal);
    const wanted = new Set(answers.slice(1).flat().map((s) => fullID(s.traceID)));
    const list = [...entries.values()]
      .filter((e) => !filtered || this.matches(e, service, min, errors, wanted))
      .sort((a, b) => b.startNano > a.startNano ? 1 : b.startNano < a.startNano ? -1 : 0)
      .slice(0, limit);
    this.offer(list, filtered, !list.length && await this.hasOlder(service, min, errors, now, signal));
  }

  // hasOlder reports whether a longer look back would find anything.
  async hasOlder(service, min, errors, now, signal) {
    const [seconds] = windows[1];
    if (this.window[0] >= seconds) return false;
    const found = await Promise.all(this.filterQueries(service, min, errors, { start: now - seconds, end: now + 60 }, signal)).catch(() => []);
    return found.flat().length > 0;
  }

  // filterQueries ask the store for what the newest traces may not include. Tags find a service that sent spans; one
  // that sends none is found by the host name on the gateway's span.
  filterQueries(service, min, errors, range, signal) {
    const shared = { ...range, limit };
    if (min) shared.minDuration = Math.floor(min) + "ms";
    const plain = this.config.services.find((s) => s.name === service && s.plain);
    const pairs = {};
    if (errors) pairs["status.code"] = "error";
    if (plain) pairs["server.address"] = plain.host;
    else if (service) pairs["service.name"] = service;
    return [api.search({ ...shared, tags: api.tags(pairs) }, signal)];
  }

  matches(entry, service, min, errors, wanted) {
    if (min && entry.duration < Math.floor(min)) return false;
    if (wanted.has(entry.id) && !entry.stats) return true; // the store says so, and nothing more is known
    if (errors && !entry.errors) return false;
    return !service || service in (entry.stats ?? {}) || entry.rootService === service || entry.target === service;
  }

  // findTargets learns what was called: who the trace begins with, unless that is a gateway. Behind a gateway it is a service
  // that no other calls, or else what the host name on the gateway's span says: that service may have no span.
  async findTargets(entries, range, signal) {
    const { services } = this.config;
    for (const e of entries) {
      const begun = e.rootService && !relays.has(e.rootService) ? e.rootService : null;
      const first = services.find((s) => s.name in (e.stats ?? {}) && !services.some((o) => o.calls === s.name));
      e.target ??= begun ?? this.targets.get(e.id) ?? first?.name ?? null;
    }
    const unknown = entries.filter((e) => !e.target && !this.targets.has(e.id));
    if (!unknown.length) return;
    const starts = unknown.map((e) => Number(e.startNano / 1_000_000_000n));
    const from = Math.max(range.start, Math.min(...starts) - 1);
    const found = await Promise.all(services.map((s) =>
      api.search({ tags: api.tags({ "server.address": s.host }), start: from, end: range.end, limit: 100 }, signal).catch(() => [])));
    found.forEach((summaries, i) => { for (const s of summaries) this.targets.set(fullID(s.traceID), services[i].name); });
    for (const e of unknown) {
      e.target = this.targets.get(e.id) ?? null;
      // A trace that has rested for a while will not become findable any more; ask no further.
      if (!e.target && Date.now() - e.start > rested) this.targets.set(e.id, null);
    }
    if (this.targets.size > 2000) this.targets = new Map([...this.targets].slice(-1000));
  }

  // findReceivers learns from the ledger which services were in a trace. What has rested for a while does not change.
  async findReceivers(entries, signal) {
    if (this.received.size && entries.every((e) => Date.now() - e.start > rested)) return;
    for (const { hops = [] } of await api.newestRequests(signal).catch(() => [])) {
      for (const { trace_id: id } of hops) this.received.set(id, hops.filter((x) => x.trace_id === id).map((x) => x.to));
    }
    if (this.received.size > 2000) this.received = new Map([...this.received].slice(-1000));
  }

  // since says when the fault began; 0 for none.
  since(began) {
    this.began = began;
    for (const row of this.rows.values()) this.update(row, row.entry);
  }

  // remember puts a trace that the page has read by its id into the list, before a search finds it.
  remember(trace) {
    const stats = {};
    for (const s of trace.spans) {
      stats[s.service] ??= { spanCount: 0, errorCount: 0 };
      stats[s.service].spanCount++;
      if (s.status === "error") stats[s.service].errorCount++;
    }
    this.own.delete(trace.id);
    const target = trace.root.orphan ? null : askedFor(trace, this.config.services)?.name ?? (relays.has(trace.root.service) ? null : trace.root.service);
    this.own.set(trace.id, {
      id: trace.id, rootService: trace.root.orphan ? "" : trace.root.service, rootName: trace.root.name,
      startNano: trace.spans.reduce((min, s) => s.startNano < min ? s.startNano : min, trace.root.startNano),
      start: trace.startedAt, duration: trace.duration, ...totals(stats), target, seen: Date.now(),
    });
    if (this.own.size > 20) this.own.delete(this.own.keys().next().value);
    this.poll.kick();
  }

  // offer shows a new list, unless that would pull rows away under the reader's hand.
  offer(list, filtered, older) {
    const fresh = list.filter((e) => !this.rows.has(e.id)).length;
    const busy = this.pointed || this.el.contains(document.activeElement);
    const hold = this.shown.length && fresh && (this.paused || busy && fresh > fewAtOnce);
    this.held = hold ? { list, filtered } : null;
    if (hold) {
      const known = new Map(list.map((e) => [e.id, e]));
      for (const [id, row] of this.rows) if (known.has(id)) this.update(row, known.get(id));
    } else {
      this.render(list, filtered, older);
    }
    const chip = $("#newer");
    chip.hidden = !hold;
    if (hold) setText(chip, `Show ${fresh >= limit ? "the newest" : plural(fresh, "newer trace")}`);
  }

  release(always = false) {
    const busy = this.pointed || this.el.contains(document.activeElement);
    if (!this.held || !always && (this.paused || busy)) return;
    const { list, filtered } = this.held;
    this.held = null;
    $("#newer").hidden = true;
    this.render(list, filtered);
    if (always) $(".list-box").scrollTop = 0;
  }

  render(list, filtered, older = false) {
    const ids = new Set(list.map((e) => e.id));
    const focused = document.activeElement?.closest?.("#list a")?.dataset.id;
    // What the reader has in hand stays, though it has become old.
    if (focused && !ids.has(focused) && this.rows.has(focused)) list = [...list, this.rows.get(focused).entry];
    for (const e of list) ids.add(e.id);
    for (const el of this.el.querySelectorAll(".ghost")) el.remove();
    for (const [id, row] of this.rows) {
      if (!ids.has(id)) { row.li.remove(); this.rows.delete(id); }
    }
    this.longest = Math.max(1, ...list.map((e) => e.duration));
    let at = this.el.firstElementChild;
    for (const entry of list) {
      let row = this.rows.get(entry.id);
      if (!row) this.rows.set(entry.id, row = newRow(entry.id));
      this.update(row, entry);
      // Only what stands in the wrong place is moved: moving an element takes the focus from it.
      if (row.li === at) at = at.nextElementSibling;
      else this.el.insertBefore(row.li, at);
    }
    this.shown = list.map((e) => e.id);
    const rove = focused ?? (ids.has(this.roving) ? this.roving : this.shown[0]);
    for (const [id, row] of this.rows) row.a.tabIndex = id === rove ? 0 : -1;
    this.mark();
    this.empty(list.length === 0, filtered, older);
    const foot = list.length >= limit ? `The newest ${limit} of ${this.window[1]}${filtered ? " that match" : ""}. To find older ones, use the filters or an id.` : "";
    setText($("#list-foot"), foot);
  }

  update(row, entry) {
    row.entry = entry;
    const title = entry.target || entry.rootService || Object.keys(entry.stats ?? {})[0] || "unknown";
    setText(row.title, visible(title));
    setText(row.root, entry.rootService ? rootName(entry.rootService, entry.rootName, title) : "its first span has not arrived");
    const chips = Object.entries(entry.stats ?? {}).map(([service, n]) => [service || "unknown service", n.spanCount ?? 0]);
    const dark = this.unseen(entry);
    const key = JSON.stringify([chips, dark, entry.target]);
    if (row.chipsKey !== key) {
      row.chipsKey = key;
      row.chips.replaceChildren(...chips.slice(0, 5).map(([service, n]) =>
        h("span", { class: "chip " + colour(service), title: plural(n, "span") }, h("span", { class: "dot" }), visible(service))));
      if (chips.length > 5) row.chips.append(h("span", { class: "chip more" }, "+" + (chips.length - 5)));
      row.chips.append(...dark.map((name) => h("span", { class: "chip dark", title: "no spans" }, h("span", { class: "dot" }), name)));
    }
    setText(row.spans, entry.stats ? (entry.errors ? "in " : "") + plural(entry.spans, "span") : "");
    const errors = entry.errors ? plural(entry.errors, "error") : "";
    if (row.errorText !== errors) {
      row.errorText = errors;
      row.errors.replaceChildren(...(errors ? [icon("error"), errors] : []));
      row.li.classList.toggle("failed", Boolean(errors));
    }
    const whole = Number.isInteger(entry.duration) && entry.duration < 100; // as summaries have it
    setText(row.duration, entry.duration < 1 ? "<1 ms" : whole ? entry.duration + " ms" : duration(entry.duration));
    row.bar.style.width = Math.max(1.5, entry.duration / this.longest * 100) + "%";
    row.li.classList.toggle("before", entry.start < this.began);
    row.age.title = clock(entry.start);
    setText(row.age, age(Date.now() - entry.start));
  }

  // unseen are the services that were in a trace, and of which it has no span. Spans by a name that the demo does not know
  // may be theirs, under another name.
  unseen({ id, target, stats, start, duration: lasted }) {
    const known = (name) => this.config.services.some((s) => s.name === name);
    if (!stats || !Object.keys(stats).every((name) => relays.has(name) || known(name))) return [];
    const received = Date.now() - start - lasted > sent ? this.received.get(id) ?? [] : [];
    return [...new Set([target, ...received])].filter((name) => known(name) && !(name in stats));
  }

  tick() {
    for (const row of this.rows.values()) setText(row.age, age(Date.now() - row.entry.start));
  }

  // open marks the trace that is shown beside the list.
  open(id) {
    this.current = id;
    this.mark();
  }

  mark() {
    for (const [id, row] of this.rows) {
      row.li.classList.toggle("current", id === this.current);
      if (id === this.current) row.a.setAttribute("aria-current", "true");
      else row.a.removeAttribute("aria-current");
    }
  }

  empty(is, filtered, older) {
    const box = $("#list-empty");
    box.hidden = !is;
    const key = this.window[1] + filtered + older;
    if (!is || box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(h("div", { class: "state" },
      icon("wait"),
      h("p", { class: "state-title" }, filtered ? "No trace matches" : `No trace in ${this.window[1]}`),
      h("p", {}, filtered ? `Nothing in ${this.window[1]} passes these filters.` : "Call a service. Its trace appears here once its spans reach the trace store; a call that is not sampled has none."),
      older && h("button", { type: "button", onclick: () => { this.window = windows[1]; this.filtersChanged(); } }, `Look at ${windows[1][1]}`)));
  }

  trouble(err) {
    const box = $("#list-trouble");
    if (!err) {
      if (this.broken) { this.broken = false; box.hidden = true; this.el.classList.remove("stale"); }
      this.state(true);
      return;
    }
    this.state(!err.gone, err);
    if (!this.broken && !this.shown.length) this.el.replaceChildren();
    this.broken = true;
    this.el.classList.add("stale");
    box.hidden = false;
    if (box.dataset.text === err.message) return;
    box.dataset.text = err.message;
    box.replaceChildren(h("div", { class: "state bad" },
      icon(err.gone ? "unplugged" : "error"),
      h("p", { class: "state-title" }, err.title),
      h("p", {}, visible(err.message)),
      h("p", { class: "soft" }, this.shown.length ? "What is below was read before. This page keeps asking." : "This page keeps asking.")));
  }

  key(e) {
    const link = e.target.closest("#list a");
    if (!link || e.ctrlKey || e.metaKey || e.altKey) return;
    const at = this.shown.indexOf(link.dataset.id);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.shown.length - 1, PageDown: at + 10, PageUp: at - 10 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    const id = this.shown[Math.max(0, Math.min(this.shown.length - 1, to))];
    for (const [key, row] of this.rows) row.a.tabIndex = key === id ? 0 : -1;
    this.roving = id;
    this.rows.get(id).a.focus();
  }
}

function newRow(id) {
  const row = {
    title: h("span", { class: "t-title" }), root: h("span", { class: "t-root" }), chips: h("span", { class: "t-chips" }),
    spans: h("span", { class: "t-spans" }), errors: h("span", { class: "t-errors" }), duration: h("span", { class: "t-duration" }),
    bar: h("span", { class: "t-bar" }), age: h("span", { class: "t-age" }),
  };
  row.a = h("a", { href: "/trace/" + id, "data-id": id, tabIndex: -1 },
    h("span", { class: "t-what" }, row.title, " ", row.root), row.chips, h("span", { class: "t-counts" }, row.errors, " ", row.spans),
    h("span", { class: "t-time" }, row.duration, h("span", { class: "t-track" }, row.bar)), row.age);
  row.li = h("li", {}, row.a);
  return row;
}

function fromSummary(s) {
  const startNano = BigInt(s.startTimeUnixNano ?? 0);
  const named = s.rootServiceName && !s.rootServiceName.startsWith("<root span not yet");
  return {
    id: fullID(s.traceID) ?? s.traceID,
    rootService: named ? s.rootServiceName : s.rootTraceName ? "unknown service" : "", rootName: s.rootTraceName ?? "",
    startNano, start: Number(startNano / 1_000_000n), duration: s.durationMs ?? 0, ...totals(s.serviceStats),
  };
}

function totals(stats) {
  if (!stats) return { stats: null, spans: 0, errors: 0 };
  const all = Object.values(stats);
  return {
    stats,
    spans: all.reduce((n, s) => n + (s.spanCount ?? 0), 0),
    errors: all.reduce((n, s) => n + (s.errorCount ?? 0), 0),
  };
}
