// The frame: sign-in, hash routing, theme.
import { Fault, discover, enter, get, has, randomId, reasonOfLeaving, signOut, token } from "/console/api.js";
import { act, closeDialogs, empty, field, h, icon, loading } from "/console/dom.js";

const PAGES = [
  { name: "stylist", title: "Stylist", needs: ["post", "/api/chat"] },
  { name: "wardrobe", title: "Wardrobe", needs: ["get", "/api/wardrobe"] },
  { name: "discover", title: "Discover", needs: ["get", "/api/scraper/items"] },
  { name: "insights", title: "Insights", needs: ["get", "/api/insights/vault"] },
  { name: "digest", title: "Digest", needs: ["get", "/api/digest/latest"] },
  { name: "quiz", title: "Taste quiz", needs: ["get", "/api/taste/quiz"] },
  { name: "profile", title: "Profile", needs: ["get", "/api/chat/memory"] },
  { name: "jobs", title: "Jobs", needs: ["get", "/api/jobs"], operator: true },
  { name: "letters", title: "Dead letters", needs: ["get", "/api/admin/dead-letters"], operator: true, admin: true },
  { name: "usage", title: "Usage", needs: ["get", "/api/usage"], operator: true },
  { name: "timers", title: "Timers", needs: ["get", "/api/admin/timers"], operator: true, admin: true },
  { name: "sources", title: "Sources", needs: ["get", "/api/scraper/sources"], operator: true },
  { name: "users", title: "Users", needs: ["get", "/api/admin/users"], operator: true, admin: true },
  { name: "log", title: "Log", needs: ["get", "/api/admin/logs"], operator: true, admin: true },
  { name: "audit", title: "Audit", needs: ["get", "/api/admin/audit"], operator: true, admin: true },
  { name: "settings", title: "Settings", needs: ["get", "/api/admin/settings"], operator: true, admin: true },
  { name: "health", title: "Health", needs: ["get", "/api/health/ready"], operator: true },
];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
let leaving = new AbortController();
let isAdmin = false;

/** How far each entry of the history was scrolled; the browser itself scrolls before a page is drawn. */
const tops = new Map();
let drawn = null;
history.scrollRestoration = "manual";
addEventListener("scroll", () => drawn && tops.set(drawn, scrollY), { passive: true });

/** Returns the id of the current entry of the history. */
function here() {
  if (!history.state?.entry) history.replaceState({ ...history.state, entry: randomId() }, "");
  return history.state.entry;
}

const shown = () => PAGES.filter((page) => has(...page.needs) && (!page.admin || isAdmin));

function drawNav() {
  const link = (page) =>
    h("a", { href: `#/${page.name}`, "data-page": page.name }, icon(page.name), h("span.label", page.title));
  const pages = shown();
  nav.replaceChildren(...pages.filter((page) => !page.operator).map(link));
  const rest = pages.filter((page) => page.operator);
  if (rest.length) nav.append(h("p.group", "Operator"), ...rest.map(link));
}

/** A module did not load. Browsers do not try again, not even at the next import, so the page must be loaded anew. */
class Unloaded extends Error {}

async function load(name) {
  try {
    return await import(`/console/${name}.js`);
  } catch {
    throw new Unloaded(await get("/api/health").then(() => "This page could not be loaded.", (fault) => fault.message));
  }
}

async function reload() {
  await get("/api/health");
  location.reload();
}

async function go() {
  leaving.abort();
  leaving = new AbortController();
  drawn = null;
  closeDialogs();
  scrollTo(0, 0);
  const entry = here();
  const signal = leaving.signal;
  const [name, query] = location.hash.replace(/^#\//, "").split("?");
  const page = shown().find((page) => page.name === name) ?? shown()[0];
  if (!page) return main.replaceChildren(empty("Nothing to show", "This service has none of the console's routes."));
  document.title = `${page.title} · PluckIt`;
  for (const link of nav.querySelectorAll("a")) {
    const isHere = link.dataset.page === page.name;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (isHere) link.scrollIntoView?.({ block: "nearest", inline: "center" });
  }
  const heading = h("h1", { tabIndex: -1 }, page.title);
  const content = h("div.page", loading());
  main.replaceChildren(h("div.head", heading), content);
  main.dataset.page = page.name;
  try {
    const { show } = await load(page.operator ? "operator" : page.name);
    if (signal.aborted) return;
    await show({ content, head: heading.parentElement, signal, isAdmin, name: page.name, query: new URLSearchParams(query) });
    if (signal.aborted) return;
    if (tops.has(entry)) scrollTo(0, tops.get(entry));
    drawn = entry;
  } catch (fault) {
    if (fault.name === "AbortError" || signal.aborted) return;
    const again = h("button", { onclick: () => act(again, fault instanceof Unloaded ? reload : go) }, "Try again");
    content.replaceChildren(empty("That did not work", fault.message, again));
  }
  if (document.activeElement === document.body) heading.focus({ preventScroll: true });
}

// ---- Sign-in

function signIn(reason) {
  const input = h("input", { type: "password", required: true, autocomplete: "off", spellcheck: false });
  const button = h("button.primary", { type: "submit" }, "Sign in");
  const submit = (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    begin();
  };
  const google = h("div.google");
  main.replaceChildren(h("div.sign-in", h("img", { src: "/console/icon.svg", alt: "", width: 56, height: 56 }), h("h1", "PluckIt"),
    h("p", reason || "Sign in to see your wardrobe."), google,
    h("form.stack", { onsubmit: submit }, field("Access token", input, "A Google ID token, or a token of this service."), button)));
  const id = document.querySelector("meta[name=google-client-id]").content;
  if (id) drawGoogle(id, google);
  else input.focus();
}

function drawGoogle(id, place) {
  const script = h("script", { src: "https://accounts.google.com/gsi/client", async: true });
  script.addEventListener("load", () => {
    google.accounts.id.initialize({ client_id: id, callback: ({ credential }) => { token.set(credential); begin(); } });
    google.accounts.id.renderButton(place, { theme: "outline", size: "large" });
  });
  script.addEventListener("error", () => place.replaceChildren(h("p.soft", "Google\u2019s button could not be loaded.")));
  document.head.append(script);
}

async function start() {
  const reason = reasonOfLeaving();
  if (reason) return signIn(reason);
  main.replaceChildren(loading());
  await discover();
  try {
    await get("/api/jobs");
  } catch (fault) {
    // A token that is refused ends the sign-in: the page is loaded again.
    if (fault.status === 401) return signIn();
    if (fault instanceof Fault && fault.status === 0) throw fault;
  }
  enter();
  isAdmin = await get("/api/admin/jobs").then(() => true, () => false);
  document.getElementById("sign-out").hidden = !token.get();
  drawNav();
  await go();
}

document.getElementById("sign-out").addEventListener("click", signOut);
// Not while the sign-in is shown.
addEventListener("hashchange", () => nav.childElementCount && go());

// ---- Theme: system, light, or dark

const themes = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");
function paint(theme) {
  document.documentElement.dataset.theme = theme;
  themeButton.querySelector(".icon").replaceWith(icon(theme));
  themeButton.setAttribute("aria-label", `Theme: ${theme}`);
  themeButton.title = `Theme: ${theme}`;
}
themeButton.addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
  localStorage.setItem("theme", next);
  paint(next);
});
paint(localStorage.getItem("theme") ?? "auto");

/** Draws the page that the token allows. */
function begin() {
  const again = h("button", { onclick: () => act(again, reload) }, "Try again");
  start().catch((fault) => main.replaceChildren(empty("The service cannot be reached", fault.message, again)));
}

begin();
