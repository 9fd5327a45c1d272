// Where garments lie: the plain ground of the feed, and the rooms of the photographs.
import sharp from 'sharp';
import { FABRICS, rgb } from './fabrics.mjs';
import { HEIGHT, WIDTH, blur, dice, draw, noise, seedOf, toSharp } from './render.mjs';

const GROUNDS = ['#ece8e1', '#e6e8e6', '#e9e4e4', '#e3e6ea', '#efeae0', '#e7e5df'];
/** Places of garments on a picture: middle, size and turn, for so many of them. */
const LAYOUTS = {
  1: [[300, 400, 0.94, 0]],
  2: [[214, 286, 0.7, -5], [398, 520, 0.66, 6]],
  3: [[206, 254, 0.66, -5], [408, 440, 0.66, 5], [190, 640, 0.44, -4]],
  4: [[196, 240, 0.62, -5], [420, 330, 0.62, 5], [176, 622, 0.42, -6], [420, 664, 0.4, 5]],
};
const SCALE = 1.5;

function gradient(hex, seed) {
  const roll = dice(seed);
  const [x, y] = [20 + roll() * 40, 10 + roll() * 25];
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH * SCALE}" height="${HEIGHT * SCALE}"><defs><radialGradient id="g" cx="${x}%" cy="${y}%" r="110%"><stop offset="0" stop-color="#fff" stop-opacity="0.55"/><stop offset="0.55" stop-color="#fff" stop-opacity="0"/><stop offset="1" stop-color="#000" stop-opacity="0.09"/></radialGradient></defs><rect width="100%" height="100%" fill="${hex}"/><rect width="100%" height="100%" fill="url(#g)"/></svg>`,
  );
}

/** A shadow of the picture, as soft and dark as said. */
async function shadowOf(png, softness, opacity) {
  const { data, info } = await sharp(png).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  const alpha = new Float32Array(info.width * info.height);
  for (let at = 0; at < alpha.length; at++) alpha[at] = data[at * 4 + 3] / 255;
  const soft = blur(alpha, info.width, info.height, softness);
  const bytes = Buffer.alloc(data.length);
  for (let at = 0; at < alpha.length; at++) {
    bytes[at * 4] = 28;
    bytes[at * 4 + 1] = 24;
    bytes[at * 4 + 2] = 22;
    bytes[at * 4 + 3] = Math.round(soft[at] * opacity * 255);
  }
  return sharp(bytes, { raw: info }).png().toBuffer();
}

/** Garments, turned and shrunk, each with its shadows, as layers for sharp. */
async function layers(parts, scale, shadows) {
  const made = [];
  for (const { picture, x, y, size, turn } of parts) {
    // A margin, so that shadows are not cut.
    const margin = Math.round(60 * scale);
    const transparent = { r: 0, g: 0, b: 0, alpha: 0 };
    const shrunk = await toSharp(picture).resize(Math.round(WIDTH * scale * size), Math.round(HEIGHT * scale * size)).png().toBuffer();
    const turned = await sharp(shrunk).extend({ top: margin, bottom: margin, left: margin, right: margin, background: transparent }).rotate(turn, { background: transparent }).png().toBuffer();
    const { width, height } = await sharp(turned).metadata();
    const place = (dx, dy) => ({ left: Math.round(x * scale - width / 2 + dx * scale), top: Math.round(y * scale - height / 2 + dy * scale) });
    for (const [dx, dy, softness, opacity] of shadows) made.push({ input: await shadowOf(turned, softness * scale, opacity), ...place(dx, dy) });
    made.push({ input: turned, ...place(0, 0) });
  }
  return Promise.all(made.map((layer) => fitted(layer, Math.round(WIDTH * scale), Math.round(HEIGHT * scale))));
}

/** What of a layer lies within the picture: sharp takes nothing that hangs over. */
async function fitted({ input, left, top }, width, height) {
  const size = await sharp(input).metadata();
  const [from, above] = [Math.max(-left, 0), Math.max(-top, 0)];
  const region = { left: from, top: above, width: Math.min(size.width - from, width - Math.max(left, 0)), height: Math.min(size.height - above, height - Math.max(top, 0)) };
  return { input: await sharp(input).extract(region).png().toBuffer(), left: Math.max(left, 0), top: Math.max(top, 0) };
}

/** Garments on plain ground. Each is named by its words. */
export async function feedPicture(look, seed, garment, { isAskew = false } = {}) {
  const places = LAYOUTS[look.length];
  const askew = isAskew && look.length === 1 ? (seed & 1 ? 9 : -9) : 0;
  const parts = [];
  for (const [index, words] of look.entries()) {
    const [x, y, size, turn] = places[index];
    parts.push({ picture: await garment(words, undefined, SCALE), x, y, size: size * (askew ? 0.92 : 1), turn: turn + askew });
  }
  const made = await layers(parts, SCALE, [[3, 5, 3, 0.3], [8, 16, 16, 0.3]]);
  const flat = await sharp(gradient(GROUNDS[seed % GROUNDS.length], seed)).composite(made).removeAlpha().png().toBuffer();
  return sharp(flat);
}


// ---------------------------------------------------------------- photographs

/** Pixels per unit of a photograph: 1,200 by 1,600. */
const PHOTOGRAPH = 2;
const LARGEST_JPEG = 112_000;

const everywhere = '<rect x="-20" y="-20" width="640" height="840"/>';

function planks(seed, hex) {
  const roll = dice(seed);
  const [red, green, blue] = rgb(hex).map((part) => part * 255);
  let markup = '';
  for (let x = -40; x < 640; x += 104) {
    let y = -60 - roll() * 300;
    while (y < 800) {
      const length = 300 + roll() * 260;
      const shade = 0.9 + roll() * 0.18;
      markup += `<rect x="${x}" y="${y}" width="104" height="${length}" fill="rgb(${red * shade},${green * shade},${blue * shade})"/>`;
      for (let vein = 0; vein < 9; vein++) {
        const at = x + 6 + roll() * 92;
        markup += `<path d="M${at} ${y} q${roll() * 12 - 6} ${length / 2} ${roll() * 8 - 4} ${length}" fill="none" stroke="#4a2f1a" stroke-width="${0.6 + roll() * 2}" opacity="${0.05 + roll() * 0.12}"/>`;
      }
      markup += `<rect x="${x}" y="${y}" width="104" height="${length}" fill="none" stroke="#2a190d" stroke-width="1.6" opacity="0.75"/>`;
      y += length;
    }
  }
  return markup;
}

/** Grounds, as pieces for `draw`. */
const ROOMS = {
  wall: { colour: rgb('#d9d2c5'), fabric: { wrinkles: { amount: 0.5, across: 26, along: 26, ridged: 0.2 }, texture: (u, v, weave) => ({ bump: weave(u / 5, v / 5) * 0.12, tint: 1 + 0.025 * weave(u / 90, v / 70) }) } },
  boards: { colour: rgb('#b08a60'), fabric: { wrinkles: { amount: 0.3, across: 60, along: 200 }, texture: (u, v, weave) => ({ bump: weave(u / 2, v / 40) * 0.3, tint: 1 + 0.06 * weave(u / 3, v / 60) }) }, paint: planks(5, '#b08a60') },
  linen: { colour: rgb('#c9d2d8'), fabric: { ...FABRICS.linen, wrinkles: { amount: 6.5, across: 170, along: 120, ridged: 0.6 } } },
  rug: { colour: rgb('#8f8a86'), fabric: { wrinkles: { amount: 0.6, across: 200, along: 200 }, texture: (u, v, weave) => ({ bump: weave(u / 4, v / 3) * 1.1, tint: 1 + 0.1 * weave(u / 3, v / 3) + 0.05 * weave(u / 40, v / 40) }) } },
  concrete: { colour: rgb('#a9aaa8'), fabric: { wrinkles: { amount: 0.5, across: 120, along: 120 }, texture: (u, v, weave) => ({ bump: weave(u / 3, v / 3) * 0.2, tint: 1 + 0.05 * weave(u / 70, v / 50) + 0.03 * weave(u / 12, v / 12) }) } },
};

const HANGER =
  '<g transform="translate(0 30)" fill="none" stroke="#fff" stroke-linecap="round" stroke-linejoin="round"><path d="M300 118 V92 C300 74 326 78 324 58 C322 40 296 40 294 58" stroke-width="5"/><path d="M176 176 Q290 118 300 118 Q310 118 424 176" stroke-width="11"/></g>';

/** What a cheap camera adds: light from one side, a vignette, a cast and grain. */
async function shot(flat, seed, { from = [0, 0], warmth = 0.03, bars = false }) {
  const { data, info } = await sharp(flat).blur(0.8).raw().toBuffer({ resolveWithObject: true });
  const roll = dice(seed);
  const cloud = noise(seed);
  const { width, height, channels } = info;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [x / width, y / height];
      const near = 1 - Math.hypot(u - from[0], (v - from[1]) * 1.2) / 1.5;
      let light = 0.7 + 0.42 * near + 0.035 * cloud(u * 3, v * 3);
      light *= 1 - 0.22 * ((u - 0.5) ** 2 + (v - 0.5) ** 2) * 2;
      if (bars) {
        // Sun through a window, with a bar across it.
        const [across, along] = [u * 0.94 + v * 0.34, v * 0.94 - u * 0.34];
        const pane = (t, start, end) => 1 / (1 + Math.exp((start - t) * 70)) / (1 + Math.exp((t - end) * 70));
        light += 0.09 * (pane(across, 0.2, 0.55) + pane(across, 0.6, 0.95)) * (pane(along, -0.1, 0.3) + pane(along, 0.35, 0.8));
      }
      const grain = (roll() + roll() + roll() - 1.5) * 6;
      const at = (y * width + x) * channels;
      data[at] = Math.min(Math.max(data[at] * light * (1 + warmth) + grain, 0), 255);
      data[at + 1] = Math.min(Math.max(data[at + 1] * light + grain, 0), 255);
      data[at + 2] = Math.min(Math.max(data[at + 2] * light * (1 - warmth) + grain, 0), 255);
    }
  }
  for (let quality = 74; ; quality -= 3) {
    const jpeg = await sharp(data, { raw: info }).jpeg({ quality, mozjpeg: true }).toBuffer();
    if (jpeg.length <= LARGEST_JPEG) return jpeg;
  }
}

/** Names and makers of the photographs. */
export function photographs(garment) {
  const shots = [
    ['oxford-shirt-on-a-wall', 'navy oxford shirt', 'wall', { x: 300, y: 412, size: 0.92, turn: 0.6, hanger: true, light: { from: [0.05, 0.1], bars: true, warmth: 0.04 } }],
    ['sneakers-on-the-floor', 'white leather sneakers', 'boards', { x: 306, y: 420, size: 0.86, turn: -7, light: { from: [0.9, 0], warmth: 0.05 } }],
    ['roll-neck-on-bed-linen', 'mustard chunky roll neck', 'linen', { x: 296, y: 410, size: 0.94, turn: 5, light: { from: [0, 0.2], warmth: -0.01 } }],
    ['jeans-on-a-rug', 'indigo straight jeans', 'rug', { x: 304, y: 404, size: 0.9, turn: -4, light: { from: [0.2, 0], warmth: 0.02 } }],
    ['crossbody-bag-on-concrete', 'tan crossbody bag', 'concrete', { x: 300, y: 410, size: 0.82, turn: 3, light: { from: [1, 0.3], warmth: -0.02 } }],
  ];
  return shots.map(([name, words, room, { x, y, size, turn, hanger, light }]) => [
    name,
    async () => {
      const seed = seedOf(name);
      const behind = [{ shape: everywhere, round: 1, high: 0, shadow: 0, ...ROOMS[room] }];
      if (hanger) behind.push({ shape: HANGER, colour: rgb('#8a6844'), fabric: FABRICS.rubber, round: 4, high: 6, shadow: 0.5 });
      const ground = await toSharp(await draw(behind, { scale: PHOTOGRAPH, seed })).removeAlpha().png().toBuffer();
      const made = await layers([{ picture: await garment(words, undefined, PHOTOGRAPH), x, y, size, turn }], PHOTOGRAPH, [[2, 4, 3, 0.42], [9, 18, 20, 0.4]]);
      return shot(await sharp(ground).composite(made).removeAlpha().png().toBuffer(), seed, light);
    },
  ]);
}
