// Purchase ideas, with the user's feedback.
import { call, get } from "/console/api.js";
import { act, empty, h, icon, toast, when } from "/console/dom.js";

export async function show(page) {
  const { content, head, signal } = page;
  const make = h("button", { type: "button", onclick: () => act(make, async () => {
    const answer = await call("POST", "/api/digest/run?force=true", {});
    if (answer?.status && answer.status !== "ok") toast(`No digest: ${answer.reason ?? answer.status}.`);
    await draw();
  }) }, "Write a new one");
  head.append(make);

  async function draw() {
    const { digest } = await get("/api/digest/latest", { signal });
    if (!digest) return content.replaceChildren(empty("No digest yet", "A digest is written every week. You can also write one now."));
    const { feedback } = await get(`/api/digest/feedback?digestId=${encodeURIComponent(digest.id)}`, { signal });
    const signals = new Map(feedback.map((one) => [one.suggestionIndex, one.signal]));
    const idea = (suggestion, index) => {
      const thumb = (signal, label) => h(`button.small${signals.get(index) === signal ? ".on" : ""}`, {
        type: "button", title: label, "aria-label": `${label}: ${suggestion.item}`, "aria-pressed": String(signals.get(index) === signal),
        onclick: (event) => act(event.currentTarget, async () => {
          await call("POST", "/api/digest/feedback", { digestId: digest.id, suggestionIndex: index, suggestionDescription: suggestion.item, signal });
          await draw();
        }),
      }, icon(signal));
      return h("li.card.idea", h("h2", suggestion.item), h("p", suggestion.rationale), h("div.row", thumb("up", "Good idea"), thumb("down", "Not for me")));
    };
    content.replaceChildren(
      h("p.soft", "Written ", when(digest.generatedAt), ` from ${digest.totalItems} pieces, ${digest.itemsWithWearHistory} of them worn`, digest.climateZone && `, for a ${digest.climateZone} climate`, "."),
      h("p.row", (digest.stylesConsidered ?? []).map((style) => h("span.chip", style))),
      h("ul.columns.even", digest.suggestions.map(idea)));
  }

  content.classList.add("stack");
  await draw();
}
