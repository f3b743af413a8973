// Broken telemetry, on purpose. A riddle hides a fault: hints and answer come from the server, which keeps the name until it
// is found, so that nothing on the page or in its requests tells it. Who wants a given fault chooses it.

import * as api from "./api.js";
import { lead } from "./calls.js";
import { $, announce, h, icon, poller } from "./dom.js";
import { clock, visible } from "./format.js";

export class Faults {
  constructor({ config, go }) {
    if (!config.faults) return;
    this.go = go; // opens an address
    this.el = $("#faults");
    this.el.hidden = false;
    this.all = []; // the faults to choose from, once somebody wants to choose
    // Another tab, or `demo up -break`, may change it.
    this.poll = poller(async () => this.show(await api.faults()), 5000);
    this.poll.kick();
  }

  show(state) {
    if (state.riddle?.began !== this.state?.riddle?.began) this.naming = this.correct = false;
    this.state = state;
    const key = JSON.stringify([state, this.busy, this.failed, this.choosing, this.naming]);
    if (this.key === key) return;
    this.key = key;
    const focused = document.activeElement?.dataset?.do;
    this.el.replaceChildren(...this.section());
    const bar = $("#fault-banner");
    bar.hidden = !state.riddle && !state.fault;
    bar.replaceChildren(...(state.riddle ? [this.riddle(state.riddle)] : state.fault ? [this.given(state.fault)] : []));
    lead();
    if (focused) ($(`[data-do="${CSS.escape(focused)}"]`) ?? $("#riddle-title"))?.focus({ preventScroll: true });
  }

  again() { this.show(this.state); }

  // act asks for a change, shows that it is under way, and then what became of it.
  async act(what, change, said) {
    if (this.busy !== undefined) return;
    this.busy = what;
    this.failed = "";
    this.again();
    let state = this.state;
    try {
      state = await change();
      announce(said(state));
    } catch (err) {
      this.failed = err.message;
      announce(err.message);
      this.poll.kick();
    }
    this.busy = undefined;
    this.show(state);
  }

  button(what, text, props, busyText = text) {
    const busy = this.busy === what;
    return h("button", { type: "button", ...props, class: (props.class ?? "") + (busy ? " calling" : ""), "data-do": what }, busy ? busyText : text);
  }

  begin(text, props) {
    return this.button("begin", text, { ...props, onclick: () => this.act("begin", () => this.next(), () => "Something is broken now.") }, "Breaking…");
  }

  // next breaks something else, and closes the trace that is open: it tells of what was before.
  async next() {
    const state = await api.riddle("begin");
    this.go("/");
    return state;
  }

  repair() {
    return this.button("repair", "Repair", { onclick: () => this.act("repair", () => api.setFault(""), () => "It is repaired.") }, "Repairing…");
  }

  trouble() {
    return this.failed ? h("p", { class: "note bad" }, icon("error"), visible(this.failed)) : "";
  }

  // section is the lab on the first page, with its two ways in.
  section() {
    const { riddle, fault, seed } = this.state;
    const hidden = riddle && !riddle.answer;
    return [
      h("div", { class: "lab-head" },
        h("div", {},
          h("h2", { id: "faults-title" }, h("span", { class: "step" }, "3"), " Break the telemetry"),
          h("p", { class: "soft" }, hidden ? "Something is broken now. The box at the top of each page has hints and takes your answer."
            : "Seven faults break the telemetry and nothing else: the services answer as before. Let the demo hide one for you to find, or choose one.")),
        h("div", { class: "buttons" }, hidden ? "" : this.begin("Break something", { "data-step": 3 }),
          h("button", { type: "button", "data-do": "choose", "aria-expanded": String(Boolean(this.choosing)), onclick: () => this.choose() }, "Choose a fault"))),
      riddle || fault ? "" : this.trouble(),
      riddle ? h("p", { class: "hint" }, "For a class: ", h("code", {}, "go run ./demo up -break random:" + seed), " hides the same faults in the same order.") : "",
      this.choosing ? h("ul", { class: "fault-list" }, ...this.all.map((f) => this.card(f, f.name === this.state.active))) : "",
    ];
  }

  card(f, on) {
    const what = "fault " + f.name;
    return h("li", { class: "fault card" + (on ? " on" : "") },
      h("h3", {}, visible(f.title), on ? h("span", { class: "badge bad" }, icon("error"), "on") : ""),
      h("p", {}, h("strong", {}, "Symptom: "), visible(f.symptom)),
      h("details", {}, h("summary", { "data-do": "open " + f.name }, "Diagnosis and fix"),
        h("p", {}, h("strong", {}, "Diagnosis: "), visible(f.diagnosis)), h("p", {}, h("strong", {}, "Fix: "), visible(f.fix))),
      this.button(what, on ? "Repair" : "Break it", { "data-fault": f.name, "aria-pressed": String(on),
        onclick: () => this.act(what, () => api.setFault(on ? "" : f.name), () => (on ? "It is repaired." : "It is broken now.")) }, on ? "Repairing…" : "Breaking…"));
  }

  given(fault) {
    return h("div", { class: "note bad fault-note", role: "status" }, icon("error"),
      h("details", {}, h("summary", {}, h("strong", {}, "Broken on purpose: "), visible(fault.title), "."), h("p", {}, visible(fault.symptom)),
        this.failed ? h("strong", { class: "problem" }, " ", visible(this.failed)) : ""),
      this.repair());
  }

  // riddle is the box at the top of each page while a fault is on that was hidden.
  riddle(r) {
    return h("section", { class: "card riddle", "aria-labelledby": "riddle-title" },
      h("div", { class: "riddle-head" },
        h("h2", { id: "riddle-title", tabIndex: -1 }, r.answer ? (this.correct ? "Correct" : "The cause") : "Something is broken"),
        h("span", { class: "soft" }, `on since ${clock(Date.parse(r.began)).split(".")[0]}`)),
      ...(r.answer ? this.solved(r) : this.unsolved(r)), this.trouble());
  }

  unsolved(r) {
    const total = r.hints.length + r.more_hints;
    const wrong = r.wrong.at(-1);
    return [
      h("p", {}, ...look(r) ?? ["One of seven faults is on. Call uservice3; see its trace, the list of traces and the hop ledger."]),
      r.hints.length ? h("ol", { class: "hints" }, ...r.hints.map((text) => h("li", {}, visible(text)))) : "",
      wrong ? h("p", { class: "note bad" }, icon("error"), h("span", {}, h("strong", {}, "No, it is something else. "), `If it were “${visible(wrong.title)}”, you would see this: ${visible(wrong.symptom)}`)) : "",
      this.naming ? this.causes(r) : "",
      h("div", { class: "buttons" },
        this.naming ? "" : h("button", { type: "button", class: "primary", "data-do": "name", onclick: () => this.name() }, "Name the cause"),
        r.more_hints ? this.button("hint", `Hint ${r.hints.length + 1} of ${total}`, { onclick: () => this.act("hint", () => api.riddle("hint"), (s) => s.riddle?.hints.at(-1) ?? "") }) : "",
        this.button("give-up", "Give up", { onclick: () => this.act("give-up", () => api.riddle("give-up"), (s) => `The cause: ${s.riddle?.answer?.title}`) }),
        this.repair()),
    ];
  }

  causes(r) {
    const guess = () => {
      const cause = this.picked;
      this.picked = "";
      const check = async () => {
        const state = await api.riddle("guess", cause);
        this.correct = Boolean(state.riddle?.answer);
        return state;
      };
      if (cause) this.act("guess", check, verdict);
    };
    return h("fieldset", { class: "causes" }, h("legend", {}, "What is the cause?"),
      ...this.all.map((f) => {
        const no = r.wrong.some((w) => w.name === f.name);
        const radio = { type: "radio", name: "cause", value: f.name, disabled: no, checked: !no && f.name === this.picked, "data-do": "cause " + f.name };
        return h("label", { class: no ? "no" : "" }, h("input", { ...radio, onchange: () => { this.picked = f.name; } }), h("span", {}, visible(f.title)), no ? h("span", { class: "badge" }, "no") : "");
      }),
      h("div", { class: "buttons" }, this.button("guess", "Check answer", { class: "primary", onclick: guess }),
        h("button", { type: "button", "data-do": "cancel", onclick: () => { this.naming = false; this.again(); $("[data-do=name]").focus(); } }, "Cancel")));
  }

  solved(r) {
    const { answer } = r;
    return [
      h("p", { class: "note good" }, icon("ok"), h("strong", {}, visible(answer.title), ".")),
      h("p", {}, h("strong", {}, "What shows it: "), visible(answer.symptom), " ", ...look(r) ?? []),
      h("p", {}, h("strong", {}, "Diagnosis: "), visible(answer.diagnosis)),
      h("p", {}, h("strong", {}, "Fix: "), visible(answer.fix)),
      h("div", { class: "buttons" }, this.repair(), this.begin("Break something else", { class: "primary" })),
    ];
  }

  // want reads the list of faults, which nobody needs before.
  async want() {
    try {
      if (!this.all.length) this.all = await api.allFaults();
      return true;
    } catch (err) {
      this.failed = err.message;
      this.again();
      return false;
    }
  }

  async choose() {
    this.choosing = !this.choosing && await this.want();
    this.again();
  }

  async name() {
    this.picked = "";
    this.naming = await this.want();
    this.again();
    $("input[name=cause]:not(:disabled)")?.focus();
  }
}

function verdict({ riddle }) {
  if (!riddle) return "";
  return riddle.answer ? "Correct: " + riddle.answer.title : "No, it is something else.";
}

// look leads to what the learner has seen of it, if anything.
function look(r) {
  if (!r.trace) return null;
  const path = "/trace/" + r.trace;
  const scroll = (e) => {
    if (location.pathname !== path || !$(".ledger")) return;
    e.preventDefault();
    e.stopPropagation();
    $(".ledger").scrollIntoView();
  };
  return ["Your newest call: ", h("a", { href: path }, "trace"), ", ", h("a", { href: path + "#ledger", onclick: scroll }, "hop ledger"), "."];
}
