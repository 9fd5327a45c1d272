// Wardrobe statistics: cost per wear, wears over time, colours, value.
import { get } from "/console/api.js";
import { empty, h, money, near } from "/console/dom.js";
import { bars, columns, ring } from "/console/charts.js";
import { pieces, titleOf } from "/console/pieces.js";
import { showPiece } from "/console/piece.js";

export async function show({ content, signal }) {
  const [vault, items] = await Promise.all([get("/api/insights/vault?windowDays=90&targetCpw=10", { signal }), pieces(signal).catch(() => [])]);
  if (vault.insufficientData) return content.replaceChildren(empty("Nothing to show yet", "Add pieces to your wardrobe and log what you wear."));
  const owned = items.filter((item) => !item.isWishlisted);
  const known = new Map(items.map((item) => [item.id, item]));
  const label = (id) => (known.has(id) ? titleOf(known.get(id)) : id.replace(/^demo-/, "").replaceAll("-", " "));
  const amount = (number) => money(number, vault.currency);
  const { behavioralInsights: habits, cpwIntel: all } = vault;
  const priced = all.filter((one) => one.cpw !== null).sort((one, other) => one.cpw - other.cpw);
  const value = sums(owned, (item) => item.category ?? "other", (item) => (item.price?.originalCurrency === vault.currency ? item.price.amount : 0));
  const unworn = habits.mostExpensiveUnworn;
  const foreign = owned.filter((item) => item.price && item.price.originalCurrency !== vault.currency);
  const costless = new Set(all.filter((one) => one.cpw === null).map((one) => one.itemId));
  const left = foreign.filter((item) => item.wearCount > 0 && item.price.amount > 0 && costless.has(item.id));
  const rates = foreign.length > 0 && h("p.soft.count", `Other currencies are converted with exchange rates of ${new Date(vault.fxDate).toLocaleDateString("en", { dateStyle: "long", timeZone: "UTC" })}.`,
    left.length > 0 && ` For ${[...new Set(left.map((item) => item.price.originalCurrency))].join(", ")} there is none, so ${left.length === 1 ? "one worn piece has" : `${left.length} worn pieces have`} no cost per wear.`);
  const tile = (number, text) => h("div.card.tile", h("b", number), h("span.soft", text));

  const tiles = [
    owned.length > 0 && tile(String(owned.length), "pieces"),
    owned.length > 0 && tile(String(owned.reduce((sum, item) => sum + item.wearCount, 0)), "wears on record"),
    habits.unworn90dPct !== null && tile(`${habits.unworn90dPct} %`, "not worn for 90 days"),
    habits.topColorWearShare && tile(title(habits.topColorWearShare.color), `worn most in 90 days: ${habits.topColorWearShare.pct} % of wears`),
    tile(String(all.filter((one) => one.breakEvenReached).length), `pieces below ${amount(10)} a wear`),
  ];
  const charts = [bars("Best cost per wear", priced.slice(0, 8).map((one) => [label(one.itemId), one.cpw, amount(one.cpw)]))];
  if (priced.length > 8) charts.push(bars("Highest cost per wear", priced.slice(-8).reverse().map((one) => [label(one.itemId), one.cpw, amount(one.cpw)]), 2));
  if (owned.length) {
    charts.push(columns("Wears by month", months(owned)), ring("Pieces by colour", colours(owned)));
    charts.push(bars(`Bought in ${vault.currency}, by category`, value.slice(0, 8).map(([name, sum]) => [name, sum, amount(Math.round(sum))]), 3));
  }
  const rising = all.filter((one) => one.wearRateTrend === "up").slice(0, 5);
  const falling = all.filter((one) => one.wearRateTrend === "down").slice(0, 5);
  const trend = (title, ones) => ones.length > 0 && h("section.card", h("h2", title), h("ul.plain", ones.map((one) => h("li.row.spread", label(one.itemId), h("span.soft", `${one.historicalWearRate} → ${one.recentWearRate} a month`)))));
  const idle = unworn && known.get(unworn.itemId);
  content.replaceChildren(h("div.tiles", tiles), rates || "", h("div.columns.even", charts,
    unworn && h("section.card.stack", h("h2", "Waiting to be worn"), h("div.row", idle && h("button.quiet", { type: "button", "aria-label": `Open ${label(unworn.itemId)}`, onclick: () => showPiece(idle) }, h("img", { src: near(idle.imageUrl ?? "/console/icon.svg"), alt: "", width: 96, height: 96 })), h("p", h("strong", label(unworn.itemId)), h("br"), `${money(unworn.amount, unworn.currency)}, never worn`))),
    trend("Worn more than usual", rising), trend("Worn less than usual", falling)));
}

const title = (text) => text.charAt(0).toUpperCase() + text.slice(1).toLowerCase();

function sums(items, key, number) {
  const by = new Map();
  for (const item of items) by.set(title(key(item)), (by.get(title(key(item))) ?? 0) + number(item));
  return [...by].filter(([, sum]) => sum > 0).sort(([, one], [, other]) => other - one);
}

/** Wears of the last twelve months. */
function months(items) {
  const now = new Date();
  const list = Array.from({ length: 12 }, (_, ago) => new Date(now.getFullYear(), now.getMonth() - 11 + ago, 1));
  const key = (date) => `${date.getFullYear()}-${date.getMonth()}`;
  const count = new Map(list.map((date) => [key(date), 0]));
  for (const { occurredAt } of items.flatMap((item) => item.wearEvents ?? [])) {
    const month = key(new Date(occurredAt));
    if (count.has(month)) count.set(month, count.get(month) + 1);
  }
  return list.map((date) => [date.toLocaleString("en", { month: "short" }), count.get(key(date))]);
}

function colours(items) {
  const by = new Map();
  for (const { name, hex } of items.map((item) => item.colours?.[0]).filter(Boolean)) {
    const known = by.get(name) ?? { count: 0, hex: /^#[0-9a-f]{6}$/i.test(hex ?? "") ? hex : "#888888" };
    by.set(name, { ...known, count: known.count + 1 });
  }
  const rows = [...by].map(([name, { count, hex }]) => [name, count, hex]).sort(([, one], [, other]) => other - one);
  const rest = rows.slice(11).reduce((sum, [, count]) => sum + count, 0);
  return rest ? [...rows.slice(0, 11), ["others", rest, "#9a9a9a"]] : rows;
}
