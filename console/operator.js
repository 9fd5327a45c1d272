// Pages for operators: jobs, dead letters, usage, timers, sources, users, log, audit, settings, health.
import { Fault, all, call, events, get, pause, send, summary, unreachable } from "/console/api.js";
import { act, confirm, dialog, download, empty, field, h, loading, select, toast, when } from "/console/dom.js";

const KINDS = { Completed: "good", Failed: "bad", Terminated: "warn", Running: "", Pending: "", dead_lettered: "bad", replayed: "good", ok: "good", ready: "good" };
const state = (name) => h(`span.chip${KINDS[name] ? `.${KINDS[name]}` : ""}`, String(name).replace("_", " "));
const shown = (value) => h("pre", { tabIndex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
/** A responsive table: on a phone its cells are stacked, with their headings. */
function table(heads, rows) {
  for (const row of rows) [...row.cells].forEach((cell, place) => heads[place] && (cell.dataset.head = heads[place]));
  return h("div.scroll.card", { tabIndex: 0, role: "region", "aria-label": "Table" }, h("table", h("thead", h("tr", heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", rows)));
}
const button = (label, work, kind = "") => {
  const element = h(`button.small${kind}`, { type: "button", onclick: () => act(element, work) }, label);
  return element;
};

export const show = (page) => ({ jobs, letters, usage, timers, sources, users, log, audit, settings, health })[page.name](page);

/** Redraws at an interval in milliseconds while the page is not in use. */
function redraw({ content, signal }, draw, every) {
  const timer = setInterval(() => document.querySelector("dialog") || content.contains(document.activeElement) || draw().catch(() => {}), every);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** A paged list, with a filter by state if there are states, redrawn after changes. */
async function paged({ content, head, signal, path, key, states = [], heads, row, none, every, note }) {
  const filter = select([["", "All states"], ...states.map((name) => [name, name.replace("_", " ")])], "", { "aria-label": "State" });
  const again = button("Reload", draw);
  head.append(...(states.length ? [filter] : []), again);
  const rest = h("div.row.more");
  async function draw() {
    const found = [];
    const more = async (after) => {
      const query = new URLSearchParams({ ...(filter.value && { status: filter.value }), ...(after && { continuationToken: after }) });
      const page = await get(`${path()}${path().includes("?") ? "&" : "?"}${query}`, { signal });
      found.push(...page[key]);
      content.replaceChildren(...(found.length ? [note ?? "", table(heads, found.map((one) => row(one, draw)))] : [none]), rest);
      rest.replaceChildren(...(page.nextContinuationToken ? [button("Show more", () => more(page.nextContinuationToken))] : []));
    };
    await more(null);
  }
  filter.addEventListener("change", () => act(again, draw));
  await draw();
  if (every) redraw({ content, signal }, draw, every);
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
    row: (job, draw) => h("tr", h("td", state(job.status)), h("td", h("strong", job.name), h("br"), h("small", job.id, job.userId && [h("br"), job.userId])),
      h("td.wide", progress(job)), h("td", when(job.createdTime)), h("td", when(job.lastUpdatedTime)), h("td", button("Open", () => openJob(job.id, draw)))),
  });
}

function progress(job) {
  if (job.error) return h("small", job.error);
  const told = job.customStatus;
  if (!told) return "–";
  if (typeof told === "string") return told;
  if (told.total) return h("div", h("progress", { max: told.total, value: told.done ?? 0, "aria-label": "Progress" }), h("small", told.message ?? `${told.done} of ${told.total}`));
  if (told.message) return h("small", told.message);
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
  const steps = (job.history ?? []).map((change) => h("li", when(change.at), " ", state(change.status), " ", change.detail ?? ""));
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
    none: empty("No dead letters", "A message that failed at every try ends here, with the reason."),
    row: (letter, draw) => h("tr", h("td", state(letter.status)), h("td", letter.reason, h("br"), h("small", letter.jobId)), h("td", letter.sourceQueue), h("td", letter.dequeueCount ?? "–"), h("td", when(letter.createdAt)),
      h("td", h("div.row", button("Body", async () => dialog("Message", shown(letter.payload), { wide: true })),
        letter.status !== "replayed" && button("Replay", async () => { await call("POST", `/api/admin/dead-letters/${encodeURIComponent(letter.id)}/replay`); toast("Queued again."); await draw(); }, ".primary"),
        button("Delete", async () => { if (await confirm("Delete this dead letter?", "Its message is lost for good.", "Delete")) { await call("DELETE", `/api/admin/dead-letters/${encodeURIComponent(letter.id)}`); await draw(); } }, ".danger")))),
  });
}

// ---- Usage

/** Most rows on the page. */
const MOST_ROWS = 2000;

async function usage({ content, head, signal, isAdmin }) {
  const days = select([["1", "Today"], ["7", "7 days"], ["30", "30 days"]], "7", { "aria-label": "Days" });
  async function draw() {
    const rows = isAdmin ? await all(`/api/admin/usage?days=${days.value}`, "days", { limit: MOST_ROWS, signal }) : (await get(`/api/usage?days=${days.value}`, { signal })).days;
    const number = (value) => value.toLocaleString("en");
    const row = (day) => h("tr", h("td", day.date), h("td", isAdmin ? day.userId ?? "the service" : "you"), h("td", day.model), h("td", number(day.calls)), h("td", number(day.inputTokens)), h("td", number(day.outputTokens)), h("td", day.cost ?? "–"));
    const cut = rows.length >= MOST_ROWS && h("p.chip.warn", `Only the first ${rows.length} rows are shown. The command “pluckit usage” reads all of them.`);
    content.replaceChildren(cut || "", rows.length ? table(["Day", "User", "Model", "Calls", "Tokens in", "Tokens out", "Cost"], rows.map(row)) : empty("No calls", "No model was called in this period."));
  }
  const again = button("Reload", draw);
  days.addEventListener("change", () => act(again, draw));
  head.append(days, again);
  await draw();
}

// ---- Sources

async function sources({ content, head, signal, isAdmin }) {
  /** Why the last scrape of a source failed, by the jobs of all users. */
  async function failures(sources) {
    const { jobs } = isAdmin ? await get("/api/admin/jobs?status=Failed", { signal }) : { jobs: [] };
    const failed = jobs.filter((job) => job.name === "scraper.run" && job.error);
    return new Map(sources.map(({ id, lastScrapedAt }) => [id, failed.find((job) => job.input?.sourceId === id && job.lastUpdatedTime > (lastScrapedAt ?? ""))?.error]));
  }

  /** Scrapes as a job, which records why it failed and is retried. */
  async function scrape(path) {
    let job = await call("POST", `/api/scraper/run/${path}`, {}, { headers: { Prefer: "respond-async" } });
    const AGAIN = "to be tried again: ";
    const failure = () => job.history?.find((change) => change.detail?.startsWith(AGAIN))?.detail.slice(AGAIN.length);
    const isOver = () => ["Completed", "Failed", "Terminated"].includes(job.status);
    for (; !isOver() && !failure(); await pause(0.5)) job = await get(`/api/jobs/${encodeURIComponent(job.id)}`, { signal });
    if (!isOver()) throw new Fault(0, `Scrape failed: ${failure()} It will be tried again: see Jobs.`);
    if (job.status !== "Completed") throw new Fault(0, `Scrape failed: ${job.error ?? job.status}`);
    toast(`Scraped: ${job.result?.newItems ?? 0} new.`);
  }

  async function draw() {
    const { sources } = await get("/api/scraper/sources", { signal });
    const problems = await failures(sources);
    const row = (source) => {
      const path = encodeURIComponent(source.id);
      const leased = source.leaseExpiresAt && new Date(source.leaseExpiresAt) > new Date();
      const follow = source.subscribed
        ? button("Unfollow", async () => { await call("DELETE", `/api/scraper/subscribe/${path}`); await draw(); })
        : button("Follow", async () => { await call("POST", `/api/scraper/subscribe/${path}`, {}); await draw(); });
      const problem = problems.get(source.id);
      const minutes = Math.ceil((new Date(source.leaseExpiresAt) - Date.now()) / 60000);
      return h("tr", h("td", h("strong", source.name), h("br"), h("small", source.id)), h("td", source.sourceType, source.isGlobal && " · for all"), h("td", when(source.lastScrapedAt)),
        h("td", leased ? `for ${minutes} more ${minutes === 1 ? "minute" : "minutes"}` : "free"), h("td", problem ? h("span.chip.bad", problem) : "–"),
        h("td", h("div.row", follow, isAdmin && button("Scrape now", () => scrape(path).finally(draw)), button("Settings", async () => dialog(source.name, shown(source.config), { wide: true })))));
    };
    content.replaceChildren(sources.length ? table(["Source", "Kind", "Last scrape", "Lease", "Error", ""], sources.map(row)) : empty("No sources", "Suggest a shop in Discover."));
  }
  head.append(button("Reload", draw));
  await draw();
}

// ---- Timers

async function timers({ content, head, signal }) {
  async function draw() {
    const { timers } = await get("/api/admin/timers", { signal });
    const run = (timer) => button("Run now", async () => { await call("POST", `/api/admin/timers/${timer.name}/run`); toast(`${timer.name} runs.`); await draw(); });
    const ended = (timer) => timer.failedAt ? [state("Failed"), " ", when(timer.failedAt), timer.lastError && h("div", h("small", timer.lastError))] : when(timer.completedAt);
    const row = (timer) => h("tr", h("td", h("strong", timer.name), h("br"), h("small", h("code", timer.schedule))), h("td", timer.isRunning ? state("Running") : "waiting"),
      h("td", timer.completedAt || timer.failedAt ? ended(timer) : "not yet"), h("td", when(timer.nextDue)), h("td", !timer.isRunning && run(timer)));
    content.replaceChildren(table(["Timer", "State", "Last run", "Next run", ""], timers.map(row)));
  }
  head.append(button("Reload", draw));
  await draw();
  redraw({ content, signal }, draw, 5000);
}

// ---- Users

async function users(page) {
  const id = h("input", { type: "search", placeholder: "User id", "aria-label": "User id", maxLength: 500 });
  const find = h("form.row", { onsubmit: (event) => { event.preventDefault(); act(find.lastChild, draw); } }, id, h("button.small", { type: "submit" }, "Find"));
  page.head.append(find);
  const draw = await paged({
    ...page, path: () => `/api/admin/users?${new URLSearchParams(id.value.trim() ? { userId: id.value.trim() } : {})}`, key: "users", heads: ["User", "Items", "Tokens today", "Feed", ""],
    note: h("p.soft.count", "Items are pieces, wishes and drafts."),
    none: empty("No users", "Users are listed once they have a profile."),
    row: (user, draw) => h("tr", h("td", h("strong", user.userId), user.isAdmin && [" ", h("span.chip", "admin")]), h("td", user.items.toLocaleString("en")), h("td", tokens(user)),
      h("td", user.ban ? [h("span.chip.bad", "banned"), " ", when(user.ban.bannedAt), h("div", h("small", [user.ban.reason, user.ban.bannedBy ? `by ${user.ban.bannedBy}` : "by the service"].filter(Boolean).join(" · ")))] : "may contribute"),
      h("td", user.ban ? button("Lift ban", async () => { await call("POST", `/api/admin/unban/${encodeURIComponent(user.userId)}`); toast("The ban is lifted."); await draw(); })
        : button("Ban", () => ban(user.userId, draw), ".danger"))),
  });
}

function tokens({ tokensToday, tokensPerDay }) {
  const number = (value) => value.toLocaleString("en");
  if (!tokensPerDay) return number(tokensToday);
  return h("div", h("progress", { max: tokensPerDay, value: Math.min(tokensToday, tokensPerDay), "aria-label": "Tokens of the daily limit" }), h("small", `${number(tokensToday)} of ${number(tokensPerDay)}`));
}

function ban(user, changed) {
  const reason = h("input", { maxLength: 500, autofocus: true });
  const submit = h("button.danger", { type: "submit" }, "Ban");
  const send = async () => { await call("POST", `/api/admin/ban/${encodeURIComponent(user)}`, { reason: reason.value.trim() || null }); box.close(); toast(`${user} is banned.`); await changed(); };
  const box = dialog(`Ban ${user}?`, h("form.stack", { onsubmit: (event) => { event.preventDefault(); act(submit, send); } },
    h("p", "They can no longer contribute to the feed, from their next request on."), field("Reason", reason, "Administrators see it."), h("div.actions", submit)));
}

// ---- Log

const LOUD = { error: "bad", warn: "warn", info: "", debug: "", trace: "" };
/** Most lines on the page. */
const MOST_LINES = 500;

async function log({ content, head, signal, query }) {
  const level = select([["error", "Errors"], ["warn", "Warnings and errors"], ["info", "Info and above"], ["", "Everything"]], query.get("level") ?? "info", { "aria-label": "Level" });
  const request = h("input", { type: "search", placeholder: "Request id", "aria-label": "Request id", maxLength: 128, value: query.get("requestId") ?? "" });
  const text = h("input", { type: "search", placeholder: "Text", "aria-label": "Text", maxLength: 200 });
  const live = h("button.small", { type: "button", "aria-pressed": "true", onclick: () => { const isOn = live.getAttribute("aria-pressed") !== "true"; live.setAttribute("aria-pressed", isOn); live.textContent = isOn ? "Live" : "Paused"; begin(); } }, "Live");
  head.append(h("div.tools", level, request, text, live));
  const list = h("ol.lines", { tabIndex: 0, "aria-label": "Lines of the log, newest first" });
  const note = h("p", { role: "status" });
  content.replaceChildren(note, list);
  let following = new AbortController();
  signal.addEventListener("abort", () => following.abort());

  const only = (id) => { request.value = id; begin(); };
  const rest = (fields) => h("small", Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join("  "));
  const told = ({ message, fields }) => {
    if (message !== "request answered") return [h("strong", message), " ", rest(fields)];
    const { "http.method": method, "http.route": route, "url.path": path, "http.status": status, duration_ms, ...others } = fields;
    return [h("strong", method, " ", path ?? route), " ", h(`span.chip${status < 400 ? ".good" : status < 500 ? ".warn" : ".bad"}`, status), " ", h("small", `${duration_ms} ms  `), rest(others)];
  };
  const row = (line) => h("li", h("time", { dateTime: line.time, title: line.time }, new Date(line.time).toLocaleTimeString()), h(`span.chip${LOUD[line.level] ? `.${LOUD[line.level]}` : ""}`, line.level),
    h("div", told(line)), line.requestId && !request.value && button("Request", async () => only(line.requestId), ".quiet"));
  const show = (line) => {
    list.prepend(row(line));
    while (list.children.length > MOST_LINES) list.lastChild.remove();
    note.textContent = "";
  };

  const begin = () => follow().catch((fault) => fault.name === "AbortError" || note.replaceChildren(h("span.chip.bad", fault.message)));
  async function follow() {
    following.abort();
    if (signal.aborted) return;
    following = new AbortController();
    const mine = following.signal;
    list.replaceChildren();
    note.replaceChildren(loading());
    const wanted = new URLSearchParams({ limit: "200", ...(level.value && { level: level.value }), ...(request.value.trim() && { requestId: request.value.trim() }), ...(text.value.trim() && { text: text.value.trim() }) });
    const nothing = () => { if (!list.children.length) note.textContent = "No line matches so far."; };
    if (live.getAttribute("aria-pressed") !== "true") {
      const { lines } = await get(`/api/admin/logs?${wanted}`, { signal: mine });
      lines.forEach(show);
      return nothing();
    }
    setTimeout(nothing, 500);
    // A broken stream is resumed.
    for (let last = 0; !mine.aborted;) {
      try {
        const response = await send("GET", `/api/admin/logs?${wanted}&follow=true&after=${last}`, undefined, { signal: mine });
        for await (const line of events(response)) {
          show(line);
          last = line.number;
        }
      } catch (fault) {
        if (mine.aborted) return;
        if (fault instanceof Fault && fault.status) throw fault;
        note.textContent = "The connection is lost. Trying again…";
      }
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  level.addEventListener("change", begin);
  for (const input of [request, text]) input.addEventListener("change", begin);
  begin();
}

// ---- Audit

function audit(page) {
  const path = ({ route, target }) => (target ? route.replace(/{.*}/, target) : route);
  const kind = (status) => (status === null ? "" : status < 400 ? ".good" : ".bad");
  return paged({
    ...page, path: () => "/api/admin/audit", key: "actions", heads: ["When", "Who", "What", "Outcome", ""],
    none: empty("Nothing yet", "What administrators change is listed here: bans, replays, runs, and the jobs of others."),
    row: (action) => h("tr", h("td", when(action.at)), h("td", action.userId), h("td", h("strong", summary(action.method, action.route)), h("br"), h("small", `${action.method} ${path(action)}`)),
      h("td", h(`span.chip${kind(action.status)}`, action.status ?? "interrupted")), h("td", action.requestId && h("a", { href: `#/log?requestId=${encodeURIComponent(action.requestId)}` }, "Log"))),
  });
}

// ---- Settings

async function settings({ content, head, signal }) {
  const wanted = h("input", { type: "search", placeholder: "Name or value", "aria-label": "Name or value" });
  const which = select([["", "All settings"], ["set", "Those that are set"]], "", { "aria-label": "Which" });
  head.append(h("div.tools", wanted, which));
  const { settings, warnings, version, environment } = await get("/api/admin/settings", { signal });
  const row = (setting) => h("tr", h("td", h("code", setting.name)), h("td", setting.value ? h("code", setting.value) : "–"), h("td", setting.source === "default" ? "default" : h("span.chip.good", setting.source), setting.note && h("div", h("small", setting.note))));
  const rows = h("div.stack");
  function draw() {
    const word = wanted.value.trim().toLowerCase();
    const found = settings.filter((setting) => `${setting.name} ${setting.value}`.toLowerCase().includes(word) && (!which.value || setting.source !== "default"));
    rows.replaceChildren(found.length ? table(["Setting", "Value", "From"], found.map(row)) : empty("No setting fits", "Settings are read when the service starts."));
  }
  wanted.addEventListener("input", draw);
  which.addEventListener("change", draw);
  draw();
  content.replaceChildren(h("p.soft.count", `Version ${version}, in ${environment}.`), ...warnings.map((warning) => h("p.chip.warn", warning)), rows);
}

// ---- Health

async function health({ content, head, signal }) {
  async function draw() {
    const [alive, ready] = await Promise.all([get("/api/health", { signal }), fetch("/api/health/ready", { signal }).catch(unreachable).then((answer) => answer.json())]);
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
