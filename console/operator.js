// What an operator looks at: jobs, dead letters, sources, health.
import { Fault, all, call, get, send } from "/console/api.js";
import { act, confirm, dialog, download, empty, h, select, toast, when } from "/console/dom.js";

const KINDS = { Completed: "good", Failed: "bad", Terminated: "warn", Running: "", Pending: "", dead_lettered: "bad", replayed: "good", ok: "good", ready: "good" };
const state = (name) => h(`span.chip${KINDS[name] ? `.${KINDS[name]}` : ""}`, String(name).replace("_", " "));
const shown = (value) => h("pre", { tabIndex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
/** A table whose cells know their heads: on a phone they stand below each other. */
function table(heads, rows) {
  for (const row of rows) [...row.cells].forEach((cell, place) => heads[place] && (cell.dataset.head = heads[place]));
  return h("div.scroll.card", { tabIndex: 0, role: "region", "aria-label": "Table" }, h("table", h("thead", h("tr", heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", rows)));
}
const button = (label, work, kind = "") => {
  const element = h(`button.small${kind}`, { type: "button", onclick: () => act(element, work) }, label);
  return element;
};

export const show = (page) => ({ jobs, letters, usage, sources, health })[page.name](page);

/** A list that comes in pages, with a filter by state, drawn again when something changed. */
async function paged({ content, head, signal, path, key, states, heads, row, none, every }) {
  const filter = select([["", "All states"], ...states.map((name) => [name, name.replace("_", " ")])], "", { "aria-label": "State" });
  const again = button("Reload", draw);
  head.append(filter, again);
  const rest = h("div.row");
  async function draw() {
    const found = [];
    const more = async (after) => {
      const query = new URLSearchParams({ ...(filter.value && { status: filter.value }), ...(after && { continuationToken: after }) });
      const page = await get(`${path()}?${query}`, { signal });
      found.push(...page[key]);
      content.replaceChildren(found.length ? table(heads, found.map((one) => row(one, draw))) : none, rest);
      rest.replaceChildren(...(page.nextContinuationToken ? [button("Show more", () => more(page.nextContinuationToken))] : []));
    };
    await more(null);
  }
  filter.addEventListener("change", () => act(again, draw));
  await draw();
  if (every) {
    const timer = setInterval(() => document.querySelector("dialog") || content.contains(document.activeElement) || draw().catch(() => {}), every);
    signal.addEventListener("abort", () => clearInterval(timer));
  }
  return draw;
}

// ---- Jobs

async function jobs(page) {
  let everybody = page.isAdmin;
  if (page.isAdmin) {
    const whose = select([["all", "Everybody's jobs"], ["own", "My jobs"]], "all", { "aria-label": "Whose" });
    page.head.append(whose);
    whose.addEventListener("change", () => { everybody = whose.value === "all"; draw(); });
  }
  const draw = await paged({
    ...page, path: () => (everybody ? "/api/admin/jobs" : "/api/jobs"), key: "jobs", every: 5000,
    states: ["Pending", "Running", "Completed", "Failed", "Terminated"], heads: ["State", "Job", "Progress", "Started", "Changed", ""],
    none: empty("No jobs", "Long operations, such as a forced digest or a scrape, are listed here."),
    row: (job, draw) => h("tr", h("td", state(job.status)), h("td", h("strong", job.name), h("br"), h("small", [job.id, job.userId].filter(Boolean).join(" · "))),
      h("td", progress(job)), h("td", when(job.createdTime)), h("td", when(job.lastUpdatedTime)), h("td", button("Open", () => openJob(job.id, draw)))),
  });
}

function progress(job) {
  if (job.error) return h("small", job.error);
  const told = job.customStatus;
  if (!told) return "–";
  if (typeof told === "string") return told;
  if (told.total) return h("div", h("progress", { max: told.total, value: told.done ?? 0, "aria-label": "Progress" }), h("small", told.message ?? `${told.done} of ${told.total}`));
  return h("small", Object.entries(told).filter(([, value]) => typeof value !== "object").map(([name, value]) => `${name}: ${value}`).join(", "));
}

async function openJob(id, changed) {
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  const job = await get(path);
  const { outputs = [], files = [] } = await get(`${path}/outputs`).catch((fault) => { if (fault instanceof Fault) return {}; throw fault; });
  const names = [...outputs, ...files].map((file) => (typeof file === "string" ? file : file.path ?? file.name)).filter(Boolean);
  const done = async (text) => { toast(text); box.close(); await changed(); };
  const isOver = ["Completed", "Failed", "Terminated"].includes(job.status);
  const fetchFile = (name) => button(name, async () => download(name.split("/").at(-1), await (await send("GET", `${path}/outputs/${name.split("/").map(encodeURIComponent).join("/")}`)).blob()));
  const steps = (job.history ?? []).map((change) => h("li", when(change.at ?? change.time), " ", state(change.status ?? change.to ?? "changed"), " ", change.reason ?? ""));
  const part = (title, ...content) => content.some((one) => one) && h("section.stack", h("h3", title), content);
  const box = dialog(job.name, h("div.stack", h("div.row", state(job.status), h("code", job.id)), job.error && h("p.chip.bad", job.error),
    part("History", steps.length > 0 && h("ul.plain", steps)), part("Outputs", names.length > 0 && h("div.row", names.map(fetchFile))),
    part("Progress", job.customStatus && shown(job.customStatus)), part("Input", job.input && shown(job.input)), part("Result", job.result && shown(job.result)),
    h("div.actions",
      !isOver && button("Terminate", async () => { await call("POST", `${path}/terminate`, { reason: "Terminated in the console" }); await done("Terminated."); }, ".danger"),
      isOver && button("Delete", async () => { if (await confirm("Delete this job?", "Its outputs will be gone as well.", "Delete")) { await call("DELETE", path); await done("Deleted."); } }, ".danger"),
      isOver && button("Restart", async () => { await call("POST", `${path}/restart`); await done("Restarted."); }, ".primary"))), { wide: true });
}

// ---- Dead letters

function letters(page) {
  return paged({
    ...page, path: () => "/api/admin/dead-letters", key: "deadLetters", states: ["dead_lettered", "replayed"], heads: ["State", "Reason", "Queue", "Tries", "Since", ""],
    none: empty("No dead letters", "Messages that could not be worked off end here, with their text."),
    row: (letter, draw) => h("tr", h("td", state(letter.status)), h("td", letter.reason, h("br"), h("small", letter.jobId)), h("td", letter.sourceQueue), h("td", letter.dequeueCount ?? "–"), h("td", when(letter.createdAt)),
      h("td", h("div.row", button("Body", async () => dialog("Message", shown(letter.payload), { wide: true })),
        letter.status !== "replayed" && button("Replay", async () => { await call("POST", `/api/admin/dead-letters/${encodeURIComponent(letter.id)}/replay`); toast("Queued again."); await draw(); }, ".primary"),
        button("Delete", async () => { if (await confirm("Delete this dead letter?", "Its message is lost for good.", "Delete")) { await call("DELETE", `/api/admin/dead-letters/${encodeURIComponent(letter.id)}`); await draw(); } }, ".danger")))),
  });
}

// ---- Usage

async function usage({ content, head, signal, isAdmin }) {
  const days = select([["1", "Today"], ["7", "7 days"], ["30", "30 days"]], "7", { "aria-label": "Days" });
  async function draw() {
    const rows = isAdmin ? await all(`/api/admin/usage?days=${days.value}`, "days", { signal }) : (await get(`/api/usage?days=${days.value}`, { signal })).days;
    const number = (value) => value.toLocaleString("en");
    const row = (day) => h("tr", h("td", day.date), h("td", isAdmin ? day.userId ?? "the service" : "you"), h("td", day.model), h("td", number(day.calls)), h("td", number(day.inputTokens)), h("td", number(day.outputTokens)), h("td", day.cost ?? "–"));
    content.replaceChildren(rows.length ? table(["Day", "User", "Model", "Calls", "Tokens in", "Tokens out", "Cost"], rows.map(row)) : empty("No calls", "No model was asked for anything in these days."));
  }
  const again = button("Reload", draw);
  days.addEventListener("change", () => act(again, draw));
  head.append(days, again);
  await draw();
}

// ---- Sources

async function sources({ content, head, signal, isAdmin }) {
  async function draw() {
    const { sources } = await get("/api/scraper/sources", { signal });
    const row = (source) => {
      const path = encodeURIComponent(source.id);
      const leased = source.leaseExpiresAt && new Date(source.leaseExpiresAt) > new Date();
      const follow = source.subscribed
        ? button("Unfollow", async () => { await call("DELETE", `/api/scraper/subscribe/${path}`); await draw(); })
        : button("Follow", async () => { await call("POST", `/api/scraper/subscribe/${path}`, {}); await draw(); });
      const problem = source.config?.lastError ?? source.config?.error;
      return h("tr", h("td", h("strong", source.name), h("br"), h("small", source.id)), h("td", source.sourceType, source.isGlobal && " · for all"), h("td", when(source.lastScrapedAt)),
        h("td", leased ? ["until ", when(source.leaseExpiresAt)] : "free"), h("td", problem ? h("span.chip.bad", problem) : "–"),
        h("td", h("div.row", follow, isAdmin && button("Scrape now", async () => { await call("POST", `/api/scraper/run/${path}`, {}); toast("Scraped."); await draw(); }), button("Settings", async () => dialog(source.name, shown(source.config), { wide: true })))));
    };
    content.replaceChildren(sources.length ? table(["Source", "Kind", "Last scrape", "Lease", "Error", ""], sources.map(row)) : empty("No sources", "Suggest a shop in Discover."));
  }
  head.append(button("Reload", draw));
  await draw();
}

// ---- Health

async function health({ content, head, signal }) {
  async function draw() {
    const [alive, ready] = await Promise.all([get("/api/health", { signal }), fetch("/api/health/ready", { signal }).then((answer) => answer.json())]);
    const checks = Object.entries(ready.checks ?? {}).map(([name, told]) => h("tr", h("th", { scope: "row" }, name), h("td", state(told))));
    const fact = (name, value) => value && h("tr", h("th", { scope: "row" }, name), h("td", value));
    content.replaceChildren(h("div.columns",
      h("section.card", h("h2", "Ready? ", state(ready.status)), h("table", h("tbody", checks))),
      h("section.card", h("h2", "Service"), h("table", h("tbody", fact("name", alive.service), fact("version", alive.version), fact("model", ready.model), fact("segmentation", ready.segmentation))))));
  }
  head.append(button("Reload", draw));
  await draw();
  const timer = setInterval(() => draw().catch(() => {}), 10000);
  signal.addEventListener("abort", () => clearInterval(timer));
}
