// The stylist: a streamed conversation with pictures of the pieces that it names.
import { Fault, call, events, has, kept, pause, randomId, send } from "/console/api.js";
import { h, picture } from "/console/dom.js";
import { named, nameOf, pieces, titleOf } from "/console/pieces.js";
import { showPiece } from "/console/piece.js";

/** Suggested questions; one is about the most expensive piece. */
function ideas(items) {
  const [dearest] = items.toSorted((one, other) => (other.price?.amount ?? 0) - (one.price?.amount ?? 0));
  return ["What should I wear today?", ...(dearest ? [`What goes with my ${nameOf(dearest)}?`] : []), "Pack for 3 days in Lisbon", "What have I never worn?", "What am I missing?"];
}
const TOOLS = {
  search_wardrobe: "Looking through your wardrobe", plan_outfits: "Putting an outfit together", get_weather: "Checking the weather",
  get_user_profile: "Reading your profile", get_wear_history: "Looking at what you wore", get_wear_patterns: "Looking at what you wear",
  get_wardrobe_summary: "Counting your wardrobe", analyze_wardrobe_gaps: "Checking for gaps", get_trending_moods: "Looking at trends",
  search_scraped_items: "Looking through the feeds", remember_preference: "Noting that down", forget_preference: "Forgetting that",
};
const canRejoin = () => has("get", "/api/chat/runs/{}/events");

let chat = kept.get("chat") ?? { id: randomId(), turns: [], picked: [] };
let running = null;
let view = null;

function save() {
  kept.set("chat", chat);
}

/** Adds a piece to the next question. */
export function pick(id) {
  if (!chat.picked.includes(id)) chat.picked.push(id);
  save();
  location.hash = "#/stylist";
}

export async function show({ content, head, signal }) {
  const items = await pieces(signal).catch(() => []);
  const log = h("div.log", { role: "log", "aria-label": "Conversation", tabIndex: 0 });
  const picked = h("div.picked");
  const input = h("textarea", { rows: 1, placeholder: "Ask your stylist", "aria-label": "Message", maxLength: 8000 });
  const ask = h("button.primary", { type: "submit" }, "Send");
  const stop = h("button", { type: "button", hidden: true, onclick: () => running?.stop() }, "Stop");
  const form = h("form.compose", { onsubmit: (event) => { event.preventDefault(); submit(input.value); } }, input, stop, ask);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  head.append(h("button", { type: "button", onclick: begin }, "New conversation"));
  content.replaceChildren(h("div.chat", log, picked, form));

  function begin() {
    running?.stop();
    chat = { id: randomId(), turns: [], picked: [] };
    save();
    draw();
    input.focus();
  }

  function draw() {
    log.replaceChildren(...chat.turns.flatMap((turn) => [h("div.said.user", turn.message), bubble(turn, items)]));
    if (!chat.turns.length) {
      const owned = items.filter((item) => !item.isWishlisted);
      // Without its routes, the wardrobe is not known here, but it is to the stylist.
      const isKnown = owned.length || !has("get", "/api/wardrobe");
      const begin = isKnown ? ideas(owned).map((idea) => h("button", { type: "button", onclick: () => submit(idea) }, idea)) : h("a.button", { href: "#/wardrobe" }, "Add your first piece");
      log.append(h("div.empty", h("h2", "What shall we put on?"), h("p", isKnown ? "I know your wardrobe, what you wore when, and what it cost." : "Your wardrobe is empty so far. I can answer more once it is not."), h("div.ideas", begin)));
    }
    drawPicked();
    log.scrollTop = log.scrollHeight;
  }

  function drawPicked() {
    const names = chat.picked.map((id) => items.find((item) => item.id === id)).filter(Boolean);
    picked.replaceChildren(...names.map((item) => h("button.small", { type: "button", "aria-label": `Leave out ${nameOf(item)}`, onclick: () => {
      chat.picked = chat.picked.filter((id) => id !== item.id);
      save();
      drawPicked();
    } }, nameOf(item), " ✕")));
    picked.hidden = !names.length;
  }

  async function submit(text) {
    const message = text.trim();
    if (!message || running) return;
    input.value = "";
    const recent = chat.turns.filter((turn) => turn.text).flatMap((turn) => [{ role: "user", content: turn.message }, { role: "assistant", content: turn.text }]).slice(-16);
    const turn = { message, text: "", tools: [], state: "running" };
    const body = { message, recentMessages: recent };
    if (chat.picked.length) body.selectedItemIds = chat.picked;
    if (canRejoin()) Object.assign(body, { chatId: chat.id, onDisconnect: "continue" });
    chat.turns.push(turn);
    draw();
    await follow(turn, (options) => send("POST", "/api/chat", body, { ...options, headers: { "X-UTC-Offset": utcOffset() } }));
  }

  let frame = null;
  view = {
    // Words arrive faster than frames, so draw once per frame.
    update(turn) {
      frame ??= requestAnimationFrame(() => {
        frame = null;
        if (turn !== chat.turns.at(-1)) return;
        const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
        fill(log.lastElementChild, turn, items);
        if (isAtEnd) log.scrollTop = log.scrollHeight;
      });
      stop.hidden = !running;
      ask.hidden = Boolean(running);
    },
  };
  draw();
  const last = chat.turns.at(-1);
  if (last?.state === "running" && !running) {
    if (last.run && canRejoin()) {
      follow(last, again(last));
    } else {
      last.state = "stopped";
      draw();
    }
  }
  if (running) view.update(running.turn);
  input.focus({ preventScroll: true });
}

/** The UTC offset of this machine's clock, such as `-08:00`: the stylist's today is the user's. */
function utcOffset() {
  const minutes = -new Date().getTimezoneOffset();
  const two = (number) => String(Math.trunc(number)).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(Math.abs(minutes) / 60)}:${two(Math.abs(minutes) % 60)}`;
}

/** Requests an answer that is in progress, from its beginning. */
const again = (turn) => async (options) => {
  const response = await send("GET", `/api/chat/runs/${turn.run}/events?after=0`, undefined, options);
  Object.assign(turn, { text: "", tools: [] });
  return response;
};

/** How often a lost answer is requested again, after a pause that grows by a second up to five: for some 25 seconds. */
const MOST_TRIES = 8;

/** Reads the events of an answer as they arrive, even while another page is shown. An answer whose connection is lost goes on in
 * the service, and is requested again. */
async function follow(turn, open) {
  const control = new AbortController();
  running = {
    turn,
    stop: async () => {
      turn.state = "stopped";
      if (turn.run) await call("POST", `/api/chat/runs/${turn.run}/stop`).catch(() => {});
      control.abort();
    },
  };
  view?.update(turn);
  for (let tries = 0; turn.state === "running"; tries++) {
    try {
      const response = await open({ signal: control.signal });
      turn.run = canRejoin() ? response.headers.get("X-Run-Id") ?? turn.run : null;
      save();
      for await (const event of events(response)) {
        take(turn, event);
        view?.update(turn);
      }
      // A proxy can end a stream before its last event.
      if (turn.state === "running") throw new Fault(0, "The connection to the service was lost.");
    } catch (fault) {
      if (turn.state !== "running") break;
      if (fault.status !== 0 || !turn.run || tries === MOST_TRIES) Object.assign(turn, { state: "failed", fault: fault.message });
      else {
        open = again(turn);
        await Promise.race([pause(Math.min(tries, 5)), new Promise((resolve) => control.signal.addEventListener("abort", resolve))]);
      }
    }
  }
  running = null;
  save();
  view?.update(turn);
}

function take(turn, event) {
  if (event.type === "token") turn.text += event.content;
  else if (event.type === "tool_use") turn.tools.push({ name: event.name });
  else if (event.type === "tool_result") {
    const tool = turn.tools.findLast((tool) => tool.name === event.name && tool.ms === undefined);
    if (tool) tool.ms = event.toolLatencyMs ?? 0;
  } else if (event.type === "done") {
    if (turn.state === "running") turn.state = "done";
  } else if (event.type === "step_reset") Object.assign(turn, { text: "", tools: [] });
  else if (event.type === "error") Object.assign(turn, { state: "failed", fault: event.content ?? event.message ?? "The answer ended early." });
}

function bubble(turn, items) {
  const element = h("div.said.stylist");
  fill(element, turn, items);
  return element;
}

/** Draws the answer so far, keeping existing pictures. */
function fill(element, turn, items) {
  const isRunning = turn.state === "running";
  const tools = turn.tools.map((tool) => {
    const isOver = tool.ms !== undefined || !isRunning;
    return h(`span.chip${isOver ? ".good" : ""}`, isOver ? "✓ " : h("span.spinner", { "aria-hidden": "true" }), TOOLS[tool.name] ?? tool.name, isOver && tool.ms !== undefined && h("span.soft", ` ${tool.ms} ms`));
  });
  const looks = named(turn.text, items).slice(0, 12);
  const row = element.querySelector(".looks") ?? h("ul.looks");
  for (const item of looks.filter((item) => ![...row.children].some((look) => look.dataset.id === item.id))) {
    row.append(h("li", h("button", { type: "button", onclick: () => showPiece(item) }, picture(item.imageUrl, "", nameOf(item)), titleOf(item))));
    row.lastChild.dataset.id = item.id;
  }
  for (const look of [...row.children]) if (!looks.some((item) => item.id === look.dataset.id)) look.remove();
  element.setAttribute("aria-busy", String(isRunning));
  element.replaceChildren(...[
    tools.length > 0 && h("div.tools-run", tools),
    isRunning && !turn.text && !tools.length && h("span.spinner", { role: "img", "aria-label": "Thinking" }),
    h("div.text", written(turn.text)),
    looks.length > 0 && row,
    turn.state === "stopped" && h("small", "Stopped."),
    turn.state === "failed" && h("p.chip.bad", turn.fault),
  ].filter(Boolean));
}

/** Renders paragraphs, lists and bold words of an answer. */
function written(text) {
  const blocks = [];
  for (const line of text.split("\n")) {
    const entry = line.match(/^\s*(?:[-*•]|\d+\.)\s+(.*)/);
    const bold = (part) => part.split(/\*\*(.+?)\*\*/).map((piece, place) => (place % 2 ? h("strong", piece) : piece));
    if (entry) {
      if (blocks.at(-1)?.tagName !== "UL") blocks.push(h("ul"));
      blocks.at(-1).append(h("li", bold(entry[1])));
    } else if (line.trim()) blocks.push(h("p", bold(line.replace(/^#+\s*/, ""))));
  }
  return blocks;
}
