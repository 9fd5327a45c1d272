// API client: credential, errors as texts, event streams, and the routes that this service has.

/** Prefix of the names of everything that the console keeps in the storage of the tab. */
const OWN = "pluckit_";
const KEY = `${OWN}token`;
const REASON = `${OWN}reason`;
const SIGNED_OUT = "You are signed out.";
/** Longest time that signing out waits for the service, in milliseconds. */
const SIGN_OUT_LIMIT = 3000;
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

/** The token that this page was drawn with, null for none; undefined before the sign-in and after its end. */
let user;
const signedOut = new BroadcastChannel("pluckit_sign-out");

/** Begins a sign-in, once the service has accepted the token. */
export const enter = () => { user = token.get(); };

/**
 * Ends the sign-in: deletes what the tab keeps for the user, and reloads the page, so that neither a module nor an element keeps
 * anything of theirs. The next page asks to sign in, and shows the reason.
 */
export function leave(reason) {
  user = undefined;
  for (const name of Object.keys(sessionStorage)) if (name.startsWith(OWN)) sessionStorage.removeItem(name);
  sessionStorage.setItem(REASON, reason);
  document.body.hidden = true;
  history.replaceState(null, "", location.pathname);
  location.reload();
}

/**
 * Signs out, here and in other tabs with the same token, such as a duplicate of this one. Also ends the user's sessions, so that
 * no copy of their refresh tokens works any more; without the service, the sign-in ends in this browser alone.
 */
export async function signOut() {
  signedOut.postMessage(token.get());
  document.body.hidden = true;
  const isDone = await endSessions(token.get()).catch(() => false);
  leave(isDone ? SIGNED_OUT : `${SIGNED_OUT} Your other sessions could not be ended.`);
}

/** Ends the sessions of the user whom a session's access token names; tokens of other kinds have none. Returns whether that is done. */
async function endSessions(bearer) {
  const [, named] = bearer.match(/^at-([\w-]+)\./) ?? [];
  if (!named) return true;
  const bytes = Uint8Array.from(atob(named.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  const headers = { Authorization: `Bearer ${bearer}`, "Content-Type": "application/json" };
  const body = JSON.stringify({ user_id: new TextDecoder().decode(bytes) });
  return (await fetch("/api/auth/revoke", { method: "POST", headers, body, signal: AbortSignal.timeout(SIGN_OUT_LIMIT) })).ok;
}

signedOut.addEventListener("message", ({ data }) => data && data === user && leave(SIGNED_OUT));

// Back may show this page as it was left, with another user signed in since.
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted || token.get() === user) return;
  document.body.hidden = true;
  location.reload();
});

/** Why the sign-in ended before this page was loaded; answered once. */
export function reasonOfLeaving() {
  const reason = sessionStorage.getItem(REASON);
  sessionStorage.removeItem(REASON);
  return reason;
}

/** What the tab keeps for the user until the sign-in ends. */
export const kept = {
  get: (name) => JSON.parse(sessionStorage.getItem(OWN + name) ?? "null"),
  // Nothing is kept for a user who has left, for example by an answer that is interrupted.
  set: (name, value) => token.get() === user && sessionStorage.setItem(OWN + name, JSON.stringify(value)),
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
  const response = await fetch(path, options).catch(unreachable);
  if (response.ok) return response;
  throw new Fault(response.status, await reason(response), Number(response.headers.get("Retry-After")));
}

/** Gives a failure of the connection this text, since every browser has its own. */
const failing = (text) => (fault) => {
  throw fault.name === "AbortError" ? fault : new Fault(0, text);
};
export const unreachable = failing("The service cannot be reached.");
const lost = failing("The connection to the service was lost.");

async function reason(response) {
  const text = await response.text().catch(lost);
  if (response.status === 401 && token.get()) leave("The token is not valid or has expired. Please sign in again.");
  else if (response.status === 401 && user !== undefined) leave("Please sign in.");
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
  const text = await response.text().catch(lost);
  return text ? JSON.parse(text) : null;
}

/** Reads a value, and the version that it has. */
export async function read(path, options) {
  const response = await send("GET", path, undefined, options);
  return { value: await response.json().catch(lost), version: response.headers.get("ETag") };
}

/** Fields that a form shows were changed elsewhere; `now` is what is stored now, with its version. */
export class Conflict extends Fault {
  constructor(fields, now) {
    super(412, "This was changed elsewhere.");
    Object.assign(this, { fields, now });
  }
}

/** The fields in which two values differ. */
export const differing = (fields, one, other) => fields.filter((name) => JSON.stringify(one[name] ?? null) !== JSON.stringify(other[name] ?? null));

/** Replaces these fields of a value that was read as `known`. Changes of other fields meanwhile, such as wears, do not matter. */
export async function replace(path, next, known, fields) {
  for (;;) {
    try {
      return await call("PUT", path, next, { headers: { "If-Match": known.version } });
    } catch (fault) {
      if (fault.status !== 412) throw fault;
      const now = await read(path);
      const changed = differing(fields, now.value, known.value);
      if (changed.length) throw new Conflict(changed, now);
      known = now;
    }
  }
}

export const get = (path, options) => call("GET", path, undefined, options);

/** A random id. Over plain HTTP, `crypto.randomUUID` exists on this machine only. */
export const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

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
    const { value, done } = await reader.read().catch(lost);
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
