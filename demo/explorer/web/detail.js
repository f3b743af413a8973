// One trace: what it says in a sentence, its waterfall, the span that is open, where the time went, the ledger, and the
// data itself.

import * as api from "./api.js";
import { $, announce, h, icon, setText } from "./dom.js";
import { clock, duration, fullID, multiline, plural, visible } from "./format.js";
import { colour } from "./colours.js";
import { askedFor, darkness, httpStatus, parse, sums } from "./trace.js";
import { legend, Waterfall } from "./waterfall.js";
import { spanDetails } from "./span.js";
import { ledgerSection } from "./ledger.js";

const settled = 3; // answers without anything new after which a trace is taken to be complete
const young = 20_000; // milliseconds after its end in which more spans may come
const moment = 60_000; // milliseconds within which two traces are of the same moment
const missing = 30_000; // milliseconds to wait for a trace before saying that it is not there

export class Detail {
  constructor({ config, loaded, call, go }) {
    this.config = config;
    this.loaded = loaded; // told of each trace that has been read
    this.call = call; // sends a request, for the button beside a plain trace
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
      this.message("error", "This is not a trace id", "A trace id has up to 32 hexadecimal digits. Leading zeros may be left out.", visible(text).slice(0, 80));
      return;
    }
    document.title = "Trace " + id.replace(/^0+(?=.)/, "").slice(0, 8);
    this.loading();
    const began = performance.now();
    let last = "", same = 0;
    for (let pause = 250; !signal.aborted; pause = Math.min(pause * 1.4, 3000)) {
      try {
        const answer = await api.traceText(id, signal);
        if (signal.aborted) return;
        if (answer === last) {
          same++;
        } else {
          const parsing = performance.now();
          const trace = parse(answer);
          if (trace) {
            last = answer;
            same = 0;
            this.text = answer;
            this.show(trace, parsing);
          }
        }
        this.gone(null);
        if (this.trace) {
          const old = Date.now() - (this.trace.startedAt + this.trace.duration) > young;
          if (old || same >= settled && !this.trace.root.orphan) return;
        } else if (performance.now() - began > missing) {
          this.absent(id);
        } else if (performance.now() - began > 1200) {
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
    if (this.state === "waiting") return;
    this.message("wait", "Waiting for this trace", "Its spans are on their way: they are sent a moment after the answer.", id);
    this.state = "waiting";
    this.recorded(id);
  }

  absent(id) {
    if (this.state === "absent") return;
    this.message("unplugged", "This trace is not here",
      "It has not arrived, was not sampled, or is older than what the trace store keeps. If it arrives after all, it appears here.", id);
    this.state = "absent";
    this.recorded(id);
    announce("This trace is not here.");
  }

  // recorded adds the ledger: it may know a request of which no span was kept.
  recorded(id) {
    if (this.config.ledger) this.el.append(ledgerSection(id, this.config, this.asked.signal));
  }

  // gone says that the store does not answer. What is drawn already stays.
  gone(err) {
    if (!err) { this.warning?.remove(); this.warning = null; return; }
    if (!this.trace) {
      this.message(err.gone ? "unplugged" : "error", err.gone ? "Nobody answers" : "The trace store refused", visible(err.message), "This page keeps asking.");
      return;
    }
    if (this.warning) return;
    this.warning = h("p", { class: "note bad", role: "status" }, icon("unplugged"), visible(err.message), " What is shown is what was read before.");
    this.el.prepend(this.warning);
  }

  // show draws a trace, or what has arrived of it since.
  show(trace, parsing) {
    const first = !this.trace;
    this.trace = trace;
    this.state = "shown";
    this.dark = darkness(trace, this.config.services);
    const target = askedFor(trace, this.config.services);
    if (first) this.frame();
    const title = target ? target.name : visible(trace.root.service);
    setText(this.title, title);
    setText(this.subtitle, trace.root.orphan ? "its first span has not arrived" : `${visible(trace.root.service)} · ${visible(trace.root.name)}`);
    document.title = `${title} ${duration(trace.duration)}`;
    this.facts.replaceChildren(...this.factList(trace));
    this.story.replaceChildren(...this.tell(trace));
    this.legend.replaceChildren(legend(trace, this.dark));
    this.fold.hidden = !trace.spans.some((s) => s.children.length);
    this.waterfall.show(trace, { dark: this.dark });
    this.where.replaceChildren(...this.whereTheTimeWent(trace));
    this.fillJSON();
    if (first && this.wantedSpan) this.choose(trace.find(this.wantedSpan), true);
    else if (this.waterfall.selected) this.choose(trace.find(this.waterfall.selected));
    if (this.dark?.service.plain) this.compare();
    else this.twin.replaceChildren();
    if (first) {
      measure(parsing, trace);
      announce(`Trace of ${title}: ${plural(trace.spans.length, "span")}, ${duration(trace.duration)}, ${plural(trace.errors, "error")}.`);
    }
    this.loaded(trace);
  }

  frame() {
    this.title = h("span", { class: "d-title" });
    this.subtitle = h("span", { class: "d-sub" });
    this.facts = h("dl", { class: "facts" });
    this.story = h("div", { class: "story" });
    this.legend = h("div", { class: "legend-box" });
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
          copyButton("copy", "Copy id", () => this.id),
          copyButton("link", "Copy link", () => location.origin + "/trace/" + this.id))),
      this.facts, this.story,
      h("section", { class: "card", "aria-labelledby": "wf-title" },
        h("div", { class: "card-head" }, h("h3", { id: "wf-title" }, "Waterfall"), this.legend, this.fold), this.waterfall.element,
        h("p", { class: "hint" }, "Solid: the span's own time. Pale: it waits for a child. Choose a span for its details.")),
      this.spanBox, this.twin, this.where,
      ledgerSection(this.id, this.config, this.asked.signal),
      this.jsonBox);
  }

  factList(trace) {
    const status = httpStatus(trace);
    const fact = (name, value, cls = "") => h("div", { class: cls }, h("dt", {}, name), h("dd", {}, value));
    return [
      fact("Duration", duration(trace.duration), "big"),
      status && fact("Status", visible(status), Number(status) >= 400 ? "bad" : ""),
      fact("Spans", trace.spans.length.toLocaleString("en")),
      fact("Services", String(trace.services.length)),
      h("div", { class: trace.errors ? "bad" : "" }, h("dt", {}, "Errors"), h("dd", {}, trace.errors ? icon("error") : "", String(trace.errors))),
      fact("Started", clock(trace.startedAt), "wide"),
    ].filter(Boolean);
  }

  // tell says in a sentence or two what the picture shows.
  tell(trace) {
    const out = [];
    if (trace.partial) out.push(note("warn", "error", visible(trace.partial)));
    if (this.dark) out.push(this.mystery(trace));
    const causes = trace.spans.filter((s) => s.status === "error" && !s.children.some((c) => c.status === "error"));
    if (causes.length && !this.dark) {
      const cause = causes.reduce((a, b) => (b.end < a.end ? b : a));
      out.push(note("bad", "error", "It began in ", this.spanLink(cause), cause.message ? [": ", h("q", {}, visible(cause.message).slice(0, 200))] : "", "."));
    } else if (!this.dark && trace.spans.length > 1) {
      const [most] = sums(trace, (s) => s.service + "\n" + s.name);
      const share = most.self / (trace.duration || 1);
      if (share >= 0.3 && most.spans === 1) {
        const span = trace.spans.find((s) => s.service === most.service && s.name === most.name);
        out.push(note("good", "ok", `${Math.round(Math.min(1, share) * 100)} % of the time went into `, this.spanLink(span), `: ${duration(most.self)}.`));
      }
    }
    return out;
  }

  mystery(trace) {
    const { service, span, elsewhere } = this.dark;
    const share = Math.round(span.duration / (trace.duration || 1) * 100);
    const why = service.plain
      ? [`${service.name} is not instrumented: it was handed a trace header, reported nothing, and passed nothing on. The trace ends at the proxy's call, and whether Redis, ${service.calls ? service.calls + " or its" : "or the"} database took the time, nobody outside can tell.`]
      : elsewhere
        ? [`${service.name} answered from another trace: it did not take the header that was sent to it for one, and started its own. `, h("a", { href: "/trace/" + elsewhere }, "Open the other half")]
        : [`${service.name} is instrumented, yet no span of it is here. They may still be on their way, or its exporter does not reach the trace store, or it lost the trace header and told another trace.`];
    return h("div", { class: "note mystery" }, h("p", { class: "note-title" }, `${duration(span.duration)} are unexplained, ${share} % of all.`), h("p", {}, ...why));
  }

  spanLink(span) {
    return h("button", { type: "button", class: "inline", onclick: () => this.choose(span, true) }, visible(span.name), h("span", { class: "of" }, " of " + visible(span.service)));
  }

  // compare draws the instrumented twin's trace of the same moment on the same time scale.
  async compare() {
    const { service, span } = this.dark;
    const twin = this.config.services.find((s) => s.name === service.twin);
    if (!twin || this.compared === this.id && this.twin.children.length) return;
    this.compared = this.id;
    const { id, asked: { signal } } = this;
    const middle = Math.floor(this.trace.startedAt / 1000);
    let other = null;
    try {
      const found = await api.search({ tags: api.tags({ "server.address": twin.host, "service.name": twin.name }), start: middle - 1800, end: middle + 1800, limit: 50 }, signal);
      const near = (s) => Math.abs(Number(BigInt(s.startTimeUnixNano ?? 0) / 1_000_000n) - this.trace.startedAt);
      found.sort((a, b) => near(a) - near(b));
      for (const summary of found.slice(0, 3)) {
        const candidate = parse(await api.traceText(fullID(summary.traceID), signal));
        if (candidate && askedFor(candidate, [twin])) { other = candidate; break; }
      }
    } catch { if (signal.aborted) return; }
    if (signal.aborted || this.id !== id) return;
    const head = (title, ...rest) => h("div", { class: "card-head" }, h("h3", {}, title), ...rest);
    if (!other) {
      this.twin.replaceChildren(h("section", { class: "card invite" }, head("The answer is one call away"),
        h("p", {}, `${twin.name} is the same program, instrumented. Call it, and see what happens inside a request like this one.`),
        h("button", { type: "button", class: "primary", onclick: () => this.call(twin.name) }, "Call " + twin.name)));
      return;
    }
    const scale = Math.max(this.trace.duration, other.duration);
    const apart = Math.abs(other.startedAt - this.trace.startedAt);
    const same = apart < moment;
    const when = apart < 1500 ? "Both began at the same time" : `It began ${duration(apart)} ${other.startedAt < this.trace.startedAt ? "earlier" : "later"}`;
    const tree = new Waterfall(`Spans of ${twin.name}'s trace`, (s) => s && this.go(`/trace/${other.id}#${s.id}`));
    this.twin.replaceChildren(h("section", { class: "card" },
      head(`${same ? "The same moment, instrumented" : "The same program, instrumented"}: ${twin.name}`, h("div", { class: "legend-box" }, legend(other, null)),
        same ? "" : h("button", { type: "button", onclick: () => this.call(twin.name) }, `Call ${twin.name} now`)),
      h("p", { class: "soft" }, `${when}, and is drawn on the same time scale. `, h("a", { href: "/trace/" + other.id }, "Open this trace")),
      tree.element));
    tree.show(other, { scale });
    this.waterfall.show(this.trace, { dark: { service, span }, scale });
  }

  whereTheTimeWent(trace) {
    const total = trace.spans.reduce((sum, s) => sum + s.selfTime, 0) || 1;
    const table = (title, rows, label) => h("div", { class: "table-box" }, h("table", {}, h("caption", {}, title),
      h("thead", {}, h("tr", {}, ...["", "Spans", "Self time", "Share"].map((t, i) => h("th", { class: i ? "num" : "", scope: "col" }, t || h("span", { class: "unseen" }, "Name"))))),
      h("tbody", {}, ...rows.slice(0, 12).map((r) => h("tr", { class: colour(r.service) },
        h("th", { scope: "row" }, h("span", { class: "dot" }), label(r), r.errors ? h("span", { class: "wf-error" }, icon("error"), String(r.errors)) : ""),
        h("td", { class: "num" }, r.spans.toLocaleString("en")), h("td", { class: "num" }, duration(r.self)),
        h("td", { class: "num share" }, h("span", { class: "share-bar", style: { "--share": r.self / total } }), h("span", {}, percent(r.self / total)))))),
      rows.length > 12 ? h("tfoot", {}, h("tr", {}, h("td", { colSpan: 4 }, `and ${rows.length - 12} more`))) : ""));
    return [h("section", { class: "card", "aria-labelledby": "where-title" },
      h("div", { class: "card-head" }, h("h3", { id: "where-title" }, "Where the time went")),
      h("div", { class: "tables" },
        table("By service", sums(trace, (s) => s.service), (r) => visible(r.service)),
        table("By span", sums(trace, (s) => s.service + "\n" + s.name), (r) => [visible(r.name) || "(no name)", h("span", { class: "of" }, " " + visible(r.service))])),
      h("p", { class: "hint" }, "Self time is the time in which a span did not wait for a child; the shares are of the sum of all self times.",
        this.dark ? " What is unexplained counts for the one who waited for it." : ""))];
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
      go: (other) => this.choose(other, true),
    }));
  }

  fillJSON() {
    if (!this.jsonBox.open) return;
    const all = JSON.stringify(JSON.parse(this.text), null, 2);
    const most = 300_000;
    this.json.textContent = multiline(all.slice(0, most)) + (all.length > most ? `\n… and ${(all.length - most).toLocaleString("en")} characters more: open it alone.` : "");
  }
}

// note is one sentence with a sign before it.
function note(kind, symbol, ...text) {
  return h("p", { class: "note " + kind }, icon(symbol), h("span", {}, ...text.flat()));
}

function percent(share) {
  const p = share * 100;
  return p > 0 && p < 0.1 ? "<0.1 %" : p.toFixed(p < 9.95 ? 1 : 0) + " %";
}

function copyButton(symbol, label, text) {
  const word = h("span", {}, label);
  const button = h("button", { type: "button", class: "quiet" }, icon(symbol), word);
  button.addEventListener("click", async () => {
    const done = await copy(text());
    setText(word, done ? "Copied" : "Not allowed");
    announce(done ? "Copied." : "The browser does not allow copying here.");
    setTimeout(() => setText(word, label), 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard is for secure contexts; a plain http address that is not loopback is none.
    const box = h("textarea", { value: text, class: "unseen" });
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  }
}

// measure notes how long the first picture took, from the text's arrival to the frame after it: see the browser's
// performance tools, or e2e.
function measure(parsing, trace) {
  requestAnimationFrame(() => setTimeout(() => performance.measure("trace-paint", { start: parsing, detail: { spans: trace.spans.length } })));
}
