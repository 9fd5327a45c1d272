// A small client, made of the types that openapi-typescript generates.
import createClient from "openapi-fetch";

import type { components, paths } from "api";

type ChatEvent = components["schemas"]["ChatEvent"];

function expect(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Error(text);
}

/** What an event says, by its kind: each has fields of its own. */
function told(event: ChatEvent): string {
  switch (event.type) {
    case "token":
    case "error":
      return event.content;
    case "tool_use":
      return `[${event.name}]`;
    case "tool_result":
      return `[${event.name}: ${event.toolLatencyMs} ms]`;
    case "step_reset":
      return `[back to ${event.fromSeq}]`;
    case "memory_update":
      return event.updated ? "[remembered]" : "";
    case "done":
      return `[${event.model}, ${event.runId}]`;
  }
}

/** Uses the service at the address. */
export async function use(url: string): Promise<void> {
  const api = createClient<paths>({ baseUrl: url });

  const health = await api.GET("/api/health");
  expect(health.data?.status === "ok", "not healthy");

  const { data: page } = await api.GET("/api/wardrobe", { params: { query: { pageSize: 5, category: "outerwear" } } });
  const first = page?.items[0];
  expect(first !== undefined, "no items");
  const { data: item } = await api.GET("/api/wardrobe/{id}", { params: { path: { id: first.id } } });
  expect(item?.id === first.id, "another item");

  const made = await api.POST("/api/wardrobe", { body: { category: "Tops", tags: ["linen"], price: { amount: 49.5, originalCurrency: "EUR" } } });
  expect(made.response.status === 201 && made.data !== undefined, `not created: ${made.response.status}`);
  const gone = await api.DELETE("/api/wardrobe/{id}", { params: { path: { id: made.data.id } } });
  expect(gone.response.status === 204, "not deleted");

  const quiz = await api.GET("/api/taste/quiz");
  expect(quiz.data !== undefined && quiz.data.sessionId !== "", "no quiz");

  const refused = await api.PUT("/api/chat/memory", { body: { summary: "x".repeat(2001) } });
  expect(refused.error !== undefined && typeof refused.error.detail === "string", "a long memory is taken");

  const turn = await api.POST("/api/chat", { body: { message: "What should I wear to a casual dinner?" }, parseAs: "text" });
  const events = (turn.data ?? "").split("\n\n").filter((block) => block.startsWith("data: ")).map((block) => JSON.parse(block.slice(6)) as ChatEvent);
  const text = events.map(told).join("");
  expect(text.includes("Shoes: your") && events.at(-1)?.type === "done", `not an answer: ${text}`);
}
