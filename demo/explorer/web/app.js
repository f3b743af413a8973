// The page: which trace is open is in its address, everything else follows.

import * as api from "./api.js";
import { $, h, icon, setText } from "./dom.js";
import { Calls } from "./calls.js";
import { Detail } from "./detail.js";
import { Faults } from "./faults.js";
import { TraceList } from "./list.js";
import { CallMap } from "./map.js";
import { Opener } from "./open.js";

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

const map = new CallMap();
const opener = new Opener({ go, address, shown: (name, answer) => detail.file(name, answer) });

setText($("#where"), `Traces from ${config.tempo}, requests through ${config.gateway}`);

// place reads the address: the id of a trace, and the one to compare it with, which is empty as long as it is to be chosen.
function place() {
  const [, id = null, other = null] = (/^\/trace\/([^/]*)(?:\/with\/([^/]*))?\/?$/.exec(location.pathname) ?? []).map((text) => text && decode(text));
  return { id, other };
}

// address is that of a trace, or of the one that is open beside it if one is to be chosen.
function address(trace, span) {
  const { id, other } = place();
  return (other === "" ? `/trace/${id}/with/${trace}` : "/trace/" + trace) + (span && "#" + span);
}

// show makes the page fit its address.
function show() {
  const { id, other } = place(), path = location.pathname;
  document.body.classList.toggle("home", path === "/");
  document.body.classList.toggle("choosing", other === "");
  if (id === null) document.title = { "/map": "Map", "/file": "A file" }[path] ?? "Trace explorer";
  for (const a of document.querySelectorAll(".top nav a")) a.ariaCurrent = a.getAttribute("href") === path ? "page" : null;
  list.open(id?.toLowerCase().padStart(32, "0") ?? null, other === "");
  map.open(path === "/map");
  if (path === "/file") opener.show();
  else detail.open(id, location.hash.slice(1), other);
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
  if (path !== "/" && path !== "/map" && !path.startsWith("/trace/")) return;
  e.preventDefault();
  go(path);
  if (path.endsWith("/with/")) list.focus();
  else if (path === "/" || path === "/map" || matchMedia("(max-width: 999px)").matches) ($("#map-title, #detail-title[tabindex]") ?? $("#traces")).focus({ preventScroll: true });
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
