// Numbers and foreign text, made readable.

// duration writes milliseconds with three digits, in the unit that fits: "812 µs", "1.53 s". Further digits are cut off, as
// Tempo cuts off what is less than a millisecond: so the list, which has Tempo's number, and a trace's page say the same.
export function duration(ms) {
  if (!Number.isFinite(ms)) return "–";
  const sign = ms < 0 ? "−" : "";
  let n = Math.abs(ms);
  if (n === 0) return "0 ms";
  for (const [unit, size] of [["ns", 1e-6], ["µs", 1e-3], ["ms", 1]]) {
    if (n < 999.9999 * size) return `${sign}${digits(n / size)} ${unit}`;
  }
  if (n < 60_000) return `${sign}${digits(n / 1000)} s`;
  n = Math.floor(n / 1000);
  const parts = [[Math.floor(n / 3600), "h"], [Math.floor(n / 60) % 60, "min"], [n % 60, "s"]];
  return sign + parts.filter(([v]) => v > 0).map(([v, unit]) => `${v} ${unit}`).join(" ");
}

function digits(n) {
  const places = n >= 99.9999 ? 0 : n >= 9.99999 ? 1 : 2;
  return (Math.floor(n * 10 ** places + 1e-4) / 10 ** places).toFixed(places); // a sum of floats may lack a little
}

// percent writes a share of 1.
export function percent(share) {
  const p = share * 100;
  return p > 0 && p < 0.1 ? "<0.1 %" : p.toFixed(p < 9.95 ? 1 : 0) + " %";
}

// age tells how long ago something was, roughly.
export function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 2) return "just now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

export function clock(ms) {
  const d = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, "0")}`;
}

export function plural(n, one, many = one + "s") {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

// Characters that move, hide or turn text around: controls, zero-width ones, and those that change the direction.
const invisible = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

// visible makes such characters visible. Whatever a span says is shown with it, as text: a name may hold anything.
export function visible(text) {
  return String(text).toWellFormed().replace(invisible, show);
}

// multiline is visible for longer texts, such as stack traces: lines stay lines.
export function multiline(text) {
  return String(text).toWellFormed().replace(invisible, (c) => (c === "\n" || c === "\t" ? c : show(c)));
}

function show(c) {
  const code = c.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code); // Unicode's pictures of the controls
  if (code === 0x7f) return "\u2421";
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

// parseDuration reads "1.5s", "200ms" or "200" (milliseconds); NaN when it is none of them, 0 when it is empty.
export function parseDuration(text) {
  if (text.trim() === "") return 0;
  const m = /^\s*(\d+(?:[.,]\d+)?)\s*(µs|us|ms|s|m|min)?\s*$/i.exec(text);
  if (!m) return NaN;
  const size = { "µs": 1e-3, us: 1e-3, ms: 1, s: 1000, m: 60_000, min: 60_000 }[(m[2] ?? "ms").toLowerCase()];
  return Number(m[1].replace(",", ".")) * size;
}

// fullID is a trace id as the page knows it: 32 lower-case digits. Search results lack leading zeros, and so do some
// people's notes. It is null when the text is no trace id: zeros alone are none.
export function fullID(text) {
  return /^(?=.*[^0])[0-9a-f]{1,32}$/i.test(text) ? text.toLowerCase().padStart(32, "0") : null;
}

// rootName is the name of a trace's first span, with its service unless the title has it.
export function rootName(service, name, title) {
  return (service === title ? "" : visible(service) + " · ") + (visible(name) || "(no name)");
}
