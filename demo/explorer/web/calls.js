// The buttons that call a service through the gateway, and what an outsider learns from it: a status and a time.

import * as api from "./api.js";
import { $, announce, h, icon, setText } from "./dom.js";

const patience = 20_000; // milliseconds to look for the trace of a service that does not tell its id

export class Calls {
  // open(id, sampled) shows a trace; where() is the address, to notice that the reader has gone elsewhere meanwhile.
  constructor({ open, where, answered }) {
    this.open = open;
    this.answered = answered; // told when a call has ended
    this.where = where;
    for (const box of document.querySelectorAll(".caller")) {
      $("button", box).addEventListener("click", () => this.call(box.dataset.service));
    }
    lead();
  }

  // call sends one request; its answer is shown, and its trace opened if the reader has stayed. What shall fail and be slow
  // is in a query, or else what the reader has chosen.
  async call(service, query = null) {
    const [fail, slow] = ["fail", "slow"].map((name) => (query === null ? $(`input[name=${name}]:checked`).value : new URLSearchParams(query).get(name) ?? ""));
    const from = this.where();
    const item = h("li", { class: "answer waiting" }, h("span", { class: "spin" }), h("span", { class: "answer-service" }, service), h("span", { class: "answer-time" }, "calling…"));
    const answers = $("#answers");
    answers.prepend(item);
    while (answers.children.length > 3) answers.lastElementChild.remove();
    const button = $(`.caller[data-service="${CSS.escape(service)}"] button`);
    this.busy(button, 1);
    const start = performance.now();
    const clock = setInterval(() => setText(item.lastElementChild, ((performance.now() - start) / 1000).toFixed(1) + " s"), 100);
    let answer;
    try {
      answer = await api.call(service, fail, slow);
    } catch (err) {
      item.className = "answer bad";
      item.replaceChildren(icon("error"), h("span", { class: "answer-service" }, service), h("span", { class: "answer-text" }, err.message));
      announce(`${service}: ${err.message}`);
      return;
    } finally {
      this.answered();
      clearInterval(clock);
      this.busy(button, -1);
    }
    lead({ uservice1: 2, uservice3: 3 }[service]);
    const good = answer.status < 400, time = answer.duration;
    item.className = "answer " + (good ? "good" : "bad");
    const link = h("span", { class: "answer-link" }, "looking for its trace…");
    item.replaceChildren(icon(good ? "ok" : "error"), h("span", { class: "answer-service" }, service),
      h("span", { class: "answer-status" }, String(answer.status), h("span", { class: "word" }, " " + answer.status_text)), h("span", { class: "answer-time" }, time), link);
    announce(`${service} answered ${answer.status} in ${time}.`);
    const { id, sampled } = answer.trace_id ? { id: answer.trace_id, sampled: answer.sampled } : await findByAgent(answer.user_agent);
    if (!id) {
      setText(link, "no trace found");
      link.title = "The gateway made none or did not sample it, or the trace store does not find it.";
      return;
    }
    link.replaceWith(h("a", { class: "answer-link", href: "/trace/" + id }, sampled ? "its trace" : "not sampled"));
    if (this.where() === from || this.opened === this.where()) {
      this.open(id, sampled);
      this.opened = this.where();
    }
  }

  busy(button, n) {
    if (!button) return;
    const now = Number(button.dataset.calls ?? 0) + n;
    button.dataset.calls = now;
    button.classList.toggle("calling", now > 0);
  }
}

// lead makes the button of the reader's next step the primary one: the mystery, then the answer, then the lab.
export function lead(step = 0) {
  let before = 1;
  try {
    before = Number(sessionStorage.getItem("step")) || 1;
    sessionStorage.setItem("step", Math.max(step, before));
  } catch { /* the browser keeps nothing */ }
  const next = $(".riddle .primary") ? 0 : Math.max(step, before);
  for (const button of document.querySelectorAll("[data-step]")) button.classList.toggle("primary", Number(button.dataset.step) === next);
}

// findByAgent looks for the trace by the User-Agent that this one call had: a plain service does not tell its id.
async function findByAgent(agent) {
  const end = Date.now() + patience;
  for (let pause = 300; Date.now() < end; pause = Math.min(pause * 1.3, 1500)) {
    try {
      const found = await api.called(agent);
      if (found.id) return found;
    } catch { /* the list says that the store does not answer */ }
    await new Promise((done) => setTimeout(done, pause));
  }
  return {};
}
