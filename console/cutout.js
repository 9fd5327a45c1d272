// The picture of a piece or a draft, and its cut-out.
import { call, get, has } from "/console/api.js";
import { act, field, h, picture, select, toast } from "/console/dom.js";

const MODES = { auto: "Automatic", plain: "By its plain background", network: "By the network", none: "Leave it whole" };
const REMOVERS = { plain: "by its plain background", network: "by the network", service: "by the segmentation service" };

/** Describes the background removal in a sentence. */
function told({ by, confidence, keptWhole }) {
  const sure = confidence === undefined ? "" : ` The network is ${Math.round(confidence * 100)} % sure.`;
  return `${keptWhole ? `Left whole: ${keptWhole}.` : `Cut out ${REMOVERS[by] ?? ""}.`}${sure}`;
}

/** Shows the picture and, while the photo is kept, a choice of how it is cut out; `onchange` gets the item with its new picture. */
export function cutout(item, alt, label, onchange) {
  const path = `/api/wardrobe/${encodeURIComponent(item.id)}`;
  const choice = h("div.stack.cutout");
  const element = h("div.stack", picture(item.imageUrl, alt, label), choice);

  async function again(button, body) {
    await act(button, async () => {
      const made = await call("POST", `${path}/cutout`, body);
      item.imageUrl = made.item.imageUrl;
      element.firstChild.replaceWith(picture(item.imageUrl, alt, label));
      await onchange(made.item);
    });
    // Also after an error, so that the choice shows the current state.
    await draw();
  }

  async function draw() {
    const { photo, cutout: done, modes } = await get(`${path}/pictures`);
    if (!photo) return choice.replaceChildren();
    const mode = select(modes.map((name) => [name, MODES[name] ?? name]), done?.mode ?? "auto", { onchange: () => again(mode, { mode: mode.value }) });
    const anyway = h("button.small", { type: "button", onclick: () => again(anyway, { mode: "network", threshold: 0 }) }, "Cut it out anyway");
    choice.replaceChildren(field("Background", mode, done && told(done)), ...(done?.keptWhole && done.confidence !== undefined ? [anyway] : []));
  }

  if (has("get", "/api/wardrobe/{}/pictures")) draw().catch((fault) => toast(fault.message, "fault"));
  return element;
}
