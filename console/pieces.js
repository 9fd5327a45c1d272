// The pieces of the wardrobe, loaded once for all pages, and their names in texts.
import { Fault, all, fieldsOf, has } from "/console/api.js";

let loaded = null;

/** Returns all owned and wished-for pieces; cached until `forget`. */
export function pieces(signal) {
  if (!has("get", "/api/wardrobe")) return Promise.resolve([]);
  loaded ??= all("/api/wardrobe?pageSize=100&includeWishlisted=true", "items").catch((fault) => {
    loaded = null;
    throw fault;
  });
  return loaded.then((items) => {
    signal?.throwIfAborted();
    return items;
  });
}

export const forget = () => { loaded = null; };

/** Keeps the changed version of a piece. */
export async function keep(item) {
  const known = await pieces();
  const place = known.findIndex((one) => one.id === item.id);
  if (place >= 0) known[place] = item;
  else known.unshift(item);
}

export async function drop(id) {
  const known = await pieces();
  const place = known.findIndex((one) => one.id === id);
  if (place >= 0) known.splice(place, 1);
}

/** The category of a piece in the form in which the service compares categories, ignoring case. */
export const categoryOf = (item) => (item.category ?? "").trim().toLowerCase();

/** The categories of pieces, each with its most frequent spelling, sorted by name. */
export function categories(items) {
  const written = new Map();
  for (const item of items) {
    const [key, name] = [categoryOf(item), item.category?.trim()];
    if (!key) continue;
    const ways = written.get(key) ?? written.set(key, new Map()).get(key);
    ways.set(name, (ways.get(name) ?? 0) + 1);
  }
  const usual = (ways) => [...ways].sort(([one, many], [other, more]) => more - many || (one < other ? -1 : 1))[0][0];
  return [...written].map(([key, ways]) => [key, usual(ways)]).sort(([, one], [, other]) => one.localeCompare(other));
}

/** The pieces in a file's text, each with the number of its row, and a description of the other rows. A row is a wear event if it
 * names an item, and a piece if it has a field of one and is no draft. */
export function rowsOf(text) {
  const rows = read(text);
  const ofPieces = new Set(fieldsOf("CreateItemRequest"));
  ofPieces.delete("id");
  const has = (row, name) => row[name] !== null && row[name] !== undefined;
  const isObject = (row) => typeof row === "object" && row !== null && !Array.isArray(row);
  const isPiece = (row) => Object.keys(row).some((name) => ofPieces.has(name) && has(row, name));
  const kind = (row) => (!isObject(row) ? "rest" : has(row, "itemId") ? "wear" : has(row, "draftStatus") ? "draft" : isPiece(row) ? "piece" : "rest");
  const kinds = rows.map(kind);
  const [wears, drafts, rest] = ["wear", "draft", "rest"].map((name) => kinds.filter((kind) => kind === name).length);
  const items = rows.map((item, place) => ({ item, number: place + 1 })).filter((_, place) => kinds[place] === "piece");
  if (!items.length) throw new Fault(0, "There are no pieces in this file.");
  const others = [wears === 1 && "1 wear event", wears > 1 && `${wears} wear events`, drafts === 1 && "1 draft", drafts > 1 && `${drafts} drafts`, rest === 1 && "1 entry that is not a piece, such as a profile", rest > 1 && `${rest} entries that are not pieces`];
  return { items, others: new Intl.ListFormat("en").format(others.filter(Boolean)) };
}

/** The rows of a JSON list, of what the console exported, or of a file with a JSON object on each line. */
function read(text) {
  const parse = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  };
  const whole = parse(text);
  const rows = whole === undefined ? text.split("\n").filter((line) => line.trim()).map(parse) : whole?.items ?? whole;
  if (whole === undefined && rows.includes(undefined)) throw new Fault(0, "Import reads JSON: a file of Export, or of the command \u201cpluckit export\u201d. For CSV files use the command \u201cpluckit import FILE\u201d.");
  return Array.isArray(rows) ? rows : [rows];
}

/** The name of a piece, as the service and its stylist call it; of a row of a file, which has none, its brand and category. */
export const nameOf = (item) => item.name ?? [item.brand, item.category ?? "piece"].filter(Boolean).join(" ");

/** Its name as a heading. */
export const titleOf = (item) => nameOf(item).replace(/^./u, (letter) => letter.toUpperCase());

const words = (text) => text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "").match(/[\p{L}\d]+/gu) ?? [];

const spoken = new WeakMap();

/** The words that can name a piece, computed once. */
function spokenOf(item) {
  if (!spoken.has(item)) {
    const rest = [...(item.tags ?? []).flatMap(words), ...words(item.category ?? "")];
    const colours = (item.colours ?? []).flatMap((colour) => words(colour.name));
    spoken.set(item, { name: words(nameOf(item)), brand: words(item.brand ?? ""), colours, rest: new Set(rest.flatMap((word) => [word, word.replace(/s$/, "")])) });
  }
  return spoken.get(item);
}

/** Returns the pieces that a text names as the user's ("your navy Uniqlo shirt"), each once, in the order of the text. */
export function named(text, items) {
  const found = new Set();
  for (const [, phrase] of text.matchAll(/\b[Yy]our ([^\n.,;:()!?]{3,60})/g)) {
    const said = words(phrase).slice(0, 7);
    let best = null;
    for (const item of items) {
      const { name, brand, colours, rest } = spokenOf(item);
      const has = (word) => said.includes(word);
      let points = name.length && name.every(has) ? 4 : 0;
      if (brand.length && brand.every(has)) points += 3;
      if (colours.some(has)) points += 2;
      if (said.some((word) => rest.has(word) || rest.has(word.replace(/s$/, "")))) points += 2;
      if (points >= 4 && points > (best?.points ?? 0)) best = { item, points };
    }
    if (best) found.add(best.item);
  }
  return [...found];
}

/** Whether a piece contains all words of a search. */
export function matches(item, query) {
  const text = [item.brand, item.category, item.notes, ...(item.tags ?? []), ...(item.aestheticTags ?? []), ...(item.colours ?? []).map((colour) => colour.name)].filter(Boolean).join(" ");
  const own = words(text).join(" ");
  return words(query).every((word) => own.includes(word));
}
