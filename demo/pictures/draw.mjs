// Draws the demo's pictures: `npm ci && npm run draw`. Words as arguments draw only what has them in its name, and
// `--sheet FILE` puts all of them on one PNG to look at.
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import sharp from 'sharp';
import { describe } from './describe.mjs';
import { GARMENTS } from './garments.mjs';
import { draw, seedOf, toSharp } from './render.mjs';
import { feedPicture, photographs } from './scenes.mjs';

/** Width and height of every picture; src/ has a test for it. */
export const SIZE = { width: 420, height: 560 };
/** Pictures are drawn larger, and shrunk. */
const SCALE = 1.4;

const here = (name) => new URL(name, import.meta.url);
const read = async (name) => JSON.parse(await readFile(here(name), 'utf8'));

/** The drawing of one garment on transparent ground. */
export async function garment(text, colours, scale = SCALE) {
  const { kind, ...options } = describe(text, colours);
  return draw(GARMENTS[kind](options), { scale, seed: seedOf(text) });
}

async function cutOut(item) {
  const words = `${item.id.replace('demo-', '')} ${item.tags.join(' ')}`;
  const picture = await garment(words, item.colours.map(({ hex }) => hex));
  return toSharp(picture).resize(SIZE.width, SIZE.height).webp({ quality: 68, alphaQuality: 60, effort: 6, smartSubsample: true }).toBuffer();
}

const options = process.argv.slice(2);
const sheetAt = options.indexOf('--sheet');
const [, sheet] = sheetAt >= 0 ? options.splice(sheetAt, 2) : [];
const wanted = (name) => options.length === 0 || options.some((word) => name.includes(word));

const pictures = new Map();
for (const item of await read('../wardrobe.json')) pictures.set(item.id, () => cutOut(item));
const arranged = await read('looks.json');
for (const item of await read('../scraped_items.json')) {
  const looks = arranged[item.id] ?? [[`${item.title} ${item.tags.join(" ")}`]];
  for (const [index, look] of looks.entries()) {
    const name = index === 0 ? item.id : `${item.id}-${index + 1}`;
    pictures.set(name, async () => {
      const scene = await feedPicture(look, seedOf(name), garment, { isAskew: item.id in arranged });
      return scene.resize(SIZE.width, SIZE.height).webp({ quality: 70, effort: 6, smartSubsample: true }).toBuffer();
    });
  }
}

const tiles = [];
let total = 0;
for (const [name, make] of pictures) {
  if (!wanted(name)) continue;
  const webp = await make();
  total += webp.length;
  await writeFile(here(`${name}.webp`), webp);
  if (sheet) tiles.push([name, webp]);
}
if (options.length === 0) {
  for (const file of await readdir(here('.'))) {
    if (file.endsWith('.webp') && !pictures.has(file.slice(0, -5))) await rm(here(file));
  }
}
if (wanted('photographs')) {
  await mkdir(here('../photographs/'), { recursive: true });
  for (const [name, make] of photographs(garment)) {
    const jpeg = await make();
    await writeFile(here(`../photographs/${name}.jpg`), jpeg);
    if (sheet) tiles.push([name, await sharp(jpeg).resize(SIZE.width, SIZE.height).toBuffer()]);
    console.log(`${name}.jpg ${Math.round(jpeg.length / 1000)} kB`);
  }
}
console.log(`${tiles.length || pictures.size} pictures, ${Math.round(total / 1000)} kB`);

if (sheet) {
  const columns = Math.min(8, Math.ceil(Math.sqrt(tiles.length * 1.6)));
  const [width, height] = [240, 320];
  const composed = await Promise.all(
    tiles.map(async ([, webp], index) => ({
      input: await sharp(webp).resize(width - 8, height - 8).png().toBuffer(),
      left: (index % columns) * width + 4,
      top: Math.floor(index / columns) * height + 4,
    })),
  );
  const background = { r: 255, g: 255, b: 255 };
  await sharp({ create: { width: columns * width, height: Math.ceil(tiles.length / columns) * height, channels: 3, background } })
    .composite(composed)
    .png()
    .toFile(sheet);
}
