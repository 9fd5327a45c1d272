// API client: credential, errors as texts, event streams, and the routes that this service has.

const KEY = "pluckit_token";
let paths = {};

/** A call that was refused. */
export class Fault extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
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
  throw new Fault(response.status, await reason(response));
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

/** Reads all entries of a paged list, at most `limit`. */
export async function all(path, key, { limit = 2000, signal } = {}) {
  const entries = [];
  let after = null;
  do {
    const page = await get(`${path}${path.includes("?") ? "&" : "?"}${after ? `continuationToken=${encodeURIComponent(after)}` : ""}`, { signal });
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
  const described = Object.entries((await get("/api/openapi.json")).paths);
  paths = Object.fromEntries(described.map(([path, methods]) => [path.replace(/{[^}]*}/g, "{}"), methods]));
}

/** Returns a route's summary from the OpenAPI document. */
export const summary = (method, path) => paths[path.replace(/{[^}]*}/g, "{}")]?.[method.toLowerCase()]?.summary?.split(/\.(\s|$)/)[0] ?? `${method} ${path}`;

/** Whether the service has a route: `has("get", "/api/wardrobe/{}")`. */
export const has = (method, path) => Boolean(paths[path]?.[method]);
