// The discover feed, with votes.
import { call, get, has } from "/console/api.js";
import { act, dialog, empty, field, h, money, picture, select, toast, when } from "/console/dom.js";

const filter = { sortBy: "score", timeRange: "all", sourceIds: "" };
const votes = new Map();

export async function show({ content, head, signal }) {
  const { sources } = await get("/api/scraper/sources", { signal });
  const names = new Map(sources.map((source) => [source.id, source.name]));
  const feed = h("ul.feed", { "aria-label": "Feed" });
  const more = h("button", { type: "button", hidden: true, onclick: () => act(more, next) }, "Show more");
  const control = (name, label, choices) => {
    const element = select(choices, filter[name], { "aria-label": label });
    element.addEventListener("change", () => { filter[name] = element.value; restart(); });
    return element;
  };
  content.replaceChildren(h("div.tools",
    control("sortBy", "Order", [["score", "Most liked"], ["recent", "Newest"]]),
    control("timeRange", "Time", [["all", "All time"], ["1d", "Last day"], ["7d", "Last week"], ["30d", "Last month"]]),
    control("sourceIds", "Source", [["", "All sources"], ...names])), feed, h("div.row", more));
  head.append(h("button", { type: "button", onclick: suggest }, "Suggest a shop"));
  let [after, round] = [null, 0];

  async function restart() {
    after = null;
    round += 1;
    feed.replaceChildren();
    await next().catch((fault) => fault.name === "AbortError" || toast(fault.message, "fault"));
  }

  async function next() {
    const query = new URLSearchParams({ ...filter, pageSize: 24 });
    if (!filter.sourceIds) query.delete("sourceIds");
    if (after) query.set("continuationToken", after);
    const mine = round;
    const page = await get(`/api/scraper/items?${query}`, { signal });
    // Another order or source was chosen meanwhile.
    if (mine !== round) return;
    after = page.nextContinuationToken;
    more.hidden = !after;
    feed.append(...page.items.map((item) => card(item, names)));
    if (!feed.children.length) feed.append(h("li", names.size ? empty("Nothing here", "Try a longer time, or another source.") : empty("No sources yet", "Suggest a shop: what it sells is shown here once it has been read.")));
  }

  await restart();
}

function card(item, names) {
  const score = h("span", { "aria-live": "polite" }, String(item.scoreSignal));
  const vote = (signal, label, text) => {
    const button = h("button.small", { type: "button", "aria-label": `${label}: ${item.title}`, "aria-pressed": String(votes.get(item.id) === signal) }, text);
    button.addEventListener("click", () => act(button, async () => {
      const answer = await call("POST", `/api/scraper/items/${encodeURIComponent(item.id)}/feedback`, { signal });
      votes.set(item.id, signal);
      score.textContent = String(answer.scoreSignal);
      mark();
    }));
    return button;
  };
  const [up, down] = [vote("up", "Like", "♥"), vote("down", "Dislike", "✕")];
  const mark = () => [[up, "up"], [down, "down"]].forEach(([button, signal]) => {
    const is = votes.get(item.id) === signal;
    button.classList.toggle("on", is);
    button.setAttribute("aria-pressed", String(is));
  });
  mark();
  const links = [item.productUrl && { url: item.productUrl, platform: item.sourceType === "reddit" ? "Post" : "Shop" }, ...(item.buyLinks ?? [])].filter((link) => /^https?:/.test(link?.url ?? ""));
  const price = item.price && typeof item.price === "object" ? money(item.price.amount, item.price.currency ?? item.price.originalCurrency) : typeof item.price === "string" ? item.price : null;
  return h("li.card", picture(item.imageUrl, item.title, item.title), h("strong", item.title), item.description && h("p.soft", item.description),
    h("p.soft", price && [h("span.chip", price), " "], names.get(item.sourceId) ?? item.sourceId, " · ", when(item.sourceCreatedAt ?? item.scrapedAt)),
    h("div.row.spread", h("div.votes", up, score, down), links.slice(0, 2).map((link) => h("a", { href: link.url, target: "_blank", rel: "noopener noreferrer" }, link.label ?? link.platform ?? "Shop"))));
}

function suggest() {
  const name = h("input", { required: true, maxLength: 100 });
  const url = h("input", { type: "url", required: true, placeholder: "https://shop.example/new-in", maxLength: 500 });
  const button = h("button.primary", { type: "submit" }, "Suggest");
  const submit = (event) => {
    event.preventDefault();
    act(button, async () => {
      await call("POST", "/api/scraper/sources", { name: name.value, url: url.value, sourceType: "brand" });
      toast("Thank you. Its products appear once it has been read.");
      box.close();
    });
  };
  const box = dialog("Suggest a shop", h("form.stack", { onsubmit: submit }, field("Name", name), field("Page with its products", url), h("div.actions", button)));
}
