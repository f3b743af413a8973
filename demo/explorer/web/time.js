// Where a trace's time went. Each moment belongs to the spans that were at work and waited for no child; spans that were
// at work side by side share it. What is left, no span covers: it is unexplained, and charged to nobody.

const most = 100; // spans without their parent for which a place is looked for; each costs a look at every span

// account finds self, the intervals in which a span was at work, and share, its part of the trace's duration, and returns
// the intervals that are unexplained. Times are in milliseconds since the trace began; spans are in tree order.
export function account(spans, duration) {
  const adopted = new Map();
  for (const orphan of spans.filter((s) => s.orphan).slice(0, most)) {
    const host = hostOf(orphan, spans);
    if (host) adopted.set(host, [...adopted.get(host) ?? [], orphan]);
  }
  const edges = [];
  for (const s of spans) {
    const guests = adopted.get(s) ?? [];
    s.self = s.dark ? [] : without(s, guests.length ? [...s.children, ...guests].sort((a, b) => a.start - b.start) : s.children);
    s.selfTime = s.dark ? NaN : lengthOf(s.self);
    for (const [from, to] of s.self) edges.push([from, 1], [to, -1]);
  }
  edges.sort(([a], [b]) => a - b);
  edges.push([duration, 0]);
  const unexplained = [];
  const sharedUntil = new Map(); // for each edge, what a span would have got that was at work since the beginning
  let at = 0, working = 0, shared = 0;
  for (const [time, change] of edges) {
    if (working) shared += (time - at) / working;
    else if (time > at) unexplained.push([at, time]);
    at = time;
    working += change;
    sharedUntil.set(time, shared);
  }
  for (const s of spans) s.share = s.self.reduce((sum, [from, to]) => sum + sharedUntil.get(to) - sharedUntil.get(from), 0);
  return lengthOf(unexplained) > duration / 1000 ? unexplained : [];
}

// isDark reports whether a span is an HTTP call of somebody of whom the trace has no span, answered or not. What it waited
// for is not its own time. A call of a database is measured by the caller alone, and is.
export function isDark(s) {
  return s.kind === "client" && !s.children.length && (isAnswered(s) || s.attributes.some((a) => /^http\.(request\.)?method$/.test(a.key)));
}

export const isAnswered = (s) => s.attributes.some((a) => /^http\.(response\.)?status_code$/.test(a.key));

// hostOf guesses where a span belongs whose parent is missing: in a dark call around it, or else in the shortest span
// around it that may have called somebody.
function hostOf(orphan, spans) {
  const around = spans.filter((s) => s.start <= orphan.start && s.end >= orphan.end && s.duration > orphan.duration &&
    s.top !== orphan && (s.dark || s.children.length || s.kind !== "client"));
  return around.sort((a, b) => b.dark - a.dark || a.duration - b.duration || b.depth - a.depth)[0];
}

// without is a span's interval without those of others, which are in order.
function without(s, others) {
  const pieces = [];
  let at = s.start;
  for (const c of others) {
    if (at >= s.end) break;
    if (c.start > at) pieces.push([at, Math.min(c.start, s.end)]);
    at = Math.max(at, c.end);
  }
  if (at < s.end) pieces.push([at, s.end]);
  return pieces;
}

export const lengthOf = (pieces) => pieces.reduce((sum, [from, to]) => sum + to - from, 0);

// rows adds up the shares of spans by a key, the greatest first; what is unexplained is a row without a service. They add
// up to the trace's duration.
export function rows(trace, keyOf) {
  const found = new Map();
  for (const s of trace.spans) {
    const key = keyOf(s);
    let row = found.get(key);
    if (!row) found.set(key, row = { service: s.service, name: s.name, spans: 0, errors: 0, time: 0, dark: true });
    row.spans++;
    row.time += s.share;
    row.dark &&= s.dark; // it waited for somebody unknown, and nobody knows what it did itself
    if (s.status === "error") row.errors++;
  }
  const list = [...found.values()];
  if (trace.unexplained.length) list.push({ service: null, name: "unexplained", spans: 0, errors: 0, time: lengthOf(trace.unexplained) });
  return list.sort((a, b) => b.time - a.time);
}
