// Everything that the page asks for. All of it comes from the explorer itself; /tempo/ is Tempo's own API behind it.

export class Trouble extends Error {
  // gone: nobody answered, as opposed to an answer that is an error. With a status it is the explorer that says so, of the
  // trace store. Who is late is not known.
  constructor(message, { status = 0, gone = false, late = false } = {}) {
    super(message);
    this.status = status;
    this.gone = gone;
    this.title = !gone ? "The trace store refused" : status ? "No trace store answers" : late ? "No answer" : "The explorer does not answer";
  }
}

const explorerGone = "The explorer itself does not answer. Is `go run ./demo` still running?";

async function ask(path, { method = "GET", body, timeout = 15_000, signal } = {}) {
  const signals = [AbortSignal.timeout(timeout)];
  if (signal) signals.push(signal);
  let res, text;
  try {
    res = await fetch(path, {
      method,
      signal: AbortSignal.any(signals),
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body instanceof Blob ? body : JSON.stringify(body),
      cache: "no-store",
    });
    text = await res.text();
  } catch (err) {
    if (signal?.aborted) throw err;
    const late = err.name === "TimeoutError";
    throw new Trouble(late ? "No answer within " + timeout / 1000 + " seconds." : explorerGone, { gone: true, late });
  }
  if (!res.ok) {
    let sentence = text.trim();
    try { sentence = JSON.parse(text).error ?? sentence; } catch { /* Tempo's errors are plain text */ }
    const gone = [502, 503, 504].includes(res.status);
    throw new Trouble(sentence || `The answer was ${res.status}.`, { status: res.status, gone });
  }
  return text;
}

const json = async (path, options) => JSON.parse(await ask(path, options));

export const traces = (query, signal) => json("/api/traces?" + query, { signal });
export const config = () => json("/api/config");
export const call = (service, fail, slow) => json("/api/call", { method: "POST", body: { service, fail, slow }, timeout: 40_000 });
export const called = (agent) => json("/api/called?agent=" + encodeURIComponent(agent));
export const open = (text) => json("/api/open?text=" + encodeURIComponent(text));
export const file = (body) => json("/api/file", { method: "POST", body, timeout: 60_000 });
export const map = () => json("/api/map");
export const faults = () => json("/api/faults");
export const allFaults = () => json("/api/faults/all");
export const setFault = (name, what = "") => json("/api/faults", { method: "POST", body: { do: what, name }, timeout: 60_000 });
export const riddle = (what, cause = "") => setFault(cause, what);

// trace returns the text of what is known of a trace, which may be the same as before. waited is for how many milliseconds
// it has been asked for, and other the id of one to put beside it.
export const trace = (id, waited, unsampled, other, signal) =>
  ask(`/api/trace/${encodeURIComponent(id)}?waited=${Math.round(waited)}${unsampled ? "&unsampled" : ""}${other ? "&with=" + encodeURIComponent(other) : ""}`, { signal, timeout: 40_000 });

// raw is the address of a trace as Tempo sends it, and rawText what is there.
export const raw = (id) => "/tempo/api/v2/traces/" + id;
export const rawText = (id, signal) => ask(raw(id), { signal, timeout: 40_000 });
