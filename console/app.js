// The frame: sign-in, hash routing, theme.
import { Fault, discover, get, has, token } from "/console/api.js";
import { act, empty, field, h, icon, loading } from "/console/dom.js";

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

const shown = () => PAGES.filter((page) => has(...page.needs) && (!page.admin || isAdmin));

function drawNav() {
  const link = (page) =>
    h("a", { href: `#/${page.name}`, "data-page": page.name }, icon(page.name), h("span.label", page.title));
  const pages = shown();
  nav.replaceChildren(...pages.filter((page) => !page.operator).map(link));
  const rest = pages.filter((page) => page.operator);
  if (rest.length) nav.append(h("p.group", "Operator"), ...rest.map(link));
}

async function go() {
  leaving.abort();
  leaving = new AbortController();
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
    const { show } = await import(`/console/${page.operator ? "operator" : page.name}.js`);
    if (signal.aborted) return;
    await show({ content, head: heading.parentElement, signal, isAdmin, name: page.name, query: new URLSearchParams(query) });
  } catch (fault) {
    if (fault.name === "AbortError" || signal.aborted) return;
    content.replaceChildren(empty("That did not work", fault.message, h("button", { onclick: go }, "Try again")));
  }
  if (document.activeElement === document.body) heading.focus({ preventScroll: true });
}

// ---- Sign-in

function signIn(reason) {
  nav.replaceChildren();
  document.getElementById("sign-out").hidden = true;
  const input = h("input", { type: "password", required: true, autocomplete: "off", spellcheck: false });
  const button = h("button.primary", { type: "submit" }, "Sign in");
  const submit = (event) => {
    event.preventDefault();
    act(button, () => { token.set(input.value.trim()); return start(); });
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
    google.accounts.id.initialize({ client_id: id, callback: ({ credential }) => { token.set(credential); start(); } });
    google.accounts.id.renderButton(place, { theme: "outline", size: "large" });
  });
  document.head.append(script);
}

async function start() {
  main.replaceChildren(loading());
  // A refused token is forgotten at once.
  const sent = token.get();
  await discover();
  try {
    await get("/api/jobs");
  } catch (fault) {
    if (fault.status === 401) return signIn(sent ? "That token is not valid, or no longer." : null);
    if (fault instanceof Fault && fault.status === 0) throw fault;
  }
  isAdmin = await get("/api/admin/jobs").then(() => true, () => false);
  document.getElementById("sign-out").hidden = !token.get();
  drawNav();
  await go();
}

document.getElementById("sign-out").addEventListener("click", () => { token.set(null); signIn("You are signed out."); });
addEventListener("signed-out", () => main.querySelector(".sign-in") || signIn("Please sign in again."));
addEventListener("hashchange", go);

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

start().catch((fault) => main.replaceChildren(empty("The service cannot be reached", fault.message, h("button", { onclick: () => location.reload() }, "Try again"))));
