// What the reader brings along: an id or a header that is pasted into the field, or a file with a trace.

import * as api from "./api.js";
import { $, announce, setText } from "./dom.js";

export class Opener {
  // go opens an address, which address(trace, span) makes. shown(name, answer) draws what a file has.
  constructor({ go, address, shown }) {
    Object.assign(this, { go, address, shown });
    const field = $("#open-text"), file = $("#open-file");
    $("#open").addEventListener("submit", (e) => { e.preventDefault(); this.find(field.value); });
    field.addEventListener("paste", () => setTimeout(() => this.find(field.value)));
    field.addEventListener("input", () => this.problem(""));
    $("#open-choose").addEventListener("click", () => file.click());
    file.addEventListener("change", () => { this.read(file.files[0]); file.value = ""; });
    const dragged = (e, on) => {
      if (!e.dataTransfer?.types.includes("Files")) return;
      e.preventDefault();
      document.body.classList.toggle("dropping", on);
    };
    addEventListener("dragover", (e) => dragged(e, true));
    addEventListener("dragleave", (e) => { if (!e.relatedTarget) dragged(e, false); });
    addEventListener("drop", (e) => { dragged(e, false); this.read(e.dataTransfer?.files[0]); });
  }

  problem(text) {
    setText($("#open-problem"), text);
    $("#open-problem").hidden = !text;
    $("#open-text").setAttribute("aria-invalid", String(Boolean(text)));
  }

  async find(text) {
    try {
      const { trace, span, problem } = await api.open(text);
      this.problem(problem);
      if (problem) return;
      $("#open-text").value = "";
      this.go(this.address(trace, span));
    } catch (err) { this.problem(err.message); }
  }

  // read sends a file to the explorer on this machine, which says what its trace says and keeps nothing.
  async read(file) {
    if (!file) return;
    announce(`Reading ${file.name}.`);
    try {
      this.file = [file.name, await api.file(file)];
    } catch (err) { this.problem(err.message); return; }
    if (location.pathname === "/file") this.show();
    else this.go("/file");
  }

  show() { this.shown(...this.file ?? ["", null]); }
}
