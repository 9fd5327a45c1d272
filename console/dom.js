// Elements, notes and dialogs. Text is always text: nothing here reads HTML from data.

/** Makes an element: `h("div.card", {onclick}, "text", child)`. Children that are null or false are left out. */
export function h(spec, attributes, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  if (attributes instanceof Node || typeof attributes !== "object" || attributes === null || Array.isArray(attributes)) {
    children.unshift(attributes);
    attributes = {};
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !/^(list|form|role|class)$|-/.test(name)) element[name] = value;
    else element.setAttribute(name === "className" ? "class" : name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Makes an SVG element. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat().filter(Boolean));
  return element;
}

const ICONS = {
  stylist: "M4 5h16v11H9l-5 4z", wardrobe: "M8 4l4 2 4-2 5 4-3 3v9H6v-9L3 8z", discover: "M12 3l2.200 6.800L21 12l-6.800 2.200L12 21l-2.200-6.800L3 12l6.800-2.200z",
  insights: "M4 20V11M10 20V4M16 20v-6M21 20H3", digest: "M5 4h14v16H5zM9 9h6M9 13h6", quiz: "M12 20S4 15 4 9a4 4 0 018-1 4 4 0 018 1c0 6-8 11-8 11z",
  profile: "M12 12a4 4 0 100-8 4 4 0 000 8zM4 21a8 8 0 0116 0", jobs: "M5 7h14M5 12h9M5 17h11M19 15l3 2.500-3 2.500z", letters: "M3 6h18v12H3zM3 7l9 7 9-7",
  timers: "M12 21a8 8 0 100-16 8 8 0 000 16zM12 9v4l3 2M9 2h6", users: "M9 11a3.500 3.500 0 100-7 3.500 3.500 0 000 7zM3 20a6 6 0 0112 0M16 4.500a3.500 3.500 0 010 6M17.500 14.500A6 6 0 0121 20",
  log: "M4 4h16v16H4zM8 9h8M8 13h8M8 17h4", settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 7m-2 0a2 2 0 104 0 2 2 0 10-4 0M9 17m-2 0a2 2 0 104 0 2 2 0 10-4 0", audit: "M12 3l8 3v6c0 5-4 8-8 9-4-1-8-4-8-9V6zM9 12l2 2 4-4",
  usage: "M12 3v18M17 7c0-2-2-3-5-3s-5 1-5 4 2 3.500 5 4 5 1.500 5 4-2 4-5 4-5-1-5-3", sources: "M5 19a1 1 0 100-2 1 1 0 000 2zM4 11a9 9 0 019 9M4 5a15 15 0 0115 15", health: "M3 12h4l3-7 4 14 3-7h4", up: "M7 11v9H3v-9zM7 11l4-8c2 0 3 1 2.500 3L13 9h6c1 0 2 1 1.700 2.200l-1.500 7A2 2 0 0117.200 20H7",
  down: "M17 13V4h4v9zM17 13l-4 8c-2 0-3-1-2.500-3L11 15H5c-1 0-2-1-1.700-2.200l1.500-7A2 2 0 016.800 4H17", auto: "M12 3a9 9 0 100 18zM12 3a9 9 0 010 18",
  light: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500L19 19M5 19l1.500-1.500M17.500 6.500L19 5", dark: "M20 14A8 8 0 0110 4a8 8 0 1010 10z",
};

/** A decorative icon. */
export const icon = (name) => s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));

/** Shows a short note for a few seconds. */
export function toast(text, kind = "note") {
  const note = h(`div.toast.${kind}`, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), kind === "fault" ? 9000 : 4000);
}

// Back closes the dialog on top: the first one adds an entry to the history, which is skipped later.
const hasEntry = () => Boolean(history.state?.dialog);
let [wasAtEntry, wasAt] = [hasEntry(), location.href];
addEventListener("popstate", () => {
  const isBack = wasAtEntry && !hasEntry() && location.href === wasAt;
  [wasAtEntry, wasAt] = [hasEntry(), location.href];
  if (!isBack) return;
  const open = [...document.querySelectorAll("dialog[open]")];
  if (!open.length) return history.back();
  open.pop().close();
  if (open.length) addEntry();
});

function addEntry() {
  if (!hasEntry()) history.pushState({ ...history.state, dialog: true }, "");
  [wasAtEntry, wasAt] = [true, location.href];
}

export const closeDialogs = () => document.querySelectorAll("dialog[open]").forEach((box) => box.close());

/** Opens a dialog with a heading and a close button; returns it. `onclose` runs when it has closed. */
export function dialog(title, content, { wide = false, onclose } = {}) {
  const close = h("button.quiet.close", { type: "button", "aria-label": "Close", onclick: () => box.close() }, "✕");
  const box = h(`dialog${wide ? ".wide" : ""}`, { "aria-label": title }, h("header", h("h2", title), close), content);
  // Only for a click that began outside, so not for a selection that ends there.
  let isOutside = false;
  box.addEventListener("pointerdown", ({ clientX: x, clientY: y }) => {
    const { left, right, top, bottom } = box.getBoundingClientRect();
    isOutside = x < left || x > right || y < top || y > bottom;
  });
  box.addEventListener("click", (event) => event.target === box && isOutside && box.close());
  box.addEventListener("close", () => { box.remove(); onclose?.(); });
  document.body.append(box);
  box.showModal();
  addEntry();
  return box;
}

/** Asks for confirmation of something irreversible. */
export function confirm(title, text, action) {
  return new Promise((resolve) => {
    let answer = false;
    const yes = h("button.danger", { type: "button", onclick: () => { answer = true; box.close(); } }, action);
    const no = h("button", { type: "button", autofocus: true, onclick: () => box.close() }, "Cancel");
    const box = dialog(title, h("div.stack", h("p", text), h("div.actions", no, yes)), { onclose: () => resolve(answer) });
  });
}

/** A note in a form whose fields were changed elsewhere; `reload` takes over what is stored. */
export const changedElsewhere = (fields, reload) => h("div.note", { role: "alert" },
  h("p", `Changed elsewhere since you opened this: ${fields}. Nothing is saved yet. Reload to see the change; your other entries stay.`),
  h("button.small", { type: "button", onclick: reload }, "Reload"));

/** A field with its label. */
export function field(label, input, hint) {
  return h("label.field", h("span", label), input, hint && h("small", hint));
}

/** A select with these [value, text] choices. */
export function select(choices, value, attributes = {}) {
  const element = h("select", attributes, choices.map(([key, text]) => h("option", { value: key }, text)));
  element.value = value ?? "";
  return element;
}

/** The placeholder of an empty list. */
export const empty = (title, text, ...more) => h("div.empty", h("h2", title), h("p", text), more);
export const loading = (text = "Loading…") => h("p.loading", { role: "status" }, h("span.spinner", { "aria-hidden": "true" }), text);

/** The URL of a picture; the service's own pictures are requested from the page's origin. */
export function near(url) {
  const { pathname, search } = new URL(url, location.href);
  return pathname.startsWith("/api/media/") ? pathname + search : url;
}

/** The first character, which can have several code units. */
const initial = (text) => [...text][0].toUpperCase();

/** A picture of a piece, or its initial if there is none. */
export function picture(url, alt, label) {
  const blank = () => h("div.picture.blank", alt ? { role: "img", "aria-label": alt } : { "aria-hidden": "true" }, initial(label || "?"));
  if (!url) return blank();
  const image = h("img.picture", { src: near(url), alt: alt ?? "", loading: "lazy", decoding: "async", referrerPolicy: "no-referrer" });
  image.addEventListener("error", () => image.replaceWith(blank()));
  return image;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** A relative time in words; the full time is the title. */
export function when(text) {
  if (!text) return h("span", "–");
  const date = new Date(text);
  const seconds = (date - Date.now()) / 1000;
  const [unit, size] = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return h("time", { dateTime: text, title: date.toLocaleString() }, relative.format(Math.round(seconds / size), unit));
}

export function money(amount, currency) {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency: currency || "USD", maximumFractionDigits: amount % 1 ? 2 : 0 }).format(amount);
  } catch {
    return `${amount} ${currency}`;
  }
}

/** Runs the action of a click or submit: disables the button meanwhile, and shows errors as a note. */
export async function act(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } catch (fault) {
    if (fault.name !== "AbortError") toast(fault.message, "fault");
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** Offers a file for download. */
export function download(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
