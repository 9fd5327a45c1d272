// API client: credential, errors as texts, event streams, and the routes that this service has.

const KEY = "pluckit_token";
/** Longest delay that `patiently` accepts, in seconds. */
const PATIENCE = 120;
let paths = {};
let schemas = {};

/** A call that was refused; `retryAfter` is when to try again, in seconds, if the service said so. */
export class Fault extends Error {
  constructor(status, message, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** Sends a request. Bodies other than forms and texts are sent as JSON. */
export async function send(method, path, body, { signal, headers = {} } = {}) {
  const options = { method, signal, headers: { ...headers } };
  if (token.get()) options.headers.Authorization = `Bearer ${token.get()}`;
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Fault(0, "The service cannot be reached.");
  }
  if (response.ok) return response;
  throw new Fault(response.status, await reason(response), Number(response.headers.get("Retry-After")));
}

async function reason(response) {
  const text = await response.text();
  if (response.status === 401) {
    token.set(null);
    dispatchEvent(new Event("signed-out"));
  }
  try {
    const { detail, error } = JSON.parse(text);
    const told = Array.isArray(detail) ? detail.map((one) => one.msg ?? String(one)).join(" ") : detail ?? error;
    if (told) return String(told);
  } catch {
    // Not JSON: show the status.
  }
  const after = response.headers.get("Retry-After");
  return response.status === 429 ? `Too many requests.${after ? ` Try again in ${after} s.` : ""}` : `The service answered ${response.status}.`;
}

/** Sends a request and reads the JSON of its answer; null if it has none. */
export async function call(method, path, body, options) {
  const response = await send(method, path, body, options);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const get = (path, options) => call("GET", path, undefined, options);

/** Waits. */
export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Makes a call, and repeats it after a 429 as soon as the service allows. `onwait` is called with the seconds to wait. */
export async function patiently(work, onwait = () => {}) {
  for (;;) {
    try {
      return await work();
    } catch (fault) {
      if (fault.status !== 429 || !fault.retryAfter || fault.retryAfter > PATIENCE) throw fault;
      onwait(fault.retryAfter);
      await pause(fault.retryAfter);
    }
  }
}

/** Reads all entries of a paged list; with a `limit`, pages are read until there are that many. */
export async function all(path, key, { limit = Infinity, signal } = {}) {
  const entries = [];
  let after = null;
  do {
    const page = await patiently(() => get(`${path}${path.includes("?") ? "&" : "?"}${after ? `continuationToken=${encodeURIComponent(after)}` : ""}`, { signal }));
    entries.push(...page[key]);
    after = page.nextContinuationToken;
  } while (after && entries.length < limit);
  return entries;
}

/** Reads the JSON events of a stream, each with its number if it has one. Comments only keep the connection alive. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += value ?? "";
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length) yield JSON.parse(data.join("\n"));
    }
    if (done) return;
  }
}

/** Loads the routes that this service has. */
export async function discover() {
  const described = await get("/api/openapi.json");
  paths = Object.fromEntries(Object.entries(described.paths).map(([path, methods]) => [path.replace(/{[^}]*}/g, "{}"), methods]));
  schemas = described.components.schemas;
}

/** Returns the names of a schema's fields from the OpenAPI document. */
export const fieldsOf = (name) => fieldsIn(schemas[name] ?? {});
const fieldsIn = ({ $ref, properties = {}, allOf = [] }) => ($ref ? fieldsOf($ref.split("/").at(-1)) : [...Object.keys(properties), ...allOf.flatMap(fieldsIn)]);

/** Returns a route's summary from the OpenAPI document. */
export const summary = (method, path) => paths[path.replace(/{[^}]*}/g, "{}")]?.[method.toLowerCase()]?.summary?.split(/\.(\s|$)/)[0] ?? `${method} ${path}`;

/** Whether the service has a route: `has("get", "/api/wardrobe/{}")`. */
export const has = (method, path) => Boolean(paths[path]?.[method]);
