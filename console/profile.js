// The profile, the stylist's memory, and API tokens.
import { Conflict, call, get, has, read, replace } from "/console/api.js";
import { act, changedElsewhere, confirm, dialog, field, h, select, toast, when } from "/console/dom.js";

const list = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);
const FIELDS = {
  locationCity: "city", currencyCode: "currency", preferredSizeSystem: "sizes", stylePreferences: "styles", preferredColours: "colours", favoriteBrands: "brands",
  heightCm: "height", weightKg: "weight", chestCm: "chest", waistCm: "waist", hipsCm: "hips", inseamCm: "inseam", recommendationOptIn: "digest",
};
const MEASURES = [["heightCm", "Height, cm"], ["weightKg", "Weight, kg"], ["chestCm", "Chest, cm"], ["waistCm", "Waist, cm"], ["hipsCm", "Hips, cm"], ["inseamCm", "Inseam, cm"]];

export async function show({ content, signal }) {
  const sections = [memory(await get("/api/chat/memory", { signal }))];
  if (has("get", "/api/profile")) sections.unshift(profile(await read("/api/profile", { signal })));
  if (has("post", "/api/auth/tokens")) sections.push(await tokens().catch((fault) => h("p.card", fault.message)));
  content.replaceChildren(h("div.columns", sections));
}

function profile(known, shown = known.value) {
  const text = (name) => h("input", { type: "text", value: Array.isArray(shown[name]) ? shown[name].join(", ") : shown[name] ?? "", maxLength: 400 });
  const input = {
    locationCity: text("locationCity"), stylePreferences: text("stylePreferences"), preferredColours: text("preferredColours"), favoriteBrands: text("favoriteBrands"),
    currencyCode: h("input", { value: shown.currencyCode ?? "USD", maxLength: 3, pattern: "[A-Z]{3}" }),
    preferredSizeSystem: select([["EU", "EU"], ["US", "US"], ["UK", "UK"]], shown.preferredSizeSystem ?? "US"),
  };
  const measures = MEASURES.map(([name, label]) => [name, label, h("input", { type: "number", min: 1, max: 1000, step: "0.1", value: shown[name] ?? "" })]);
  const digest = h("input", { type: "checkbox", checked: shown.recommendationOptIn !== false });
  const save = h("button.primary", { type: "submit" }, "Save profile");
  const note = h("div");
  const values = () => {
    const lists = Object.fromEntries(["stylePreferences", "preferredColours", "favoriteBrands"].map((name) => [name, list(input[name].value)]));
    const sizes = Object.fromEntries(measures.map(([name, , element]) => [name, element.value === "" ? null : Number(element.value)]));
    return { ...shown, ...lists, ...sizes, locationCity: input.locationCity.value.trim() || null, currencyCode: input.currencyCode.value.toUpperCase(), preferredSizeSystem: input.preferredSizeSystem.value, recommendationOptIn: digest.checked };
  };
  const submit = (event) => {
    event.preventDefault();
    act(save, async () => {
      try {
        await replace("/api/profile", values(), known, Object.keys(FIELDS));
        known = await read("/api/profile");
        note.replaceChildren();
        toast("Profile saved.");
      } catch (fault) {
        if (!(fault instanceof Conflict)) throw fault;
        const reload = () => element.replaceWith(profile(fault.now, { ...values(), ...Object.fromEntries(fault.fields.map((name) => [name, fault.now.value[name]])) }));
        note.replaceChildren(changedElsewhere(fault.fields.map((name) => FIELDS[name]).join(", "), reload));
      }
    });
  };
  const element = h("form.card.stack", { onsubmit: submit }, h("h2", "Profile"),
    h("div.fields", field("City", input.locationCity, "For weather and season"), field("Currency", input.currencyCode), field("Sizes", input.preferredSizeSystem)),
    field("Styles", input.stylePreferences, "Separated by commas: minimalist, smart casual"), field("Colours", input.preferredColours), field("Brands", input.favoriteBrands),
    h("div.fields", measures.map(([, label, element]) => field(label, element))),
    h("label.check", digest, "Write me a digest of ideas every week"), note, h("div.actions", save));
  return element;
}

function memory(stored) {
  const note = h("div");
  // It has no version. A chat in another tab may add to it.
  const text = ({ summary, preferences }) => JSON.stringify([summary, preferences]);
  const summary = h("textarea", { rows: 4, value: stored.summary ?? "", maxLength: 2000 });
  const rows = h("ul.plain");
  const row = ({ text = "", kind = "like" } = {}) => {
    const element = h("li.row", select([["like", "Likes"], ["dislike", "Dislikes"], ["fact", "Fact"]], kind, { "aria-label": "Kind" }),
      h("input.grow", { value: text, maxLength: 200, "aria-label": "Preference", required: true }),
      h("button.quiet.small", { type: "button", "aria-label": `Remove ${text || "this"}`, onclick: () => element.remove() }, "✕"));
    return element;
  };
  rows.append(...(stored.preferences ?? []).map(row));
  const add = h("button.small", { type: "button", onclick: () => { const made = row(); rows.append(made); made.querySelector("input").focus(); } }, "+ Add");
  const save = h("button.primary", { type: "submit" }, "Save memory");
  const submit = (event) => {
    event.preventDefault();
    act(save, async () => {
      const preferences = [...rows.children].map((one) => ({ text: one.querySelector("input").value.trim(), kind: one.querySelector("select").value })).filter((one) => one.text);
      const now = await get("/api/chat/memory");
      if (text(now) !== text(stored)) return note.replaceChildren(changedElsewhere("what the stylist remembers", () => element.replaceWith(memory(now))));
      await call("PUT", "/api/chat/memory", { summary: summary.value, preferences });
      element.replaceWith(memory(await get("/api/chat/memory")));
      toast("Memory saved.");
    });
  };
  const element = h("form.card.stack", { onsubmit: submit }, h("h2", "What the stylist remembers"), h("h3", "Preferences"), rows, h("div", add),
    field("From earlier conversations", summary), stored.updatedAt && h("p.soft", "Changed ", when(stored.updatedAt)), note, h("div.actions", save));
  return element;
}

/** Lists, creates and revokes API tokens. A new one is shown once. */
async function tokens() {
  const list = h("ul.plain");
  const name = h("input", { required: true, maxLength: 100, placeholder: "laptop script" });
  const days = h("input", { type: "number", min: 1, max: 365, value: 90, required: true });
  const make = h("button.primary", { type: "submit" }, "Make a token");
  async function draw() {
    const { tokens } = await get("/api/auth/tokens");
    list.replaceChildren(...tokens.map((token) => {
      const end = h("button.danger.small", { type: "button", "aria-label": `Revoke ${token.name}`, onclick: () => act(end, async () => {
        if (!(await confirm("Revoke this token?", `Programs that use ${token.name} are refused from now on.`, "Revoke"))) return;
        await call("DELETE", `/api/auth/tokens/${encodeURIComponent(token.id)}`);
        await draw();
      }) }, "Revoke");
      return h("li.row.spread", h("span", h("strong", token.name), h("br"), h("small", "ends ", when(token.expiresAt), ", ", token.lastUsedAt ? ["used ", when(token.lastUsedAt)] : "never used")), end);
    }));
    if (!tokens.length) list.append(h("li.soft", "None yet."));
  }
  const submit = (event) => {
    event.preventDefault();
    act(make, async () => {
      const { token } = await call("POST", "/api/auth/tokens", { name: name.value, expiresInDays: Number(days.value) });
      name.value = "";
      await draw();
      const copy = h("button", { type: "button", onclick: () => act(copy, async () => { await navigator.clipboard.writeText(token); toast("Copied."); }) }, "Copy");
      dialog("Your new token", h("div.stack", h("p", "Copy it now: it will not be shown again."), h("pre", { tabIndex: 0 }, token), navigator.clipboard && h("div.actions", copy)));
    });
  };
  await draw();
  return h("form.card.stack", { onsubmit: submit }, h("h2", "Tokens for programs"), list, h("div.fields", field("Name", name), field("Days", days)), h("div.actions", make));
}
