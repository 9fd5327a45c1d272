// The wardrobe: grid, search, filters, photo uploads, import and export.
import { Fault, call, get, has, patiently } from "/console/api.js";
import { act, confirm, dialog, download, empty, h, money, picture, select, toast } from "/console/dom.js";
import { categories, categoryOf, forget, matches, nameOf, pieces, rowsOf, titleOf } from "/console/pieces.js";
import { review, showPiece, wear } from "/console/piece.js";

const SORTS = {
  newest: ["Newest first", (one, other) => (other.dateAdded ?? "").localeCompare(one.dateAdded ?? "")],
  worn: ["Most worn", (one, other) => other.wearCount - one.wearCount],
  rarely: ["Least worn", (one, other) => one.wearCount - other.wearCount],
  dear: ["Highest price", (one, other) => (other.price?.amount ?? -1) - (one.price?.amount ?? -1)],
  cheap: ["Lowest price", (one, other) => (one.price?.amount ?? Infinity) - (other.price?.amount ?? Infinity)],
};
const AT_ONCE = 120;
/** What is shown, also after another page: `limit` is how many pieces. */
const filter = { query: "", category: "", sort: "newest", wishes: false, limit: AT_ONCE };

/** Changes what is shown, from its beginning on. */
const change = (values) => Object.assign(filter, values, { limit: AT_ONCE });

/** Sorts pieces. Prices are compared within a currency, the most frequent one first, since pieces are not converted here. */
function sorted(items) {
  const compare = SORTS[filter.sort][1];
  if (!["dear", "cheap"].includes(filter.sort)) return items.sort(compare);
  const many = Map.groupBy(items, currencyOf);
  const rank = (item) => (item.price ? many.get(currencyOf(item)).length : 0);
  return items.sort((one, other) => rank(other) - rank(one) || currencyOf(one).localeCompare(currencyOf(other)) || compare(one, other));
}

const currencyOf = (item) => item.price?.originalCurrency ?? "";

export async function show({ content, head, signal }) {
  const grid = h("ul.grid", { "aria-label": "Pieces" });
  const count = h("p.soft.count", { role: "status" });
  const drafts = h("section.drafts", { "aria-label": "Being added" });
  const search = h("input", { type: "search", placeholder: "Search: navy wool office", "aria-label": "Search", value: filter.query });
  const category = select([["", "All categories"]], "", { "aria-label": "Category" });
  const sort = select(Object.entries(SORTS).map(([key, [title]]) => [key, title]), filter.sort, { "aria-label": "Order" });
  const wishes = h("input", { type: "checkbox", checked: filter.wishes });
  const file = h("input.visually-hidden", { type: "file", accept: "image/*", multiple: true, tabIndex: -1, "aria-label": "Photos", onchange: () => upload([...file.files]) });
  const add = h("button.primary", { type: "button", onclick: () => file.click() }, "Add by photo");
  const importer = h("input.visually-hidden", { type: "file", accept: ".json,.jsonl,.ndjson,application/json", tabIndex: -1, "aria-label": "Wardrobe file", onchange: () => act(importButton, () => importFile(importer.files[0])) });
  const importButton = h("button", { type: "button", onclick: () => importer.click() }, "Import");
  const exportButton = h("button", { type: "button", onclick: () => act(exportButton, exportFile) }, "Export");
  head.append(importButton, exportButton, ...(has("post", "/api/wardrobe/upload") ? [add] : []), file, importer);

  await pieces(signal);
  content.replaceChildren(drafts, h("div.tools", search, category, sort, h("label.check", wishes, "Wishes")), count, grid);

  async function refresh() {
    const items = await pieces(signal);
    const owned = items.filter((item) => filter.wishes || !item.isWishlisted);
    const found = categories(owned);
    category.replaceChildren(h("option", { value: "" }, "All categories"), ...found.map(([key, name]) => h("option", { value: key }, name)));
    if (!found.some(([key]) => key === filter.category)) filter.category = "";
    category.value = filter.category;
    draw(items);
  }

  function draw(items) {
    const found = sorted(items.filter((item) => (filter.wishes || !item.isWishlisted) && (!filter.category || categoryOf(item) === filter.category) && matches(item, filter.query)));
    const isByCurrency = ["dear", "cheap"].includes(filter.sort) && new Set(found.map(currencyOf).filter(Boolean)).size > 1;
    count.textContent = `${found.length === 1 ? "1 piece" : `${found.length} pieces`}${isByCurrency ? ", each currency by itself" : ""}`;
    const more = found.slice(filter.limit);
    const rest = h("li", h("button", { type: "button", onclick: () => { filter.limit = Infinity; rest.replaceWith(...more.map(card)); } }, `Show ${more.length} more`));
    grid.replaceChildren(...found.slice(0, filter.limit).map(card), ...(more.length ? [rest] : []));
    if (found.length) return;
    grid.replaceChildren(h("li", items.length ? empty("Nothing fits", "Try other words, or another category.") : empty("Your wardrobe is empty", "Add a photo of a piece: its background is removed, and its details are filled in as far as they can be seen.")));
  }

  function card(item) {
    // The piece keeps its place, even where another one would come next by now.
    const again = async () => {
      const changed = card(await wear(item));
      element.replaceWith(changed);
      changed.querySelector(".foot button")?.focus({ preventScroll: true });
    };
    const worn = h("button.small", { type: "button", "aria-label": `+1 wear of ${nameOf(item)}`, onclick: () => act(worn, again) }, "+1 wear");
    const element = h("li.piece", h("button.open", { type: "button", onclick: () => showPiece(item, refresh) }, picture(item.imageUrl, "", nameOf(item)), h("span.name", titleOf(item)),
      h("span.soft.row", (item.colours ?? []).slice(0, 3).map(swatch), h("span.category", item.category))),
      h("div.foot", h("span.soft", [item.price && money(item.price.amount, item.price.originalCurrency), item.wearCount ? `worn ${item.wearCount}×` : "unworn"].filter(Boolean).join(" · ")), item.isWishlisted ? h("span.chip", "wish") : worn));
    return element;
  }

  // ---- Photos

  async function upload(files) {
    file.value = "";
    if (!files.length) return;
    const refused = [];
    await act(add, async () => {
      for (const one of files) {
        const body = new FormData();
        body.append("image", one, one.name);
        const isPhoto = one.type.startsWith("image/") || /\.(heic|heif)$/i.test(one.name);
        const sent = isPhoto ? patiently(() => call("POST", "/api/wardrobe/upload", body)) : Promise.reject(new Fault(0, "This is not a picture."));
        await sent.catch((fault) => refused.push(`${one.name}: ${fault.message}`));
      }
    });
    const sent = files.length - refused.length;
    if (sent) toast(sent === 1 ? "Photo sent. Its background is being removed." : `${sent} photos sent.`);
    if (refused.length === 1) toast(refused[0], "fault");
    else if (refused.length) dialog(`${refused.length} photos were not accepted`, h("ul.plain", refused.map((text) => h("li", text))));
    watch();
  }

  let timer = null;
  async function watch() {
    clearTimeout(timer);
    if (!has("get", "/api/wardrobe/drafts") || signal.aborted) return;
    const page = await get("/api/wardrobe/drafts", { signal }).catch(() => ({ items: [] }));
    drafts.replaceChildren(...page.items.map(draftCard));
    if (page.items.some((draft) => draft.draftStatus === "Processing")) timer = setTimeout(watch, 1500);
  }

  function draftCard(draft) {
    const path = encodeURIComponent(draft.id);
    const button = (label, work, kind = "") => {
      const element = h(`button.small${kind}`, { type: "button", onclick: () => act(element, work) }, label);
      return element;
    };
    const dismiss = button("Dismiss", async () => { await call("DELETE", `/api/wardrobe/${path}`); await watch(); });
    const state = {
      Processing: () => [h("p.row", h("span.spinner", { "aria-hidden": "true" }), "Cutting it out…")],
      Ready: () => [h("p", "Ready to review"), h("div.row", button("Review", async () => review(draft, () => { watch(); refresh(); }), ".primary"), dismiss)],
      Failed: () => [h("p.chip.bad", draft.draftError ?? "That did not work."), h("div.row", button("Try again", async () => { await call("POST", `/api/wardrobe/drafts/${path}/retry`, {}); await watch(); }), dismiss)],
    }[draft.draftStatus]?.() ?? [draft.draftStatus];
    return h("article.card.draft", picture(draft.imageUrl, "", "…"), h("div.stack", state));
  }

  const over = (event, is) => { event.preventDefault(); content.classList.toggle("drop", is); };
  content.addEventListener("dragover", (event) => over(event, true));
  content.addEventListener("dragleave", (event) => over(event, false));
  content.addEventListener("drop", (event) => { over(event, false); upload([...event.dataTransfer.files]); });
  addEventListener("paste", (event) => event.clipboardData?.files.length && upload([...event.clipboardData.files]), { signal });

  // ---- Files

  async function exportFile() {
    const items = await pieces(signal);
    download(`wardrobe-${new Date().toISOString().slice(0, 10)}.json`, new Blob([JSON.stringify({ items }, null, 2)], { type: "application/json" }));
  }

  async function importFile(chosen) {
    importer.value = "";
    const { items, others } = rowsOf(await chosen.text());
    const left = others && `Left out: ${others}. The command \u201cpluckit import FILE\u201d imports them, too.`;
    const many = items.length === 1 ? "1 piece" : `${items.length} pieces`;
    if (!(await confirm("Import these pieces?", [`${many}. Existing pieces stay unchanged.`, left].filter(Boolean).join(" "), "Import"))) return;
    let [made, known] = [0, 0];
    const refused = [];
    for (const [place, { item, number }] of items.entries()) {
      const told = `Importing ${place + 1} of ${items.length}`;
      count.textContent = `${told}…`;
      await patiently(() => call("POST", "/api/wardrobe", item), (seconds) => { count.textContent = `${told}: the service asks to wait ${seconds} s…`; })
        .then(() => made++, (fault) => (fault.status === 409 ? known++ : refused.push(`Row ${number}${named(item)}: ${fault.message}`)));
    }
    forget();
    const summary = `${made} imported, ${known} already there, ${refused.length} refused.`;
    if (left || refused.length) dialog("Imported", h("div.stack", h("p", summary), left && h("p", left), h("ul.plain", refused.slice(0, 20).map((text) => h("li", text)), refused.length > 20 && h("li", `and ${refused.length - 20} more`))));
    else toast(summary);
    await refresh();
  }

  search.addEventListener("input", async () => { change({ query: search.value }); draw(await pieces(signal)); });
  for (const [element, name] of [[category, "category"], [sort, "sort"]]) element.addEventListener("change", () => { change({ [name]: element.value }); refresh(); });
  wishes.addEventListener("change", () => { change({ wishes: wishes.checked }); refresh(); });
  await refresh();
  await watch();
}

/** The name of a row that is imported, in brackets; none if its fields are not those of a piece. */
function named(item) {
  try {
    return ` (${nameOf(item)})`;
  } catch {
    return "";
  }
}

function swatch(colour) {
  const dot = h("span.swatch", { title: colour.name });
  if (/^#[0-9a-f]{3,8}$/i.test(colour.hex ?? "")) dot.style.background = colour.hex;
  return dot;
}
