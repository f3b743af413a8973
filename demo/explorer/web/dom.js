// What little the page needs instead of a framework.

// h makes an element. Text only ever becomes a text node, so nothing that a span says can become markup. Of the
// properties, "class" and names with a dash are attributes, "on..." are listeners, "style" is an object, and the rest are
// set as properties.
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  set(el, props);
  el.append(...children.flat().filter((c) => c != null && c !== false));
  return el;
}

function set(el, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value == null) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v);
    else if (name === "class" || name === "role" || name === "for" || name.includes("-")) el.setAttribute(name, value);
    else el[name] = value;
  }
}

export const $ = (selector, root = document) => root.querySelector(selector);

// icon refers to a symbol in index.html. Icons only ever repeat what the text beside them says.
export function icon(name) {
  const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  set(svg, { class: "icon", "aria-hidden": "true" });
  use.setAttribute("href", "#i-" + name);
  svg.append(use);
  return svg;
}

// setText writes only what has changed, so that nothing is laid out, or read out, again for nothing.
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

// announce tells a screen reader what has happened.
export function announce(text) {
  setText($("#announcer"), text);
}

// remember keeps a choice of the reader in this browser, where that is allowed; without a value it returns the last one.
export function remember(key, value) {
  try { return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value); } catch { return null; }
}

// poller calls work again and again while the page is seen: `every` milliseconds after the last answer, later when the
// answer took long, and much later after a failure. A work that throws has failed, and failed(err) tells of it: of an error
// with a title the list tells, which asks too. kick() makes it happen at once.
export function poller(work, every, failed = (err) => { if (!err.title) reportError(err); }) {
  let timer = 0, running = false, again = false, failures = 0;
  async function run() {
    clearTimeout(timer);
    if (running) { again = true; return; }
    if (document.hidden) return;
    running = true;
    const start = performance.now();
    try { await work(); failures = 0; } catch (err) { failures++; failed(err); }
    running = false;
    const took = performance.now() - start;
    const pause = failures ? Math.min(every * 2 ** Math.min(failures, 3), 10_000) : Math.max(every, 3 * took);
    timer = setTimeout(run, again ? 0 : pause);
    again = false;
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) run(); });
  return { kick: run };
}
