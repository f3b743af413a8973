// Moments and foreign text, made readable.

// age tells how long ago something was, roughly.
export function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 2) return "just now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

// clock is the time of day, after the date if that is another one than today's.
export function clock(ms) {
  const d = new Date(ms), today = d.toDateString() === new Date().toDateString();
  const two = (n) => String(n).padStart(2, "0");
  return `${today ? "" : d.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" }) + ", "}${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, "0")}`;
}

// decimal writes a number with as many places as a step between two of them needs.
export function decimal(n, step) {
  return n.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
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
