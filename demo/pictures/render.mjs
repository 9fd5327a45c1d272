// Turns flat pieces (an SVG shape, a colour, a fabric) into shaded cloth.
//
// Each piece gets a height: its edge is rounded, folds are drawn as blurred strokes, wrinkles and weave come from noise.
// Light from the upper left over that height gives the shading. All of it is arithmetic on seeded noise, so that the same
// data make the same pixels.
import sharp from 'sharp';

/** The coordinates that all shapes are drawn in. */
export const WIDTH = 600;
export const HEIGHT = 800;

const LIGHT = normalise([-0.42, -0.6, 0.68]);
const EYE_HALF = normalise([LIGHT[0], LIGHT[1], LIGHT[2] + 1]);

function normalise([x, y, z]) {
  const length = Math.hypot(x, y, z);
  return [x / length, y / length, z / length];
}

/** A number that stands for a text, to seed noise with. */
export function seedOf(text) {
  let hash = 2166136261;
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return hash >>> 0;
}

/** Chance that is the same every time. */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Smooth noise of -1 to 1. */
export function noise(seed) {
  const roll = dice(seed);
  const angles = Float32Array.from({ length: 256 }, () => roll() * Math.PI * 2);
  const table = Uint8Array.from({ length: 256 }, (_, index) => index);
  for (let index = 255; index > 0; index--) {
    const other = Math.floor(roll() * (index + 1));
    [table[index], table[other]] = [table[other], table[index]];
  }
  const cosines = angles.map(Math.cos);
  const sines = angles.map(Math.sin);
  const corner = (x, y, dx, dy) => {
    const index = table[(table[x & 255] + y) & 255];
    return cosines[index] * dx + sines[index] * dy;
  };
  const ease = (t) => t * t * t * (t * (t * 6 - 15) + 10);
  return (x, y) => {
    const left = Math.floor(x);
    const top = Math.floor(y);
    const dx = x - left;
    const dy = y - top;
    const u = ease(dx);
    const v = ease(dy);
    const upper = corner(left, top, dx, dy) * (1 - u) + corner(left + 1, top, dx - 1, dy) * u;
    const lower = corner(left, top + 1, dx, dy - 1) * (1 - u) + corner(left + 1, top + 1, dx - 1, dy - 1) * u;
    return (upper * (1 - v) + lower * v) * 1.5;
  };
}

/** A Gaussian blur, as three boxes in each direction. */
export function blur(source, width, height, radius) {
  if (radius < 0.4) return source;
  const size = Math.max(1, Math.round(radius * 0.94));
  let from = Float32Array.from(source);
  let into = new Float32Array(source.length);
  const pass = (lines, length, step, jump) => {
    const share = 1 / (2 * size + 1);
    for (let line = 0; line < lines; line++) {
      const start = line * jump;
      let sum = 0;
      for (let at = -size; at <= size; at++) sum += from[start + Math.min(Math.max(at, 0), length - 1) * step];
      for (let at = 0; at < length; at++) {
        into[start + at * step] = sum * share;
        const next = Math.min(at + size + 1, length - 1);
        const last = Math.max(at - size, 0);
        sum += from[start + next * step] - from[start + last * step];
      }
    }
    [from, into] = [into, from];
  };
  for (let round = 0; round < 3; round++) {
    pass(height, width, 1, width);
    pass(width, height, width, 1);
  }
  return from;
}

/** The pixels of some SVG, four channels of 0 to 255. */
async function rasterise(markup, scale, background) {
  const [width, height] = [Math.round(WIDTH * scale), Math.round(HEIGHT * scale)];
  const ground = background ? `<rect width="${WIDTH}" height="${HEIGHT}" fill="${background}"/>` : '';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${WIDTH} ${HEIGHT}">${ground}${markup}</svg>`;
  return sharp(Buffer.from(svg)).ensureAlpha().raw().toBuffer();
}

/** An empty picture: red, green, blue of 0 to 1 and alpha. */
export function blank(width, height) {
  return { width, height, pixels: new Float32Array(width * height * 4) };
}

/** Lays a colour over a pixel. */
function lay(pixels, at, red, green, blue, alpha) {
  const below = pixels[at + 3] * (1 - alpha);
  const whole = alpha + below;
  if (whole <= 0) return;
  pixels[at] = (red * alpha + pixels[at] * below) / whole;
  pixels[at + 1] = (green * alpha + pixels[at + 1] * below) / whole;
  pixels[at + 2] = (blue * alpha + pixels[at + 2] * below) / whole;
  pixels[at + 3] = whole;
}

/**
 * Draws pieces on top of each other. A piece has:
 * - `shape`: SVG, white where it is;
 * - `colour`: three numbers of 0 to 1, and `fabric` (see fabrics.mjs);
 * - `paint`: SVG over the colour (stripes, stitching), `relief`: SVG of white ridges and black valleys, `soft`: their blur;
 * - `round` and `high`: width and height of the rounded edge; `angle`: direction of the weave, in degrees;
 * - `shadow`: how dark it makes what lies below it.
 */
export async function draw(pieces, { scale, seed }) {
  const [width, height] = [Math.round(WIDTH * scale), Math.round(HEIGHT * scale)];
  const picture = blank(width, height);
  for (const [index, piece] of pieces.entries()) {
    await drawPiece(picture, piece, scale, seed + index * 101);
  }
  return picture;
}

async function drawPiece(picture, piece, scale, seed) {
  const { fabric, colour, round = 9, high = 7, soft = 5, angle = 0, shadow = 0.4, wrinkled = 1 } = piece;
  const full = await rasterise(`<g fill="#fff">${piece.shape}</g>`, scale);
  const box = bounds(full, picture.width, picture.height, Math.ceil(40 * scale));
  if (!box) return;
  const [boxWidth, boxHeight] = [box.right - box.left, box.bottom - box.top];
  const count = boxWidth * boxHeight;
  const crop = (source, channel) => {
    const cropped = new Float32Array(count);
    for (let y = 0; y < boxHeight; y++) {
      for (let x = 0; x < boxWidth; x++) {
        cropped[y * boxWidth + x] = source[((y + box.top) * picture.width + x + box.left) * 4 + channel] / 255;
      }
    }
    return cropped;
  };
  const mask = crop(full, 3);
  roundCorners(mask, boxWidth, boxHeight, Math.min(8, round * 0.42) * scale);
  if (fabric.fuzz) fuzz(mask, boxWidth, boxHeight, fabric.fuzz * scale, seed);
  const edge = blur(mask, boxWidth, boxHeight, round * scale);
  const rim = blur(mask, boxWidth, boxHeight, 1.3 * scale);
  const wide = blur(mask, boxWidth, boxHeight, 34 * scale);
  const paint = piece.paint && (await rasterise(piece.paint, scale));
  const reliefs = [];
  for (const [markup, softness, strength] of [
    [piece.relief, soft, fabric.folds ?? 9],
    [piece.seams, 0.9, 2.2],
  ]) {
    if (!markup) continue;
    const grey = crop(await rasterise(markup, scale, '#808080'), 0);
    reliefs.push([blur(grey, boxWidth, boxHeight, softness * scale), strength]);
  }
  const wrinkle = noise(seed);
  const warp = noise(seed + 1);
  const weave = noise(seed + 2);
  const [cosine, sine] = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
  const heights = new Float32Array(count);
  const tints = new Float32Array(count).fill(1);
  const { amount, across, along, ridged = 0.4 } = fabric.wrinkles;
  for (let y = 0; y < boxHeight; y++) {
    for (let x = 0; x < boxWidth; x++) {
      const at = y * boxWidth + x;
      if (mask[at] <= 0 && edge[at] < 0.2) continue;
      const [px, py] = [(x + box.left) / scale, (y + box.top) / scale];
      const [u, v] = [px * cosine + py * sine, py * cosine - px * sine];
      const inside = Math.min(Math.max((edge[at] - 0.4) / 0.6, 0), 1);
      let level = high * Math.sqrt(1 - (1 - inside) ** 2);
      const bend = warp(u / 140, v / 140);
      const first = wrinkle(u / across + bend * 0.9, v / along + bend * 0.6);
      const second = wrinkle(u / across / 0.46 + 17 - bend, v / along / 0.46 + 5);
      const ridges = 1 - Math.abs(first) * 2;
      level += wrinkled * amount * (first * (1 - ridged) + ridges * ridged + second * 0.35);
      if (fabric.texture) {
        const { bump = 0, tint = 1 } = fabric.texture(u, v, weave, piece);
        level += bump;
        tints[at] = tint;
      }
      for (const [grey, strength] of reliefs) level += (grey[at] - 0.502) * 2 * strength;
      heights[at] = level;
    }
  }
  const shade = shadow > 0 && blur(mask, boxWidth, boxHeight, 6 * scale);
  const darkness = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2];
  const lift = fabric.lift ?? 0.05;
  const depth = (fabric.depth ?? 1) * (0.7 + 0.75 * (1 - darkness));
  const [dx, dy] = [Math.round(3 * scale), Math.round(5 * scale)];
  for (let y = 0; y < boxHeight; y++) {
    for (let x = 0; x < boxWidth; x++) {
      const at = y * boxWidth + x;
      const into = ((y + box.top) * picture.width + x + box.left) * 4;
      if (shade && picture.pixels[into + 3] > 0) {
        const from = Math.max(y - dy, 0) * boxWidth + Math.max(x - dx, 0);
        const dark = 1 - shadow * shade[from] * (1 - mask[at]);
        for (let channel = 0; channel < 3; channel++) picture.pixels[into + channel] *= dark;
      }
      const cover = mask[at];
      if (cover <= 0) continue;
      const left = heights[at - (x > 0 ? 1 : 0)];
      const right = heights[at + (x < boxWidth - 1 ? 1 : 0)];
      const above = heights[at - (y > 0 ? boxWidth : 0)];
      const below = heights[at + (y < boxHeight - 1 ? boxWidth : 0)];
      const slopeX = limit(((right - left) * scale) / 2) * depth;
      const slopeY = limit(((below - above) * scale) / 2) * depth;
      const length = 1 / Math.hypot(slopeX, slopeY, 1);
      const lit = Math.max((-slopeX * LIGHT[0] - slopeY * LIGHT[1] + LIGHT[2]) * length, 0) / LIGHT[2];
      const shine = Math.max((-slopeX * EYE_HALF[0] - slopeY * EYE_HALF[1] + EYE_HALF[2]) * length, 0);
      const [py] = [(y + box.top) / scale];
      const ground = 1.05 - 0.13 * (py / HEIGHT);
      const hidden = 0.86 + 0.14 * Math.min(wide[at] * 1.25, 1);
      const outline = 0.82 + 0.18 * Math.min(Math.max((rim[at] - 0.5) * 2.2, 0), 1);
      const light = (0.5 + 0.5 * lit) * ground * hidden * outline;
      let [red, green, blue] = colour;
      if (paint) {
        const alpha = paint[into + 3] / 255;
        red = red * (1 - alpha) + (paint[into] / 255) * alpha;
        green = green * (1 - alpha) + (paint[into + 1] / 255) * alpha;
        blue = blue * (1 - alpha) + (paint[into + 2] / 255) * alpha;
      }
      const gloss = (fabric.shine ?? 0) * shine ** (fabric.hardness ?? 12);
      const bloom = lift * (1 - darkness) * Math.max(lit - 0.55, 0) + gloss;
      const value = (channel) => Math.min(Math.max((channel * 0.94 + 0.02) * light * tints[at] + bloom, 0), 1);
      lay(picture.pixels, into, value(red), value(green), value(blue), cover);
    }
  }
}

/** Slopes are cut, so that edges do not turn black. */
function limit(slope) {
  return Math.min(Math.max(slope, -1.6), 1.6);
}

function bounds(pixels, width, height, margin) {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (pixels[(y * width + x) * 4 + 3] === 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < 0) return undefined;
  return {
    left: Math.max(left - margin, 0),
    top: Math.max(top - margin, 0),
    right: Math.min(right + margin + 1, width),
    bottom: Math.min(bottom + margin + 1, height),
  };
}

/** Cloth has no sharp corners: blurred, a straight edge is half there and a corner a quarter. */
function roundCorners(mask, width, height, reach) {
  const soft = blur(mask, width, height, reach);
  for (let at = 0; at < mask.length; at++) mask[at] *= Math.min(Math.max((soft[at] - 0.32) / 0.12, 0), 1);
}

/** Frays an edge, for hairy yarns. */
function fuzz(mask, width, height, reach, seed) {
  const soft = blur(mask, width, height, reach);
  const hair = noise(seed + 7);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const strand = hair(x / (reach * 0.7), y / (reach * 0.7)) * 0.34 + hair(x / (reach * 0.25), y / (reach * 0.25)) * 0.2;
      mask[at] = Math.min(Math.max((soft[at] - 0.42 + strand * 0.8) * 3.2 + 0.5, 0), 1);
    }
  }
}

/** A picture of 0 to 255 for sharp. */
export function toSharp({ width, height, pixels }) {
  const bytes = Buffer.alloc(width * height * 4);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.round(pixels[at] * 255);
  return sharp(bytes, { raw: { width, height, channels: 4 } });
}
