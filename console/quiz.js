// The taste quiz: one picture or mood after the other, by button or arrow key.
import { call, get } from "/console/api.js";
import { act, empty, h, picture } from "/console/dom.js";

export async function show(page) {
  const { content, signal } = page;
  const session = await get("/api/taste/quiz", { signal });
  const answered = new Set((session.responses ?? []).map((response) => response.cardPrimaryMood ?? response.scrapedItemId));
  const cards = [...(session.cards ?? []), ...(session.imageItems ?? [])];
  const key = (card) => card.scrapedItemId ?? card.primaryMood ?? card.cardPrimaryMood;
  const open = cards.filter((card) => !answered.has(key(card)));
  const target = Math.min(session.targetResponses ?? cards.length, cards.length) || cards.length;
  let done = answered.size;
  const path = `/api/taste/quiz/${encodeURIComponent(session.sessionId)}`;
  const place = h("div.quiz");
  content.replaceChildren(place);

  async function next() {
    const card = open[0];
    if (!card || done >= target) return finish();
    const answer = (signal, label, kind = "") => h(`button${kind}`, { type: "button", onclick: ({ currentTarget }) => place.querySelector("[aria-busy]") || act(currentTarget, () => respond(card, signal)) }, label);
    const [down, up] = [answer("down", "✕ Not me"), answer("up", "♥ Like it", ".primary")];
    place.replaceChildren(
      h("progress", { max: target, value: done, "aria-label": `${done} of ${target} answered` }),
      h("article.card.stack", (card.imageUrl || card.scrapedItemId) && picture(card.imageUrl, card.title ?? key(card), card.title ?? key(card)),
        h("h2", card.title ?? card.primaryMood ?? key(card)), card.description && h("p", card.description),
        h("p.row", (card.tags ?? card.subMoods ?? []).slice(0, 6).map((tag) => h("span.chip", tag)))),
      h("div.actions", down, up), h("p.soft", `${done + 1} of ${target} · ← and → work, too`));
  }

  async function respond(card, choice) {
    const body = card.scrapedItemId ? { scrapedItemId: card.scrapedItemId, signal: choice } : { cardPrimaryMood: key(card), signal: choice };
    await call("POST", `${path}/respond`, body);
    open.shift();
    done += 1;
    await next();
  }

  async function finish() {
    if (!cards.length) return place.replaceChildren(empty("No quiz yet", "There are no moods or pictures to show so far."));
    const { inferredTastes } = await call("POST", `${path}/complete`, {});
    const lists = Object.entries(inferredTastes ?? {}).map(([name, value]) => [name.replace(/([A-Z])/g, " $1").toLowerCase(), Array.isArray(value) ? value : Object.keys(value ?? {})]).filter(([, values]) => values.length);
    place.replaceChildren(h("article.card.stack", h("h2", "Thank you!"), lists.length ? h("p", "This is what you like, as far as I can see:") : h("p", "Your answers are saved."),
      lists.map(([name, values]) => h("div", h("h3", name), h("p.row", values.slice(0, 12).map((value) => h("span.chip", typeof value === "string" ? value : JSON.stringify(value))))))),
      h("button", { type: "button", onclick: ({ currentTarget }) => act(currentTarget, () => show(page)) }, "Once more"));
  }

  addEventListener("keydown", (event) => {
    const place = { ArrowLeft: 0, ArrowRight: 1 }[event.key];
    if (place === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    content.querySelectorAll(".actions button")[place]?.click();
  }, { signal });
  await next();
}
