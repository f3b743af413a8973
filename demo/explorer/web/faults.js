// Broken telemetry, on purpose: each fault is an exercise. The symptom is told, diagnosis and fix wait to be opened.

import * as api from "./api.js";
import { $, announce, h, icon, poller } from "./dom.js";
import { visible } from "./format.js";

export class Faults {
  constructor({ config }) {
    if (!config.faults) return;
    this.el = $("#faults");
    this.el.hidden = false;
    // Another tab, or `demo up -break`, may change it.
    this.poll = poller(async () => this.show(await api.faults()), 5000);
    this.poll.kick();
  }

  show(state) {
    const key = JSON.stringify(state) + this.busy + this.failed;
    if (this.key === key) return;
    this.key = key;
    this.state = state;
    const focused = document.activeElement?.dataset?.fault;
    const open = new Set([...this.el.querySelectorAll("details[open]")].map((d) => d.dataset.answer));
    const active = state.faults.find((f) => f.name === state.active);
    this.el.replaceChildren(
      h("h2", { id: "faults-title" }, "Break it on purpose"),
      h("p", { class: "soft" }, "Each of these breaks the telemetry and nothing else: the services answer as before. Turn one on, call uservice3, and find out what you can still see."),
      this.failed ? h("p", { class: "note bad" }, icon("error"), visible(this.failed)) : "",
      h("ul", { class: "fault-list" }, ...state.faults.map((f) => this.card(f, f.name === state.active, open))));
    if (focused) this.el.querySelector(`[data-fault="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.banner(active);
  }

  card(f, on, open) {
    const busy = this.busy === f.name || on && this.busy === "";
    return h("li", { class: "fault card" + (on ? " on" : "") },
      h("h3", {}, visible(f.title), on ? h("span", { class: "badge bad" }, icon("error"), "on") : ""),
      h("p", {}, h("strong", {}, "Symptom: "), visible(f.symptom)),
      h("details", { open: open.has(f.name), "data-answer": f.name }, h("summary", {}, "Diagnosis and fix"),
        h("p", {}, h("strong", {}, "Diagnosis: "), visible(f.diagnosis)), h("p", {}, h("strong", {}, "Fix: "), visible(f.fix))),
      h("button", { type: "button", "data-fault": f.name, class: busy ? "calling" : "", "aria-pressed": String(on), onclick: () => this.set(on ? "" : f.name) },
        busy ? (on ? "Mending…" : "Breaking…") : on ? "Mend it" : "Break it"));
  }

  banner(active) {
    const box = $("#fault-banner");
    box.hidden = !active;
    if (!active) { box.replaceChildren(); return; }
    box.replaceChildren(h("div", { class: "note bad fault-note" }, icon("error"),
      h("span", {}, h("strong", {}, "Broken on purpose: "), visible(active.title), ". ", visible(active.symptom)),
      h("button", { type: "button", onclick: () => this.set("") }, "Mend it")));
  }

  async set(name) {
    if (this.busy !== undefined) return;
    this.busy = name;
    this.failed = "";
    this.show(this.state);
    try {
      const state = await api.setFault(name);
      this.busy = undefined;
      this.show(state);
      announce(name ? "It is broken now." : "It is mended.");
    } catch (err) {
      this.busy = undefined;
      this.failed = err.message;
      this.show(this.state);
    }
  }
}
