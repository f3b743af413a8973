// The buttons that call a service through the gateway, and what an outsider learns from it: a status and a time.

import * as api from "./api.js";
import { $, announce, h, icon, setText } from "./dom.js";
import { duration, fullID } from "./format.js";
import { headersOf } from "./ledger.js";

const patience = 20_000; // milliseconds to look for the trace of a service that does not tell its id

export class Calls {
  // open(id, sampled) shows a trace; where() is the address, to notice that the reader has gone elsewhere meanwhile.
  constructor({ config, open, where, answered }) {
    this.open = open;
    this.answered = answered; // told when a call has ended
    this.where = where;
    this.config = config;
    for (const box of document.querySelectorAll(".caller")) {
      $("button", box).addEventListener("click", () => this.call(box.dataset.service));
    }
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
    const began = Date.now(), start = performance.now();
    const clock = setInterval(() => setText(item.lastElementChild, duration(performance.now() - start)), 100);
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
    const good = answer.status < 400;
    const time = duration(answer.duration_ms);
    item.className = "answer " + (good ? "good" : "bad");
    const link = h("span", { class: "answer-link" }, "looking for its trace…");
    item.replaceChildren(icon(good ? "ok" : "error"), h("span", { class: "answer-service" }, service),
      h("span", { class: "answer-status" }, String(answer.status), h("span", { class: "word" }, " " + answer.status_text)), h("span", { class: "answer-time" }, time), link);
    announce(`${service} answered ${answer.status} in ${time}.`);
    const { id, sampled } = answer.trace_id ? { id: answer.trace_id, sampled: answer.sampled } : await this.findByAgent(answer.user_agent, began);
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

  // findByAgent looks for the trace by the User-Agent that this one call had: the gateway records it, and that is all there
  // is to find a plain service's trace by. Of a trace that is not sampled only the ledger knows.
  async findByAgent(agent, began) {
    const end = Date.now() + patience;
    for (let pause = 300; Date.now() < end; pause = Math.min(pause * 1.3, 1500)) {
      const range = { start: Math.floor(began / 1000) - 60, end: Math.floor(Date.now() / 1000) + 60 };
      try {
        const found = await api.search({ tags: api.tags({ "user_agent.original": agent }), limit: 1, ...range });
        if (found.length) return { id: fullID(found[0].traceID), sampled: true };
        const request = this.config.ledger && (await api.newestRequests()).find((r) => r.user_agent === agent);
        if (request && headersOf([request]).some((header) => header.sampled === false)) return { id: request.hops[0].trace_id, sampled: false };
      } catch { /* the list says that the store does not answer */ }
      await new Promise((done) => setTimeout(done, pause));
    }
    return {};
  }

  busy(button, n) {
    if (!button) return;
    const now = Number(button.dataset.calls ?? 0) + n;
    button.dataset.calls = now;
    button.classList.toggle("calling", now > 0);
  }
}

