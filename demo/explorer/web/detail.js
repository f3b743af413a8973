// One trace, as the explorer explains it: what it says in a sentence, its waterfall, the span that is open, where the time
// went, the ledger, and the data itself.

import * as api from "./api.js";
import { $, announce, h, icon, remember, setText } from "./dom.js";
import { clock, multiline, plural, visible } from "./format.js";
import { colour, distinct } from "./colours.js";
import { legend, marks, Waterfall } from "./waterfall.js";
import { breakable, copyButton, spanDetails } from "./span.js";
import { logSection } from "./logs.js";
import { note, say } from "./say.js";
import { Ledger } from "./ledger.js";

const mostRows = 12; // of a table
const mostJSON = 300_000; // characters
const beside = 1000; // pixels: with more, a span's details stand beside the waterfall, with less below its row

export class Detail {
  constructor({ config, loaded, call, go }) {
    this.config = config;
    this.loaded = loaded; // told when a trace has been read
    this.call = call; // sends a request, for the button beside a plain trace
    this.unsampled = new Set(); // ids of traces that an answer called not sampled
    this.go = go; // opens an address
    this.el = $("#detail");
    this.list(remember("list") ?? (innerWidth < 1600 ? "closed" : "open"));
    new ResizeObserver(() => this.place()).observe(this.el);
    addEventListener("keypress", (e) => {
      if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || !this.trace || e.target.closest("input, select, textarea")) return;
      e.preventDefault();
      this.finder.select();
    });
  }

  // list opens or closes the list of traces beside this one.
  list(state) {
    this.listed = state;
    document.body.classList.toggle("no-list", state !== "open");
    this.lister?.setAttribute("aria-expanded", String(state === "open"));
  }

  // file shows what a file has, of which nothing is kept; without an answer it says that there is none any more.
  file(name, answer) {
    this.open(null);
    this.el.hidden = false;
    this.source = name;
    this.ledger = new Ledger("", { ledger: false });
    if (answer?.trace) this.show(answer);
    else {
      if (answer) this.message(answer.absent.icon, answer.absent.title, ...answer.absent.texts, name);
      else this.message("wait", "No file is open", "The page keeps none: choose it again, or drop it here.");
      $(".state", this.el).append(h("button", { type: "button", onclick: () => $("#open-file").click() }, "Open a file"));
    }
    $("#detail-title").focus();
  }

  // open shows a trace, and another one to compare it with; null shows none. The hash names a span and, after an @, a
  // piece of time in milliseconds: 00f067aa0ba902b7@12.5-14.
  async open(id, hash = "", other = "") {
    this.asked?.abort();
    clearTimeout(this.timer);
    this.trace = null;
    this.source = "";
    this.other = other;
    this.el.hidden = id === null;
    if (id === null) return;
    this.asked = new AbortController();
    const { signal } = this.asked;
    this.id = id;
    [this.wantedSpan, this.wantedTime] = hash.split("@");
    document.title = "Trace " + id.replace(/^0+(?=.)/, "").slice(0, 8);
    this.loading();
    this.ledger = new Ledger(id, this.config);
    const began = performance.now();
    let last = "";
    for (let pause = 250; !signal.aborted; pause = Math.min(pause * 1.4, 3000)) {
      try {
        const text = await api.trace(id, performance.now() - began, this.unsampled.has(id), other, signal);
        if (signal.aborted) return;
        const answer = JSON.parse(text);
        this.gone(null);
        if (text !== last && answer.trace) this.show(answer);
        else if (!this.trace && answer.absent.title) this.absent(answer);
        if (this.trace && (text === last || answer.settled)) this.announceTrace();
        if (answer.settled) return;
        last = text;
      } catch (err) {
        if (signal.aborted) return;
        this.gone(err);
        if (!err.title) throw err; // it is this page's own
      }
      await new Promise((done) => { this.timer = setTimeout(done, pause); signal.addEventListener("abort", done, { once: true }); });
      while (document.hidden && !signal.aborted) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    }
  }

  loading() {
    this.state = "";
    this.el.classList.remove("beside");
    this.el.replaceChildren(h("div", { class: "skeleton", role: "status" }, h("span", { class: "unseen", id: "detail-title" }, "Reading the trace…"),
      ...[50, 100, 96, 30, 60, 58].map((w) => h("span", { class: "sk-line", style: { width: w + "%" } }))));
  }

  message(symbol, title, ...sentences) {
    this.el.replaceChildren(h("div", { class: "state tall" }, icon(symbol), h("h2", { class: "state-title", id: "detail-title", tabIndex: -1 }, title),
      ...sentences.map((s, i) => h("p", { class: i ? "soft" : "" }, visible(s)))));
  }

  // absent says why no span is here. The ledger may know of the request all the same.
  absent(answer) {
    const { absent, requests, settled } = answer;
    const state = absent.title + settled + answer.logs?.lines?.length;
    if (this.state !== state) {
      this.message(absent.icon, absent.title, ...absent.texts);
      if (absent.again) $(".state", this.el).append(h("button", { type: "button", onclick: () => this.open(this.id, this.wantedSpan, this.other) }, "Look again"));
      if (settled) announce(absent.title + ".");
      if (answer.logs?.lines?.length) this.el.append(logSection(answer));
      if (this.config.ledger) this.el.append(this.ledger.element);
    }
    this.state = state;
    this.ledger.element.hidden = !requests?.length; // the sentence above speaks for both
    this.ledger.show(answer);
    this.toLedger(requests);
  }

  // toLedger brings the ledger into sight, once it tells something, for an address that ends with #ledger.
  toLedger(requests) {
    if (this.wantedSpan !== "ledger" || !requests?.length) return;
    this.wantedSpan = "";
    this.ledger.element.scrollIntoView();
  }

  // gone says that the store does not answer. What is drawn already stays.
  gone(err) {
    if (!err) { this.warning?.remove(); this.warning = null; return; }
    this.state = "";
    if (!this.trace) {
      this.message(err.gone ? "unplugged" : "error", err.title ?? "This page has a fault", err.message, "This page keeps asking.");
    } else if (!this.warning) {
      this.warning = h("p", { class: "note bad", role: "status" }, icon("unplugged"), visible(err.message), " What you see was read before.");
      this.el.prepend(this.warning);
    }
  }

  // show draws a trace, or what has arrived of it since.
  show(answer) {
    const { trace, requests } = answer;
    const first = !this.trace, chosen = this.waterfall?.selected;
    this.trace = trace;
    if (first) this.frame();
    setText(this.title, visible(trace.title));
    setText(this.subtitle, visible(trace.subtitle));
    this.title.parentElement.title = this.title.parentElement.textContent; // there may be no room for all of it
    document.title = `${visible(trace.title)} ${trace.duration.text}`;
    distinct(trace.services.map((s) => s.name));
    this.facts.replaceChildren(...factList(trace));
    this.story.replaceChildren(...(trace.notes ?? []).map(note));
    this.legend.replaceChildren(legend(trace));
    this.marks.replaceChildren(marks(trace));
    this.fold.hidden = !trace.spans.some((s) => s.children);
    this.path.replaceChildren(...say(trace.critical ?? []));
    this.waterfall.show(trace, answer.twin?.scale);
    if (this.finder.value) this.search();
    this.where.replaceChildren(whereTheTimeWent(trace));
    this.lines = answer.logs?.lines ?? [];
    const logs = JSON.stringify(answer.logs);
    if (logs !== this.logged) this.logs.replaceChildren(logSection(answer, trace.id)); // else what is unfolded stays so
    this.logged = logs;
    this.ledger.show(answer);
    this.toLedger(requests);
    if (first) this.look(this.wantedTime);
    if (first && this.wantedSpan) this.choose(this.find(this.wantedSpan), true);
    else if (chosen) this.choose(this.find(chosen.span_id, chosen.kind));
    this.twin.replaceChildren();
    if (answer.twin) this.compare(answer.twin, trace.plain);
    this.loaded();
  }

  // find finds a span by its id. A client's and a server's may share one; the server's stands below the client's.
  find(spanID, kind) {
    return this.trace?.spans.findLast((s) => s.span_id === spanID && (!kind || s.kind === kind)) ?? null;
  }

  // announceTrace is for an answer without anything new: the first spans are not the trace.
  announceTrace() {
    const { title, spans, duration, errors } = this.trace;
    announce(`Trace of ${visible(title)}: ${errors} of ${plural(spans.length, "span")} failed, ${duration.text}.`);
  }

  frame() {
    this.title = h("span", { class: "d-title" });
    this.subtitle = h("span", { class: "d-sub" });
    this.facts = h("dl", { class: "facts" });
    this.story = h("div", { class: "story" });
    this.legend = h("div", { class: "legend-box" });
    this.marks = h("div");
    this.fold = h("button", { type: "button", class: "quiet", onclick: () => setText(this.fold, this.waterfall.toggleAll() ? "Expand all" : "Collapse all") }, "Collapse all");
    this.waterfall = new Waterfall("Spans of this trace", (span) => this.choose(span), () => { this.address(); alike(this.waterfall, this.second); });
    this.second = null;
    this.spanBox = h("section", { class: "span-box", "aria-label": "The open span", hidden: true });
    this.finder = h("input", { type: "search", placeholder: "Find ( / )", autocomplete: "off", spellcheck: false, "aria-label": "Find spans by name, service, attribute or id",
      oninput: () => this.search(), onkeydown: (e) => this.findKey(e) });
    this.count = h("span", { class: "count", role: "status" });
    const step = (back, label) => h("button", { type: "button", class: "quiet step", "aria-label": label, title: label, onclick: () => this.step(back) }, icon(back ? "up" : "down"));
    this.steps = h("span", { class: "steps", hidden: true }, this.count, step(true, "Previous match (Shift-Enter)"), step(false, "Next match (Enter)"));
    this.lister = h("button", { type: "button", class: "quiet lister", "aria-controls": "traces", "aria-expanded": String(this.listed === "open"),
      onclick: () => { this.list(this.listed === "open" ? "closed" : "open"); remember("list", this.listed); } }, icon("list"), "Traces");
    this.path = h("p", { class: "hint" });
    this.twin = h("div", { class: "twin" });
    this.logs = h("div", { class: "log-box" });
    this.logged = null;
    this.where = h("div", { class: "where" });
    this.json = h("pre", { class: "json", tabIndex: 0, "aria-label": "The trace as JSON" });
    const { id } = this.trace;
    this.el.replaceChildren(
      h("header", { class: "d-head" }, h("a", { class: "back", href: "/", "aria-label": "All traces", title: "All traces" }, icon("back")), this.lister,
        h("h2", { id: "detail-title", tabIndex: -1 }, this.title, " ", this.subtitle), this.facts,
        h("div", { class: "d-id" }, h("code", {}, id), copyButton("Copy id", id), ...this.source ? [] : [
          h("a", { class: "button", href: `/trace/${id}/with/` }, "Compare…"),
          h("a", { class: "button", href: api.raw(id), download: `trace-${id}.json` }, "Download")])),
      this.story,
      this.source && h("p", { class: "note", role: "status" }, icon("wait"), h("span", {}, "From the file ", h("strong", {}, visible(this.source)), ", not from the trace store. The explorer on this machine has read it and keeps nothing of it.")),
      this.card = h("section", { class: "card wf-card", "aria-labelledby": "wf-title" },
        h("div", { class: "card-head" }, h("h3", { id: "wf-title" }, "Waterfall"), this.legend, h("span", { class: "find", role: "search" }, this.finder, this.steps), this.fold), this.waterfall.element,
        this.marks, this.path, h("p", { class: "hint" }, "Choose a span for its details. Drag over the axis to zoom in, or press +, − and z (to the span); 0 or Esc shows all again.")),
      this.spanBox,
      this.twin, this.logs, this.where,
      ...this.source ? [] : [this.ledger.element, h("details", { class: "fold", ontoggle: (e) => e.target.open && this.fillJSON(id) }, h("summary", {}, "Raw JSON"),
        h("p", { class: "soft" }, "As Tempo sends it, ids in base64: ", h("a", { href: api.raw(id), target: "_blank", rel: "noreferrer" }, "open it alone")), this.json)]);
  }

  // compare draws another trace on the same time scale, or offers to make one of the instrumented twin.
  compare({ trace: other, scale, title, text, call }, plain) {
    const card = (cls, head, ...rest) => this.twin.replaceChildren(h("section", { class: "card " + cls }, h("div", { class: "card-head" }, h("h3", {}, title), head), ...rest));
    if (!other) {
      card("invite", null, h("p", {}, text), call && h("button", { type: "button", class: "primary", onclick: () => this.call(call, plain.query) }, `Call ${call} now`));
      return;
    }
    const tree = new Waterfall("Spans of the other trace", (s) => s && this.go(`/trace/${other.id}#${s.span_id}`), () => alike(tree, this.waterfall));
    this.second = tree;
    card("", h("div", { class: "legend-box" }, legend(other)),
      h("p", { class: "soft" }, text + " ", h("a", { href: "/trace/" + other.id }, "Open this trace"),
        this.other && h("span", {}, " · ", h("a", { href: "/trace/" + this.id }, "Stop comparing"))), tree.element, marks(other));
    tree.show(other, scale);
    alike(this.waterfall, tree);
    if (this.other && !this.compared) this.twin.scrollIntoView({ block: "nearest" });
    this.compared = this.other;
  }

  // choose opens a span's details, or closes them.
  choose(span, reveal = false, focus = true) {
    const again = span && this.waterfall.selected?.span_id === span.span_id, unfolded = again && $(".resource", this.spanBox)?.open;
    this.waterfall.select(span);
    this.spanBox.hidden = !span;
    this.spanBox.replaceChildren(...(span ? [spanDetails(span, this.trace, this.lines.filter((l) => this.trace.spans[l.span] === span), {
      close: () => { this.choose(null); this.waterfall.go(this.waterfall.active); },
      zoom: () => this.waterfall.toSpan(span),
    })] : []));
    if (unfolded) $(".resource", this.spanBox).open = true;
    this.address();
    this.place();
    if (span && reveal) this.waterfall.reveal(span, focus);
    if (again) return;
    this.spanBox.scrollTop = 0;
    if (span && this.waterfall.below) for (const el of [this.spanBox, this.waterfall.row]) el?.scrollIntoView({ block: "nearest" });
  }

  // place puts a span's details beside the waterfall, or below its row where there is no room.
  place() {
    if (!this.trace || !this.spanBox) return;
    const open = !this.spanBox.hidden, wide = this.el.clientWidth >= beside, inside = open && !wide;
    this.el.classList.toggle("beside", open && wide);
    if (inside === Boolean(this.waterfall.below)) { this.waterfall.draw(false); return; }
    this.waterfall.under(inside ? this.spanBox : null);
    if (!inside) this.card.after(this.spanBox);
  }

  // address makes the page's address name the open span and the piece of time that is shown.
  address() {
    const { selected, range } = this.waterfall, exact = (ms) => Number(ms.toFixed(6));
    const hash = (selected?.span_id ?? "") + (range ? "@" + range.map(exact).join("-") : "");
    history.replaceState(history.state, "", location.pathname + location.search + (hash && "#" + hash));
  }

  // look shows a piece of time, as an address names it.
  look(time) {
    const range = /^([\d.e-]+)-([\d.]+)$/.exec(time ?? "")?.slice(1).map(Number);
    if (range && range[0] < range[1]) this.waterfall.zoom(range);
  }

  // search marks what the field asks for.
  search() {
    const found = this.waterfall.find(this.finder.value);
    this.steps.hidden = !this.finder.value.trim();
    setText(this.count, found ? plural(found, "match", "matches") : "No match");
  }

  // step opens the next match, or the one before.
  step(back) {
    const { span, number } = this.waterfall.next(back);
    if (!span) return;
    this.choose(span, true, false);
    setText(this.count, `${number.toLocaleString("en")} of ${this.waterfall.found.size.toLocaleString("en")}`);
  }

  findKey(e) {
    if (e.key === "Enter") this.step(e.shiftKey);
    else if (e.key === "Escape" && this.finder.value) { this.finder.value = ""; this.search(); }
    else if (e.key === "Escape") this.waterfall.go(this.waterfall.active);
    else return;
    e.preventDefault();
  }

  // reveal opens a span of the trace that is shown, and reports whether it has one of this id.
  reveal(hash) {
    const [spanID, time] = hash.split("@");
    const span = this.find(spanID);
    if (span) this.look(time);
    if (span) this.choose(span, true);
    return Boolean(span);
  }

  async fillJSON(id) {
    const text = await api.rawText(id, this.asked.signal).then((raw) => JSON.stringify(JSON.parse(raw), null, 2), (err) => err.message);
    this.json.textContent = multiline(text.slice(0, mostJSON)) + (text.length > mostJSON ? `\n… and ${(text.length - mostJSON).toLocaleString("en")} characters more: open it alone.` : "");
  }
}

// alike makes a waterfall show the piece of time that another one shows.
function alike(from, to) {
  if (to && String(to.range) !== String(from.range)) to.zoom(from.range);
}

function factList({ duration, status, spans, failed, started_at: started }) {
  const fact = (name, cls, ...value) => h("div", { class: cls }, h("dt", {}, name), h("dd", {}, ...value));
  return [
    fact("Duration", "bare", duration.text),
    status && fact("Status", status >= 400 ? "bad" : "", visible(status)),
    fact("Spans", "bare", plural(spans.length, "span")),
    failed && fact("Errors", "bad bare", icon("error"), failed),
    fact("Started", "wide bare", clock(Date.parse(started))),
  ].filter(Boolean);
}

function whereTheTimeWent(trace) {
  const row = (r, label) => h("tr", { class: r.service ? colour(r.service) : "dark" },
    h("th", { scope: "row" }, h("span", { class: "dot" }), r.service ? label(r) : r.name, r.errors ? h("span", { class: "wf-error", title: `${plural(r.errors, "span")} failed` }, icon("error"), String(r.errors)) : ""),
    h("td", { class: "num" }, r.service ? r.spans.toLocaleString("en") : "–"), h("td", { class: "num" }, r.dark ? "–" : r.time.text),
    h("td", { class: "num share" }, h("span", { class: "share-bar", style: { "--share": r.share } }), h("span", {}, r.dark ? "–" : r.percent)));
  const table = (title, rows, label) => h("div", { class: "table-box" }, h("table", {}, h("caption", {}, title),
    h("thead", {}, h("tr", {}, ...["", "Spans", "Time", "Share"].map((t, i) => h("th", { class: i ? "num" : "", scope: "col" }, t || h("span", { class: "unseen" }, "Name"))))),
    h("tbody", {}, ...rows.slice(0, mostRows).map((r) => row(r, label))),
    rows.length > mostRows && h("tfoot", {}, h("tr", {}, h("td", { colSpan: 4 }, `and ${rows.length - mostRows} more`)))));
  return h("section", { class: "card", "aria-labelledby": "where-title" },
    h("div", { class: "card-head" }, h("h3", { id: "where-title" }, "Where the time went")),
    h("div", { class: "tables" },
      table("By service", trace.by_service, (r) => visible(r.service)),
      table("By span", trace.by_span, (r) => [...breakable(visible(r.name)), h("span", { class: "of" }, " " + visible(r.service))])),
    h("p", { class: "hint" }, "Time is charged to the span doing work, not to spans waiting for it; spans that work at the same time share it. Time that no span here covers is unexplained. The rows add up to the trace's duration."));
}
