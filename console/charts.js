// SVG charts, each with a table of its numbers for screen readers.
import { h, s } from "/console/dom.js";

/** Draws charts at their actual width, so that texts stay readable. */
const WIDTH = matchMedia("(max-width: 760px)").matches ? 340 : 440;

const figure = (title, svg, rows) =>
  h("section.card", h("h2", title), svg, h("div.visually-hidden", h("table", h("caption", title), rows.map(([label, value]) => h("tr", h("th", { scope: "row" }, label), h("td", value))))));

/** Cuts a label, between whole characters. */
const short = (label, most) => ([...label].length > most ? `${[...label].slice(0, most - 1).join("")}…` : label);

/** Horizontal bars: [label, number, text] each. */
export function bars(title, rows, colour = 1) {
  const largest = Math.max(...rows.map(([, number]) => number), 1);
  const [width, line, left] = [WIDTH, 30, WIDTH < 400 ? 150 : 170];
  const svg = s("svg", { viewBox: `0 0 ${width} ${rows.length * line}`, class: "chart", "aria-hidden": "true" }, rows.flatMap(([label, number, text], place) => {
    const top = place * line;
    const length = Math.max((number / largest) * (width - left - 80), 2);
    const most = WIDTH < 400 ? 21 : 24;
    return [
      s("text", { x: 0, y: top + 19, class: "strong" }, short(label, most)),
      s("rect", { x: left, y: top + 6, width: length, height: line - 12, rx: 5, class: `bar-${colour}` }),
      s("text", { x: left + length + 8, y: top + 19 }, text),
    ];
  }));
  return figure(title, svg, rows.map(([label, , text]) => [label, text]));
}

/** Columns over time: [label, number] each. */
export function columns(title, rows) {
  const most = Math.max(...rows.map(([, number]) => number), 1);
  const [width, height, foot] = [WIDTH, 190, 24];
  const step = width / rows.length;
  const svg = s("svg", { viewBox: `0 -16 ${width} ${height + foot + 16}`, class: "chart", "aria-hidden": "true" }, s("line", { x1: 0, x2: width, y1: height, y2: height, class: "axis" }), rows.flatMap(([label, number], place) => {
    const tall = (number / most) * (height - 10);
    const middle = place * step + step / 2;
    return [
      s("rect", { x: place * step + step * 0.18, y: height - tall, width: step * 0.64, height: tall, rx: 4, class: "bar-1" }),
      s("text", { x: middle, y: height - tall - 6, "text-anchor": "middle", class: "strong" }, number ? String(number) : ""),
      s("text", { x: middle, y: height + 18, "text-anchor": "middle" }, label),
    ];
  }));
  return figure(title, svg, rows.map(([label, number]) => [label, String(number)]));
}

/** A ring of shares: [label, number, colour] each. */
export function ring(title, rows) {
  const total = rows.reduce((sum, [, number]) => sum + number, 0) || 1;
  const around = 2 * Math.PI * 70;
  let start = 0;
  const arcs = rows.map(([, number, colour]) => {
    const length = (number / total) * around;
    const arc = s("circle", { cx: 100, cy: 100, r: 70, fill: "none", stroke: colour, "stroke-width": 34, "stroke-dasharray": `${Math.max(length - 1.5, 0.5)} ${around}`, "stroke-dashoffset": -start, transform: "rotate(-90 100 100)" });
    start += length;
    return arc;
  });
  const keys = rows.flatMap(([label, number, colour], place) => {
    const [x, y] = WIDTH < 400 ? [14 + (place % 2) * 165, 226 + Math.floor(place / 2) * 22] : [222 + Math.floor(place / 8) * 118, 24 + (place % 8) * 22];
    return [s("circle", { cx: x, cy: y - 4, r: 6, fill: colour, stroke: "#8888" }), s("text", { x: x + 14, y, class: "strong" }, `${short(label, 12)} ${Math.round((number / total) * 100)} %`)];
  });
  const height = WIDTH < 400 ? 216 + Math.ceil(rows.length / 2) * 22 : 200;
  const centre = WIDTH < 400 ? WIDTH / 2 - 100 : 0;
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "chart", "aria-hidden": "true" }, s("g", { transform: `translate(${centre} 0)` }, arcs, [52.5, 87.5].map((r) => s("circle", { cx: 100, cy: 100, r, fill: "none", class: "axis" }))), keys);
  return figure(title, svg, rows.map(([label, number]) => [label, String(number)]));
}
