// One trace: what it says in a sentence, its waterfall, the span that is open, where the time went, the ledger, and the
// data itself.

import * as api from "./api.js";
import { $, announce, h, icon, setText } from "./dom.js";
import { clock, duration, fullID, multiline, percent, plural, rootName, visible } from "./format.js";
import { colour } from "./colours.js";
import { askedFor, darkness, httpStatus, parse, queryOf, relays, sameRequest, sent } from "./trace.js";
import { rows } from "./time.js";
import { legend, marks, Waterfall } from "./waterfall.js";
import { breakable, spanDetails } from "./span.js";
import { story } from "./story.js";
import { Ledger, sampledMeans } from "./ledger.js";

const settled = 3; // answers without anything new after which a trace is taken to be complete
const young = 20_000; // milliseconds after its end in which more spans may come
const minute = 60_000; // milliseconds within which two requests can be compared
const missing = 20_000; // milliseconds to wait for a trace before saying that it is not there
const unheard = 8000; // the same for a trace of which the ledger does not know either

export class Detail {
  constructor({ config, loaded, call, go }) {
    this.config = config;
    this.loaded = loaded; // told of each trace that has been read
    this.call = call; // sends a request, for the button beside a plain trace
    this.unsampled = new Set(); // ids of traces that an answer called not sampled
    this.go = go; // opens an address
    this.el = $("#detail");
  }

  // open shows a trace; null shows none.
  async open(text, spanID = "") {
    this.asked?.abort();
    clearTimeout(this.timer);
    this.trace = null;
    this.el.hidden = text === null;
    if (text === null) return;
    this.asked = new AbortController();
    const { signal } = this.asked;
    const id = fullID(text);
    this.id = id;
    this.wantedSpan = spanID;
    if (!id) {
      document.title = "Not a trace id";
      this.message("error", "This is not a trace id", "A trace id has up to 32 hexadecimal digits, not all of them 0. Leading zeros may be left out.", visible(text).slice(0, 80));
      return;
    }
    document.title = "Trace " + id.replace(/^0+(?=.)/, "").slice(0, 8);
    this.loading();
    this.hops = new Ledger(id, this.config, signal, () => this.heard());
    const began = performance.now();
    let last = "", same = 0;
    for (let pause = 250; !signal.aborted; pause = Math.min(pause * 1.4, 3000)) {
      try {
        const answer = await api.traceText(id, signal);
        if (signal.aborted) return;
        if (answer === last) {
          same++;
        } else {
          const trace = parse(answer);
          if (trace) {
            last = answer;
            same = 0;
            this.text = answer;
            this.show(trace);
          }
        }
        this.gone(null);
        if (this.trace) {
          const old = this.age() > young;
          if (this.awaited && this.age() > sent) this.retell();
          if (same || old) this.announceTrace();
          if (old || same >= settled && !this.trace.root.orphan && !this.missing()) return;
        } else if (performance.now() - began > (this.hops.requests?.length === 0 || this.hops.unused() ? unheard : missing)) {
          this.absent(id);
          return;
        } else if (performance.now() - began > 1200 || this.isUnsampled()) {
          this.waiting(id);
        }
      } catch (err) {
        if (signal.aborted) return;
        this.gone(err);
        if (err.status === 400) return;
      }
      await new Promise((done) => { this.timer = setTimeout(done, pause); signal.addEventListener("abort", done, { once: true }); });
      while (document.hidden && !signal.aborted) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    }
  }

  loading() {
    this.state = "loading";
    this.el.replaceChildren(h("div", { class: "skeleton", role: "status" }, h("span", { class: "unseen", id: "detail-title" }, "Reading the trace…"),
      ...[50, 100, 96, 30, 60, 58].map((w) => h("span", { class: "sk-line", style: { width: w + "%" } }))));
  }

  message(symbol, title, ...sentences) {
    this.state = title;
    this.el.replaceChildren(h("div", { class: "state tall" }, icon(symbol), h("h2", { class: "state-title", id: "detail-title", tabIndex: -1 }, title),
      ...sentences.filter(Boolean).map((s, i) => h("p", { class: i ? "soft" : "" }, s))));
  }

  waiting(id) {
    const state = this.isUnsampled() ? "unsampled" : "waiting";
    if (this.state === state) return;
    if (state === "waiting") this.message("wait", "Waiting for this trace", "Its spans are on their way: they are sent a moment after the answer.", id);
    else this.message("unplugged", "This call was not sampled", "The flag in its header is 0. A service that obeys it records no span, so probably none will come.", this.config.ledger ? "" : sampledMeans, id);
    this.state = state;
    this.recorded();
  }

  // absent ends the wait with the reason, as far as it is known.
  absent(id) {
    if (this.isUnsampled()) { this.waiting(id); return; }
    const { requests } = this.hops;
    this.message("unplugged", "This trace is not here",
      this.hops.unused() ? "A request brought this id, and nobody here went on in its trace: the hop ledger says why."
        : requests?.length ? "The hop ledger knows the request, but none of its spans is here: their exporters do not reach the trace store, or the store no longer keeps them."
        : requests ? "Neither the trace store nor the hop ledger knows this id: it is mistyped, or older than what they keep."
          : "It was not sampled, a collector in front of the trace store did not keep it, its spans do not reach the store, or it is older than what the store keeps.", id);
    $(".state", this.el).append(h("button", { type: "button", onclick: () => this.open(id, this.wantedSpan) }, "Look again"));
    this.state = "absent";
    this.recorded();
    announce("This trace is not here.");
  }

  isUnsampled() {
    return this.unsampled.has(this.id) || this.hops.unsampled();
  }

  // recorded adds the ledger: it may know a request of which no span was kept.
  recorded() {
    if (this.config.ledger) this.el.append(this.hops.element);
    this.toLedger();
  }

  // toLedger brings the ledger into sight, once it tells something, for an address that ends with #ledger.
  toLedger() {
    if (this.wantedSpan !== "ledger" || !this.hops.requests || !this.hops.element.isConnected) return;
    this.wantedSpan = "";
    this.hops.element.scrollIntoView();
  }

  // heard is called when the ledger has learned something.
  heard() {
    this.toLedger();
    if (!this.trace) return;
    this.retell();
    if (this.plain) this.compare();
  }

  retell() {
    this.awaited = this.missing() && this.age() <= sent; // whether it says that spans may be on their way
    this.story.replaceChildren(...story(this.trace, { dark: this.dark, hops: this.hops, late: this.age() > sent }));
  }

  // age is how many milliseconds ago the trace ended.
  age() {
    return Date.now() - (this.trace.startedAt + this.trace.duration);
  }

  // missing reports whether somebody was called who may have made spans, of which none is here.
  missing() {
    return Boolean(this.dark?.span && !this.dark.service?.plain);
  }

  // gone says that the store does not answer. What is drawn already stays.
  gone(err) {
    if (!err) { this.warning?.remove(); this.warning = null; return; }
    if (!this.trace) {
      this.message(err.gone ? "unplugged" : "error", err.title, visible(err.message), "This page keeps asking.");
      return;
    }
    if (this.warning) return;
    this.warning = h("p", { class: "note bad", role: "status" }, icon("unplugged"), visible(err.message), " What you see was read before.");
    this.el.prepend(this.warning);
  }

  // show draws a trace, or what has arrived of it since.
  show(trace) {
    const first = !this.trace;
    this.trace = trace;
    this.state = "shown";
    this.dark = darkness(trace, this.config.services);
    const target = askedFor(trace, this.config.services);
    if (first) this.frame();
    const title = target?.name ?? visible(trace.root.service);
    setText(this.title, title);
    setText(this.subtitle, trace.root.orphan ? "its first span has not arrived" : rootName(trace.root.service, trace.root.name, title));
    document.title = `${title} ${duration(trace.duration)}`;
    this.facts.replaceChildren(...this.factList(trace));
    this.retell();
    this.legend.replaceChildren(legend(trace, this.dark));
    this.marks.replaceChildren(marks(trace));
    this.fold.hidden = !trace.spans.some((s) => s.children.length);
    this.waterfall.show(trace, { dark: this.dark });
    this.where.replaceChildren(...this.whereTheTimeWent(trace));
    this.fillJSON();
    this.toLedger();
    if (first && this.wantedSpan) this.choose(trace.find(this.wantedSpan), true);
    else if (this.waterfall.selected) this.choose(trace.find(this.waterfall.selected));
    this.hops.know(trace);
    this.plain = this.dark?.service?.plain ? this.dark.service : trace.spans.some((s) => s.outside) && target?.plain ? target : null;
    if (this.plain) this.compare();
    else this.twin.replaceChildren();
    this.loaded(trace);
  }

  // announceTrace is for an answer without anything new: the first spans are not the trace.
  announceTrace() {
    const { trace } = this;
    if (this.announced === trace) return;
    this.announced = trace;
    announce(`Trace of ${this.title.textContent}: ${plural(trace.spans.length, "span")}, ${duration(trace.duration)}, ${plural(trace.errors, "error")}.`);
  }

  frame() {
    this.title = h("span", { class: "d-title" });
    this.subtitle = h("span", { class: "d-sub" });
    this.facts = h("dl", { class: "facts" });
    this.story = h("div", { class: "story" });
    this.legend = h("div", { class: "legend-box" });
    this.marks = h("div");
    this.fold = h("button", { type: "button", class: "quiet", onclick: () => setText(this.fold, this.waterfall.toggleAll() ? "Expand all" : "Collapse all") }, "Collapse all");
    this.waterfall = new Waterfall("Spans of this trace", (span) => this.choose(span));
    this.spanBox = h("section", { class: "span-box", "aria-label": "The open span", hidden: true });
    this.twin = h("div", { class: "twin" });
    this.where = h("div", { class: "where" });
    this.json = h("pre", { class: "json", tabIndex: 0, "aria-label": "The trace as JSON" });
    this.jsonBox = h("details", { class: "fold", ontoggle: () => this.fillJSON() }, h("summary", {}, "Raw JSON"),
      h("p", { class: "soft" }, "As Tempo sends it, ids in base64: ", h("a", { href: "/tempo/api/v2/traces/" + this.id, target: "_blank", rel: "noreferrer" }, "open it alone")), this.json);
    this.el.replaceChildren(
      h("a", { class: "back", href: "/" }, icon("back"), "All traces"),
      h("header", { class: "d-head" },
        h("h2", { id: "detail-title", tabIndex: -1 }, this.title, " ", this.subtitle),
        h("div", { class: "d-id" }, h("code", {}, this.id),
          copyButton(this.id))),
      this.facts, this.story,
      h("section", { class: "card", "aria-labelledby": "wf-title" },
        h("div", { class: "card-head" }, h("h3", { id: "wf-title" }, "Waterfall"), this.legend, this.fold), this.waterfall.element,
        this.marks, h("p", { class: "hint" }, "Choose a span for its details.")),
      this.spanBox, this.twin, this.where,
      this.hops.element,
      this.jsonBox);
  }

  factList(trace) {
    const status = httpStatus(trace);
    const fact = (name, value, cls = "") => h("div", { class: cls }, h("dt", {}, name), h("dd", {}, value));
    return [
      fact("Duration", duration(trace.duration), "big"),
      status && fact("Status", visible(status), Number(status) >= 400 ? "bad" : ""),
      fact("Spans", trace.spans.length.toLocaleString("en")),
      trace.errors && h("div", { class: "bad" }, h("dt", {}, "Failed spans"), h("dd", {}, icon("error"), trace.errors.toLocaleString("en"))),
      fact("Started", clock(trace.startedAt), "wide"),
    ].filter(Boolean);
  }

  // compare draws a request of the instrumented twin on the same time scale: of the same minute, with the same query and
  // the same outcome.
  async compare() {
    const { id, trace, dark, hops: { requests }, asked: { signal } } = this;
    const query = queryOf(trace, requests);
    const twin = this.config.services.find((s) => s.name === this.plain.twin);
    const key = id + query;
    if (!twin || this.compared === key && this.twin.children.length) return;
    this.compared = key;
    const middle = Math.floor(trace.startedAt / 1000);
    const apartFrom = (time) => Math.abs(time - trace.startedAt);
    let other = null;
    try {
      const found = query === null ? [] : await api.search({ tags: api.tags({ "server.address": twin.host }), start: middle - 61, end: middle + 61, limit: 50 }, signal);
      const near = (s) => apartFrom(Number(BigInt(s.startTimeUnixNano ?? 0) / 1_000_000n));
      found.sort((a, b) => near(a) - near(b));
      for (const summary of found.slice(0, 8)) {
        const candidate = parse(await api.traceText(fullID(summary.traceID), signal));
        if (!candidate || askedFor(candidate, [twin]) !== twin || !sameRequest(candidate, trace) || apartFrom(candidate.startedAt) > minute) continue;
        // A part of a trace explains nothing. Who sent the inner spans is known by their place: a name may be missing.
        if (!relays.has(candidate.root.service) || darkness(candidate, this.config.services) || candidate.spans.some((s) => s.orphan)) continue;
        const told = queryOf(candidate, null) ?? (this.config.ledger ? queryOf(candidate, (await api.ledger(candidate.id, signal)).requests) : null);
        if (told === query) { other = candidate; break; }
      }
    } catch { if (signal.aborted) return; }
    if (signal.aborted || this.compared !== key) return;
    const head = (title, ...rest) => h("div", { class: "card-head" }, h("h3", {}, title), ...rest);
    const status = visible(httpStatus(trace));
    if (!other) {
      this.twin.replaceChildren(h("section", { class: "card invite" }, head("The answer is one call away"),
        h("p", {}, `${twin.name} is the same program, instrumented. `, query === null ? "The gateway hides what this request asked for, so no trace can be compared with it. "
          : `There is no trace of it to compare: that takes a whole one of the same request, within a minute, also answered ${status}. `, "Call it, and see what happens inside."),
        h("button", { type: "button", class: "primary", onclick: () => this.call(twin.name, query) }, `Call ${twin.name} now`)));
      return;
    }
    const scale = Math.max(trace.duration, other.duration);
    const apart = apartFrom(other.startedAt);
    const when = apart < 100 ? "Both were called at the same time" : `${twin.name} was called ${duration(apart)} ${other.startedAt < trace.startedAt ? "earlier" : "later"}`;
    const tree = new Waterfall(`Spans of ${twin.name}'s trace`, (s) => s && this.go(`/trace/${other.id}#${s.id}`));
    this.twin.replaceChildren(h("section", { class: "card" },
      head(`A request like it, instrumented: ${twin.name}`, h("div", { class: "legend-box" }, legend(other, null))),
      h("p", { class: "soft" }, `${when}. Both answered ${status}, and are drawn on one time scale. `, h("a", { href: "/trace/" + other.id }, "Open this trace")),
      tree.element, marks(other)));
    tree.show(other, { scale });
    this.waterfall.show(trace, { dark, scale });
  }

  whereTheTimeWent(trace) {
    const total = trace.duration || 1;
    const table = (title, list, label) => h("div", { class: "table-box" }, h("table", {}, h("caption", {}, title),
      h("thead", {}, h("tr", {}, ...["", "Spans", "Time", "Share"].map((t, i) => h("th", { class: i ? "num" : "", scope: "col" }, t || h("span", { class: "unseen" }, "Name"))))),
      h("tbody", {}, ...list.slice(0, 12).map((r) => h("tr", { class: r.service === null ? "dark" : colour(r.service) },
        h("th", { scope: "row" }, h("span", { class: "dot" }), r.service === null ? r.name : label(r), r.errors ? h("span", { class: "wf-error", title: `${plural(r.errors, "span")} failed` }, icon("error"), String(r.errors)) : ""),
        h("td", { class: "num" }, r.service === null ? "–" : r.spans.toLocaleString("en")), h("td", { class: "num" }, r.dark ? "–" : duration(r.time)),
        h("td", { class: "num share" }, h("span", { class: "share-bar", style: { "--share": r.time / total } }), h("span", {}, r.dark ? "–" : percent(r.time / total)))))),
      list.length > 12 ? h("tfoot", {}, h("tr", {}, h("td", { colSpan: 4 }, `and ${list.length - 12} more`))) : ""));
    return [h("section", { class: "card", "aria-labelledby": "where-title" },
      h("div", { class: "card-head" }, h("h3", { id: "where-title" }, "Where the time went")),
      h("div", { class: "tables" },
        table("By service", rows(trace, (s) => s.service), (r) => visible(r.service)),
        table("By span", rows(trace, (s) => s.service + "\n" + s.name), (r) => [...breakable(visible(r.name) || "(no name)"), h("span", { class: "of" }, " " + visible(r.service))])),
      h("p", { class: "hint" }, "Each moment counts for the span that was working, not waiting; spans that worked at the same time share it. Time that no span here covers is unexplained. The rows add up to the trace's duration."))];
  }

  // choose opens a span's details below the waterfall, or closes them.
  choose(span, reveal = false) {
    this.waterfall.select(span?.id ?? null);
    this.spanBox.hidden = !span;
    history.replaceState(history.state, "", location.pathname + location.search + (span ? "#" + span.id : ""));
    if (!span) { this.spanBox.replaceChildren(); return; }
    if (reveal) this.waterfall.reveal(span, true);
    this.spanBox.replaceChildren(spanDetails(span, this.trace, {
      close: () => { this.choose(null); this.waterfall.go(this.waterfall.active); },
    }));
  }

  // reveal opens a span of the trace that is shown, and reports whether it has one of this id.
  reveal(spanID) {
    const span = this.trace?.find(spanID);
    if (span) this.choose(span, true);
    return Boolean(span);
  }

  fillJSON() {
    if (!this.jsonBox.open) return;
    const all = JSON.stringify(JSON.parse(this.text), null, 2);
    const most = 300_000;
    this.json.textContent = multiline(all.slice(0, most)) + (all.length > most ? `\n… and ${(all.length - most).toLocaleString("en")} characters more: open it alone.` : "");
  }
}

function copyButton(text) {
  const word = h("span", {}, "Copy id");
  const copy = async () => {
    // The clipboard is for secure contexts; a plain http address that is not loopback is none.
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    setText(word, done ? "Copied" : "Not allowed");
    announce(done ? "Copied." : "The browser does not allow copying here.");
    setTimeout(() => setText(word, "Copy id"), 1500);
  };
  return h("button", { type: "button", class: "quiet", onclick: copy }, icon("copy"), word);
}
