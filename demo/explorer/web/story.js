// What the page says above the waterfall.

import { h, icon } from "./dom.js";
import { duration, percent, visible } from "./format.js";
import { spanLink } from "./span.js";
import { isAnswered, rows } from "./time.js";
import { answers, httpStatus, relays } from "./trace.js";

// story says in a sentence or two what the picture of a trace shows. dark is what it leaves unexplained, hops the ledger;
// late is whether the exporters have had time to send what they had.
export function story(trace, { dark, hops, late }) {
  const out = [];
  if (trace.partial) out.push(note("warn", "error", visible(trace.partial)));
  const parts = hops.parts();
  const elsewhere = dark?.span && (dark.elsewhere ?? hops.traceOf(dark.name)); // the part that the mystery leads to
  if (parts.length && dark?.elsewhere && !parts.includes(elsewhere)) parts.push(elsewhere); // the ledger could not tie it
  if (dark?.span || dark?.time > trace.duration / 20) out.push(mystery(trace, dark, hops, late, elsewhere, parts));
  const others = parts.filter((id) => id !== trace.id && id !== elsewhere);
  if (others.length) {
    out.push(note("bad", "error", h("strong", {}, `This is one part of a request that was cut in ${inWords(parts.length)}. `),
      "At each cut, a service received no propagation header that it could read, and started a trace of its own. ",
      others.map((id) => partLink(id, parts))));
  }
  const seen = seenFromOutside(trace);
  if (seen.length) out.push(fromOutside(seen));
  const causes = trace.spans.filter((s) => s.status === "error" && !(s.dark && isAnswered(s)) && !s.children.some((c) => c.status === "error"));
  const [most] = rows(trace, (s) => s.service + "\n" + s.name).filter((r) => r.service !== null);
  const share = most.time / (trace.duration || 1);
  if (causes.length) {
    const cause = causes.reduce((a, b) => (b.end < a.end ? b : a));
    out.push(note("bad", "error", "The error began in ", spanLink(cause), cause.message ? [": ", h("q", {}, visible(cause.message).slice(0, 200))] : "", "."));
  } else if (dark?.span?.status === "error" && !dark.service?.plain) {
    out.push(note("bad", "error", spanLink(dark.span), " failed. No span here says where the error began."));
  } else if (share >= 0.3 && !seen.length && most.spans === 1 && trace.spans.length > 1) {
    const span = trace.spans.find((s) => s.service === most.service && s.name === most.name);
    out.push(note(out.length ? "" : "good", out.length ? "wait" : "ok", `${Math.round(share * 100)} % of the time went into `, spanLink(span), ": ", h("span", { class: "num" }, duration(most.time) + ".")));
  }
  return out;
}

function mystery(trace, dark, hops, late, elsewhere, parts) {
  const { service, span, name, time } = dark;
  const why = !span ? ["No span covers this time.", ...apart(trace)]
    : service?.plain && hops.watched()
      ? [`${name} is not instrumented. The kernel seems to watch it from outside (eBPF): it did not read this header, and began a trace of its own. `, partLink(hops.watched(), [])]
    : service?.plain
      ? [`${name} is not instrumented: it sends no spans and passes no propagation header on. The trace ends at `, spanLink(span), ". ",
        hops.unlogged(name) ? "Nothing says whether the call reached it." : inside(service, httpStatus(trace))]
      : elsewhere && elsewhere !== trace.id
        ? [`${name} answered from another trace: no propagation header that it could read reached it, so it started its own. `, partLink(elsewhere, parts)]
        : [service ? `${name} is instrumented, yet no span of it is here. ` : `${visible(name)} ${isAnswered(span) ? "answered a call" : "was called"}, and no span of it is here. `, ...reasons(trace, dark, hops, late)];
  const much = time ? `${duration(time)} unexplained, ${percent(time / trace.duration)} of the total.` : `No span of ${visible(name)} is here.`;
  return h("div", { class: "note mystery" }, h("p", { class: "note-title" }, much), h("p", {}, ...why));
}

// apart names a span that does not lie in the call that it served, and why that may be.
function apart(trace) {
  const s = trace.spans.find(({ kind, parent, start }) => kind === "server" && parent?.kind === "client" && (start < parent.start || start > parent.end));
  return s ? [" ", spanLink(s), " lies outside ", spanLink(s.parent), ", which called it: the clocks of the two disagree, or it began late."] : [];
}

// seenFromOutside are the services of which the kernel alone tells, with the time that they took.
function seenFromOutside(trace) {
  const outside = new Set(trace.spans.filter((s) => s.outside).map((s) => s.service));
  return rows(trace, (s) => s.service).filter((r) => outside.has(r.service) && r.time > trace.duration / 100);
}

// fromOutside says what the kernel knows of that time, and what it does not.
function fromOutside(seen) {
  const times = seen.map((r) => `${duration(r.time)} in ${visible(r.service)}`).join(" and ");
  return note("", "wait", h("strong", {}, `Seen from outside, ${times}. `), "The kernel saw requests come and go (eBPF). What happened inside is unexplained: whether Redis, a database or the service's own code took the time, only the service could say.");
}

// reasons says why spans of whoever answered may be missing: what is known rules some of them out.
function reasons(trace, { service, span, name }, hops, late) {
  const took = hops.traceOf(name) === trace.id || answers(span).some((a) => a.traceID === trace.id);
  const status = Number(httpStatus(trace));
  const list = [
    !late && "its spans are still on their way",
    !took && !service && "it is not instrumented",
    !isAnswered(span) && "the call did not reach it",
    !isAnswered(span) && "it is still at work",
    !took && relays.has(span.service) && status >= 502 && status <= 504 && `the call did not reach it and ${span.service} answered ${status} itself`,
    !took && "it did not receive the propagation header and is in another trace",
    hops.unsampled() && "it did not record them, because the header says that the trace is not sampled",
    "its exporter does not reach the trace store",
    "its process ended before it sent them",
  ].filter(Boolean);
  return [took ? "It took part in this trace. " : "", `Perhaps ${list.slice(0, -1).join(", ")}, or ${list.at(-1)}.`];
}

// inside says what cannot be known of a plain service from outside.
function inside(service, status) {
  const failed = Number(status) >= 500;
  const what = service.calls ? `whether Redis, ${service.calls} or its database ${failed ? "failed, and which of them took the time" : "took the time"}`
    : `what ${failed ? "failed inside it, and what took the time" : "took the time inside it"}`;
  return `Nobody outside can tell ${what}.`;
}

// partLink leads to another trace of a request that was cut.
function partLink(id, parts) {
  return h("a", { class: "part-link", href: "/trace/" + id }, parts.length === 2 ? "Open the other half" : parts.length ? `Open part ${parts.indexOf(id) + 1} of ${parts.length}` : "Open it");
}

const inWords = (n) => ["two", "three", "four"][n - 2] ?? n;

// note is one sentence with a sign before it.
function note(kind, symbol, ...text) {
  return h("p", { class: "note " + kind }, icon(symbol), h("span", {}, ...text.flat()));
}
