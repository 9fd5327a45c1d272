// One piece: its form, its wears, and its actions. Drafts are reviewed in the same form.
import { Conflict, call, differing, get, has, randomId, read, replace } from "/console/api.js";
import { cutout } from "/console/cutout.js";
import { act, changedElsewhere, confirm, dialog, field, h, select, toast, when } from "/console/dom.js";
import { drop, forget, keep, nameOf, titleOf } from "/console/pieces.js";
import { pick } from "/console/stylist.js";

export const CATEGORIES = ["Tops", "Bottoms", "Outerwear", "Footwear", "Accessories", "Knitwear", "Dresses", "Activewear", "Swimwear", "Underwear"];
const OCCASIONS = ["", "casual", "office", "dinner", "party", "travel", "sport", "formal"];
const list = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);
/** The fields that an owner edits, in words. */
const FIELDS = {
  category: "category", brand: "brand", colours: "colours", condition: "condition", price: "price", purchaseDate: "day of purchase", size: "size", tags: "tags",
  notes: "notes", careInfo: "care", isWishlisted: "wish", aestheticTags: "styles", estimatedMarketValue: "market value",
};
const pathOf = (item) => `/api/wardrobe/${encodeURIComponent(item.id)}`;

/** Today, in the user's time zone. */
function today() {
  const now = new Date();
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

/** Logs a wear; returns the changed piece. */
export async function wear(item, occasion) {
  const body = { source: "vault_card", clientEventId: `wear-${randomId()}` };
  if (occasion) body.occasion = occasion;
  const answer = await call("PATCH", `${pathOf(item)}/wear`, body);
  const worn = { ...answer, imageUrl: answer.imageUrl ?? item.imageUrl };
  await keep(worn);
  toast(`Worn: ${nameOf(item)}.`);
  return worn;
}

/** The form of a piece, and a function that returns its values. A price is in the `currency` unless the piece says otherwise. */
function form(item, { currency, needsCategory }) {
  const text = (value, attributes = {}) => h("input", { type: "text", value: value ?? "", maxLength: 200, ...attributes });
  const categories = CATEGORIES.some((name) => name === item.category) || !item.category ? CATEGORIES : [item.category, ...CATEGORIES];
  // A photo can have several shades of one colour.
  const colours = [...new Set((item.colours ?? []).map((colour) => colour.name))].join(", ");
  const input = {
    category: select([["", "–"], ...categories.map((name) => [name, name])], item.category ?? "", { required: needsCategory }),
    brand: text(item.brand),
    colours: text(colours),
    tags: text(item.tags?.join(", "), { maxLength: 1000 }),
    amount: h("input", { type: "number", min: 0, step: "0.01", value: item.price?.amount ?? "", inputMode: "decimal" }),
    currency: text(item.price?.originalCurrency ?? currency, { maxLength: 3, size: 4, pattern: "[A-Za-z]{3}" }),
    purchaseDate: h("input", { type: "date", value: (item.purchaseDate ?? item.price?.purchaseDate ?? "").slice(0, 10), max: today() }),
    condition: select([["", "–"], ...["New", "Excellent", "Good", "Fair"].map((name) => [name, name])], item.condition ?? ""),
    letter: text(item.size?.letter, { maxLength: 10 }),
    notes: h("textarea", { rows: 3, maxLength: 2000, value: item.notes ?? "" }),
    isWishlisted: h("input", { type: "checkbox", checked: item.isWishlisted }),
  };
  const care = ["dry_clean", "wash", "iron", "bleach"].map((name) => [name, h("input", { type: "checkbox", checked: item.careInfo?.includes(name) })]);
  const element = h("div.stack",
    h("div.fields", field("Category", input.category), field("Brand", input.brand), field("Colours", input.colours, "Separated by commas"), field("Condition", input.condition),
      field("Price", input.amount), field("Currency", input.currency), field("Bought on", input.purchaseDate), field("Size", input.letter)),
    field("Tags", input.tags, "What it is and what for: shirt, linen, office"), field("Notes", input.notes),
    h("fieldset.row.care", h("legend", "Care"), care.map(([name, box]) => h("label.check", box, name.replace("_", " ")))),
    h("label.check", input.isWishlisted, "A wish: I don't own it yet"));
  const read = () => {
    const known = new Map((item.colours ?? []).map((colour) => [colour.name.toLowerCase(), colour]));
    const others = (item.careInfo ?? []).filter((name) => !care.some(([own]) => own === name));
    const next = {
      ...item, category: input.category.value || null, brand: input.brand.value.trim() || null, tags: list(input.tags.value),
      colours: input.colours.value === colours ? item.colours ?? [] : list(input.colours.value).map((name) => known.get(name.toLowerCase()) ?? { name, hex: "" }),
      condition: input.condition.value || null, notes: input.notes.value.trim() || null, isWishlisted: input.isWishlisted.checked,
      purchaseDate: input.purchaseDate.value || null, careInfo: [...others, ...care.filter(([, box]) => box.checked).map(([name]) => name)],
      size: { ...item.size, letter: input.letter.value.trim() || null },
      price: input.amount.value === "" ? null : { ...item.price, amount: Number(input.amount.value), originalCurrency: input.currency.value.toUpperCase() || "USD", purchaseDate: null },
    };
    if (Object.values(next.size).every((value) => value === null || value === undefined)) next.size = null;
    return next;
  };
  return { element, read };
}

/** A form that saves a piece as long as nobody else has changed what it shows; `save` returns whether it is saved. */
function editor(known, options) {
  const element = h("div.stack");
  let fields;
  function draw(item) {
    fields = form(item, options);
    element.replaceChildren(fields.element);
  }
  const path = pathOf(known.value);
  const names = Object.keys(FIELDS);
  /** Reads the version again after a change that is not the form's, such as a wear. */
  async function renew() {
    const now = await read(path);
    if (!differing(names, now.value, known.value).length) known = now;
  }
  async function save() {
    try {
      await replace(path, fields.read(), known, names);
      known = await read(path);
      return true;
    } catch (fault) {
      if (!(fault instanceof Conflict)) throw fault;
      const reload = () => {
        known = fault.now;
        draw({ ...fields.read(), ...Object.fromEntries(fault.fields.map((name) => [name, known.value[name]])) });
      };
      element.querySelector(".note")?.remove();
      element.prepend(changedElsewhere(fault.fields.map((name) => FIELDS[name]).join(", "), reload));
      element.firstChild.scrollIntoView({ block: "nearest" });
      return false;
    }
  }
  draw(known.value);
  return { element, save, renew, saved: () => known.value };
}

let isOpening = false;
/** Opens a dialog with a piece as it is stored now, and with the currency of new prices. */
async function opened(item, onchange, show) {
  if (isOpening) return;
  isOpening = true;
  const page = location.hash;
  try {
    const [known, currency] = await Promise.all([read(pathOf(item)), has("get", "/api/profile") ? get("/api/profile").then((profile) => profile.currencyCode, () => "") : ""]);
    if (location.hash === page) show(known, currency);
  } catch (fault) {
    if (fault.status === 404) {
      await drop(item.id);
      onchange();
    }
    toast(fault.status === 404 ? "This piece was deleted elsewhere." : fault.message, "fault");
  } finally {
    isOpening = false;
  }
}

/** Shows a piece; `onchange` runs when it was changed or deleted. */
export const showPiece = (item, onchange = () => {}) => opened(item, onchange, (known, currency) => drawPiece(known, currency, onchange));

function drawPiece(known, currency, onchange) {
  const item = known.value;
  const fields = editor(known, { currency });
  const history = h("div");
  const occasion = select(OCCASIONS.map((name) => [name, name || "no occasion"]), "", { "aria-label": "Occasion" });
  const stats = h("p.soft");
  const draw = (item) => stats.replaceChildren(item.wearCount ? `Worn ${item.wearCount} ${item.wearCount === 1 ? "time" : "times"}, last ` : "Never worn.", item.wearCount ? when(item.lastWornAt) : "");
  draw(item);
  const save = h("button.primary", { type: "submit" }, "Save");
  const submit = async (event) => {
    event.preventDefault();
    await act(save, async () => {
      if (!(await fields.save())) return;
      await keep(fields.saved());
      toast("Saved.");
      box.close();
      onchange();
    });
  };
  const log = h("button", { type: "button", onclick: () => act(log, async () => {
    draw(await wear(item, occasion.value));
    await fields.renew();
    await drawHistory(item, history);
    onchange();
  }) }, "Log a wear");
  const gone = h("button.danger", { type: "button", onclick: async () => {
    if (!(await confirm("Delete this piece?", `${titleOf(item)} and its picture will be gone for good.`, "Delete"))) return;
    await act(gone, async () => {
      await call("DELETE", pathOf(item));
      await drop(item.id);
      toast("Deleted.");
      box.close();
      onchange();
    });
  } }, "Delete");
  const style = h("button", { type: "button", onclick: () => { box.close(); pick(item.id); } }, "Style this");
  const shown = cutout(item, nameOf(item), nameOf(item), async (changed) => {
    await keep(changed);
    await fields.renew();
    onchange();
  });
  const side = h("div.stack", shown, stats, h("div.row.wearing", occasion, log), style, h("h3", "Worn"), history);
  const box = dialog(titleOf(item), h("form.detail", { onsubmit: submit }, side, h("div.stack", fields.element, h("div.actions", gone, save))), { wide: true });
  drawHistory(item, history);
}

async function drawHistory(item, place) {
  if (!has("get", "/api/wardrobe/{}/wear-history")) return;
  try {
    const { events, summary } = await get(`${pathOf(item)}/wear-history`);
    const entries = events.slice(0, 8).map((event) => h("li.soft", when(event.occurredAt), event.occasion && ` · ${event.occasion}`, event.weatherSnapshot && ` · ${Math.round(event.weatherSnapshot.tempCelsius)} °C`));
    const more = Math.max(events.length - 8, 0) + (summary.legacyUntrackedCount ?? 0);
    place.replaceChildren(entries.length ? h("ul.plain", entries, more > 0 && h("li.soft", `and ${more} more`)) : h("p.soft", "No wears are recorded."));
  } catch (fault) {
    place.replaceChildren(h("p.soft", fault.message));
  }
}

/** Shows a draft for review and acceptance. */
export const review = (draft, onchange) => opened(draft, onchange, (known, currency) => drawReview(known, currency, onchange));

function drawReview(known, currency, onchange) {
  const draft = known.value;
  // The stylist needs a category.
  const fields = editor(known, { currency, needsCategory: true });
  const accept = h("button.primary", { type: "submit" }, "Add to wardrobe");
  const submit = async (event) => {
    event.preventDefault();
    await act(accept, async () => {
      if (!(await fields.save())) return;
      await call("PATCH", `/api/wardrobe/drafts/${encodeURIComponent(draft.id)}/accept`, {});
      forget();
      toast("Added to your wardrobe.");
      box.close();
      onchange();
    });
  };
  const box = dialog("Is this right?", h("form.detail", { onsubmit: submit }, cutout(draft, "The new piece", draft.category, () => fields.renew().then(onchange)), h("div.stack", fields.element, h("div.actions", accept))), { wide: true });
}
