// The pieces of the wardrobe, loaded once for all pages, and their names in texts.
import { all, has } from "/console/api.js";

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

/** Replaces a cached piece with its changed version. */
export async function replace(item) {
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

const GENERAL = new Set(["casual", "office", "dinner", "formal", "summer", "winter", "autumn", "spring", "travel", "party", "smart", "warm", "layering", "basic", "sport"]);

const SINGULAR = { tops: "top", dresses: "dress", accessories: "accessory" };

/** The tag that names the garment: the last one that is not an occasion or season. */
const noun = (item) => (item.tags ?? []).findLast((tag) => !GENERAL.has(tag.toLowerCase())) ?? SINGULAR[item.category?.toLowerCase()] ?? (item.category ?? "piece").toLowerCase();

/** The name of a piece: colour, brand, kind. */
export function nameOf(item) {
  const colour = item.colours?.[0]?.name?.toLowerCase();
  const kind = noun(item);
  const brand = item.brand && item.brand.toLowerCase().includes(kind) ? item.brand : [item.brand, kind].filter(Boolean).join(" ");
  return [colour, brand].filter(Boolean).join(" ");
}

/** Its name as a heading. */
export const titleOf = (item) => nameOf(item).replace(/^./u, (letter) => letter.toUpperCase());

const words = (text) => text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "").match(/[\p{L}\d]+/gu) ?? [];

const spoken = new WeakMap();

/** The words that can name a piece, computed once. */
function spokenOf(item) {
  if (!spoken.has(item)) {
    const rest = [...(item.tags ?? []).flatMap(words), ...words(item.category ?? "")];
    const colours = (item.colours ?? []).flatMap((colour) => words(colour.name));
    spoken.set(item, { brand: words(item.brand ?? ""), colours, rest: new Set(rest.flatMap((word) => [word, word.replace(/s$/, "")])) });
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
      const { brand, colours, rest } = spokenOf(item);
      const has = (word) => said.includes(word);
      let points = brand.length && brand.every(has) ? 3 : 0;
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
