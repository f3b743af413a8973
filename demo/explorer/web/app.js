// The page: which trace is open is in its address, everything else follows.

import * as api from "./api.js";
import { $, h, icon, setText } from "./dom.js";
import { Calls } from "./calls.js";
import { Detail } from "./detail.js";
import { Faults } from "./faults.js";
import { TraceList } from "./list.js";

let config;
try {
  config = await api.config();
} catch (err) {
  $("#list-trouble").hidden = false;
  $("#list-trouble").replaceChildren(h("div", { class: "state bad" }, icon("unplugged"), h("p", { class: "state-title" }, "The explorer does not answer"), h("p", {}, err.message)));
  throw err;
}

const detail = new Detail({ config, loaded: () => list.poll.kick(), call: (service, query) => calls.call(service, query), go });
const list = new TraceList({ config, state: storeState });
const calls = new Calls({ open: openAnswer, where: () => location.pathname, answered: () => faults.poll?.kick() });
const faults = new Faults({ config, go });

setText($("#where"), `Traces from ${config.tempo}, requests through ${config.gateway}`);

// show makes the page fit its address.
function show() {
  const match = /^\/trace\/([^/]*)\/?$/.exec(location.pathname);
  const id = match ? decode(match[1]) : null;
  document.body.classList.toggle("home", id === null);
  if (id === null) document.title = "Trace explorer";
  list.open(id?.toLowerCase().padStart(32, "0") ?? null);
  detail.open(id, location.hash.slice(1));
}

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

// go opens another address of this page without loading it again.
function go(path) {
  const [address, hash = ""] = path.split("#");
  if (address === location.pathname && hash && detail.reveal(hash) || path === location.pathname + location.hash) return;
  const wasHome = document.body.classList.contains("home");
  const query = path.includes("?") ? "" : location.search; // the list's filters stay
  history.pushState(null, "", address + query + (hash && "#" + hash));
  show();
  const narrow = matchMedia("(max-width: 999px)").matches;
  if (wasHome || address === "/" || narrow || $("#detail").getBoundingClientRect().top < 0) scrollTo({ top: 0 });
}

function openAnswer(id, sampled) {
  if (!sampled) detail.unsampled.add(id);
  go("/trace/" + id);
}

document.addEventListener("click", (e) => {
  const a = e.target.closest("a[href]");
  if (!a || a.target || e.button || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
  const path = a.getAttribute("href");
  if (path !== "/" && !path.startsWith("/trace/")) return;
  e.preventDefault();
  go(path);
  if (path === "/" || matchMedia("(max-width: 999px)").matches) ($("#detail-title[tabindex]") ?? $("#traces")).focus({ preventScroll: true });
});
addEventListener("popstate", show);
show();

// storeState is the lamp in the corner.
function storeState(up, err) {
  $("#store").classList.toggle("up", up);
  $("#store").classList.toggle("down", !up);
  setText($("#store-text"), up ? "Trace store: connected" : err.title);
  $("#store").title = err?.message ?? "";
}
