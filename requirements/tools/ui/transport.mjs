// Talks to the service with the transport and the readers of the npm package `ai`, unchanged.
// node transport.mjs <base URL>. The model behind the service answers by the words of the message.
import assert from "node:assert/strict";
import { AbstractChat, DefaultChatTransport, readUIMessageStream } from "ai";
import { EventSourceParserStream } from "eventsource-parser/stream";

const base = process.argv[2];
const api = `${base}/api/chat`;

const user = text => ({ id: crypto.randomUUID(), role: "user", parts: [{ type: "text", text }] });
const textOf = message => message.parts.filter(part => part.type === "text").map(part => part.text).join("");
const newChat = () => `chat-${crypto.randomUUID()}`;

function send(transport, chatId, text, trigger = "submit-message") {
  return transport.sendMessages({ chatId, messages: [user(text)], trigger, messageId: undefined, abortSignal: undefined });
}

async function read(stream) {
  let message;
  for await (const snapshot of readUIMessageStream({ stream, terminateOnError: true })) message = snapshot;
  return message;
}

/** The chunks of an answer, read by `eventsource-parser` alone. */
async function chunksOf(response) {
  const chunks = [];
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream({ onError: "terminate" }));
  for await (const { data, event, id } of events) {
    assert.equal(event, undefined);
    assert.equal(id, undefined);
    chunks.push(data === "[DONE]" ? data : JSON.parse(data));
  }
  return chunks;
}

/** A `fetch` whose next streamed answer breaks off after so many bytes. */
function breakingFetch(bytes) {
  return async (input, init) => {
    const response = await fetch(input, init);
    if (init?.method !== "POST" || bytes === undefined) return response;
    let left = bytes;
    bytes = undefined;
    const cut = new TransformStream({
      transform(chunk, controller) {
        controller.enqueue(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) controller.error(new TypeError("network error"));
      },
    });
    return new Response(response.body.pipeThrough(cut), response);
  };
}

class Chat extends AbstractChat {
  constructor(options) {
    super({
      ...options,
      state: {
        status: "ready",
        error: undefined,
        messages: [],
        pushMessage(message) { this.messages = [...this.messages, message]; },
        popMessage() { this.messages = this.messages.slice(0, -1); },
        replaceMessage(index, message) { this.messages = this.messages.with(index, structuredClone(message)); },
        snapshot: value => structuredClone(value),
      },
    });
  }
}

const until = async (what, condition) => {
  for (let tries = 0; tries < 1000; tries++) {
    if (condition()) return;
    await new Promise(done => setTimeout(done, 10));
  }
  assert.fail(`never: ${what}`);
};

const tests = {
  async "an answer with tools is a message with parts"() {
    const chatId = newChat();
    const message = await read(await send(new DefaultChatTransport({ api }), chatId, "tools please"));
    const kinds = message.parts.map(part => part.type);
    assert.deepEqual(kinds, ["step-start", "text", "dynamic-tool", "step-start", "text"]);
    const tool = message.parts[2];
    assert.equal(tool.toolName, "get_wardrobe_summary");
    assert.equal(tool.state, "output-available");
    assert.deepEqual(tool.input, {});
    assert.notEqual(tool.output, undefined);
    assert.equal(textOf(message), "Let me look.Wear the navy shirt.");
    assert.ok(message.parts.filter(part => part.type === "text").every(part => part.state === "done"));
    assert.equal(message.metadata.chatId, chatId);
    assert.equal(message.metadata.runId, message.id);
    assert.equal(message.metadata.model, "stylist-1");
    assert.equal(message.metadata.usage.calls, 2);
  },

  async "a tool that fails is an error of its part"() {
    const message = await read(await send(new DefaultChatTransport({ api }), newChat(), "unknown tool please"));
    const tool = message.parts.find(part => part.type === "dynamic-tool");
    assert.deepEqual([tool.state, tool.errorText], ["output-error", "There is no such tool."]);
  },

  async "headers and frames are those of the protocol"() {
    const body = JSON.stringify({ id: newChat(), messages: [user("short please")], trigger: "submit-message" });
    const response = await fetch(api, { method: "POST", headers: { "content-type": "application/json", origin: "http://localhost:3000" }, body });
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal(response.headers.get("cache-control"), "no-cache");
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    assert.equal(response.headers.get("x-vercel-ai-ui-message-stream"), "v1");
    const run = response.headers.get("x-workflow-run-id");
    assert.equal(response.headers.get("x-resumable-stream-id"), run);
    const exposed = response.headers.get("access-control-expose-headers");
    for (const name of ["x-vercel-ai-ui-message-stream", "x-resumable-stream-id", "x-workflow-run-id"]) assert.ok(exposed.includes(name));
    const chunks = await chunksOf(response);
    assert.deepEqual([chunks[0].type, chunks[0].messageId, chunks.at(-2).type, chunks.at(-1)], ["start", run, "finish", "[DONE]"]);

    // The same by the id of the run, from any chunk on, when it is over.
    for (const [query, from] of [["", 0], ["?startIndex=4", 4], ["?startIndex=-2", chunks.length - 3]]) {
      const again = await fetch(`${api}/${run}/stream${query}`);
      assert.equal(again.headers.get("x-workflow-stream-tail-index"), String(chunks.length - 2));
      assert.deepEqual(await chunksOf(again), chunks.slice(from), query);
    }
  },

  async "a failure is an error"() {
    await assert.rejects(async () => read(await send(new DefaultChatTransport({ api }), newChat(), "fail please")), /Something went wrong/);
  },

  async "nothing to resume is null"() {
    const transport = new DefaultChatTransport({ api });
    assert.equal(await transport.reconnectToStream({ chatId: newChat() }), null);
    const chatId = newChat();
    await read(await send(transport, chatId, "short please"));
    await new Promise(done => setTimeout(done, 300));
    assert.equal(await transport.reconnectToStream({ chatId }), null);
  },

  async "an answer whose connection breaks is resumed from its beginning, wherever it broke"() {
    for (const bytes of [1, 150, 300, 450, 900, 1500]) {
      const chat = new Chat({ id: newChat(), transport: new DefaultChatTransport({ api, fetch: breakingFetch(bytes) }) });
      await chat.sendMessage({ text: "slow please" });
      assert.equal(chat.status, "error");
      await chat.resumeStream();
      assert.equal(chat.status, "ready");
      assert.equal(chat.messages.length, 2);
      assert.equal(textOf(chat.messages[1]), Array.from({ length: 40 }, (_, n) => `${n} `).join(""), `${bytes} bytes`);
    }
  },

  async "a stop ends the answer and keeps what was said"() {
    const chat = new Chat({ id: newChat(), transport: new DefaultChatTransport({ api }) });
    const sent = chat.sendMessage({ text: "endless please" });
    await until("the answer begins", () => chat.messages.length === 2 && textOf(chat.messages[1]).length > 0);
    const stale = await fetch(`${api}/${chat.id}/stop`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ activeStreamId: "another" }) });
    assert.deepEqual(await stale.json(), { success: true });
    assert.equal(chat.status, "streaming");
    const stopped = await fetch(`${api}/${chat.id}/stop`, { method: "POST" });
    assert.deepEqual(await stopped.json(), { success: true });
    await sent;
    assert.equal(chat.status, "ready");
    assert.match(textOf(chat.messages[1]), /^0 1 /);
    // The chat is free for the next message.
    await chat.sendMessage({ text: "short please" });
    assert.equal(textOf(chat.messages.at(-1)), "Hello.");
  },

  async "a client that leaves does not end the answer, and a second message does not either"() {
    const chat = new Chat({ id: newChat(), transport: new DefaultChatTransport({ api }) });
    const sent = chat.sendMessage({ text: "slow please" });
    await until("the answer begins", () => chat.messages.length === 2);
    await chat.stop();
    await sent;
    await assert.rejects(send(new DefaultChatTransport({ api }), chat.id, "short please"), /still being written/);
    await chat.resumeStream();
    assert.match(textOf(chat.messages.at(-1)), / 39 $/);
  },

  async "an answer is written again"() {
    const chat = new Chat({ id: newChat(), transport: new DefaultChatTransport({ api }) });
    await chat.sendMessage({ text: "short please" });
    await new Promise(done => setTimeout(done, 300));
    await chat.regenerate();
    assert.deepEqual(chat.messages.map(message => message.role), ["user", "assistant"]);
    assert.equal(textOf(chat.messages[1]), "Hello.");
  },

  async "long histories are cut and never refused"() {
    const history = Array.from({ length: 120 }, (_, n) => ({ id: String(n), role: n % 2 ? "assistant" : "user", parts: [{ type: "text", text: "x".repeat(9000) }, { type: "file", mediaType: "image/png", url: "data:," }] }));
    const body = { id: newChat(), messages: [...history.slice(0, 80), user("short please")], trigger: "submit-message" };
    const response = await fetch(api, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    assert.equal(response.status, 200, await response.clone().text());
    await response.text();
    for (const messages of [[], [{ id: "1", role: "assistant", parts: [] }], [{ id: "1", role: "user", parts: [{ type: "file" }] }]]) {
      const refused = await fetch(api, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "c", messages }) });
      assert.equal(refused.status, 422);
    }
    for (const id of ["runs", "memory"]) {
      const refused = await fetch(api, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ id, messages: [user("x")] }) });
      assert.equal(refused.status, 400);
    }
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
process.exit(failed ? 1 : 0);
