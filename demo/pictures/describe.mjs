// From words to a drawing: "sage linen shirt" is a shirt, of linen, in sage.
import { COLOURS } from './fabrics.mjs';

const SHORTS = { hemY: 520, waist: 124, hip: 168, hem: 84, knee: 86, stance: 96, hipY: 280, crotchY: 356, waistY: 170 };
const WIDE = { hem: 98, knee: 86, hip: 148, stance: 96, gap: 6 };
const SLIM = { hem: 44, knee: 56, hip: 134, stance: 76, gap: 16, waist: 108 };
const RELAXED = { hem: 66, knee: 78, stance: 88 };

/** The first line whose words all occur says what is drawn and how. */
const KINDS = [
  ['slip dress', 'slipDress', {}],
  ['shirt dress', 'shirtDress', {}],
  ['dress', 'wrapDress', {}],
  ['wrap top', 'wrapTop', {}],
  ['breton tee', 'tee', { long: true, striped: true, fabric: 'jersey' }],
  ['long sleeve tee', 'tee', { long: true }],
  ['graphic tee', 'tee', { graphic: true }],
  ['athletic tee', 'tee', { sporty: true, fabric: 'sport' }],
  ['tee', 'tee', {}],
  ['polo', 'polo', {}],
  ['camp collar shirt', 'shirt', { camp: true, fabric: 'linen' }],
  ['overshirt', 'overshirt', { fabric: 'wool', wool: true }],
  ['blouse', 'shirt', { blouse: true, fabric: 'silk' }],
  ['oversized shirt', 'shirt', { oversized: true, pocket: true }],
  ['oxford shirt', 'shirt', { fabric: 'oxford', pocket: true }],
  ['linen shirt', 'shirt', { fabric: 'linen' }],
  ['shirt', 'shirt', {}],
  ['fine rib turtleneck', 'sweater', { roll: true, fabric: 'rib' }],
  ['chunky roll neck', 'sweater', { roll: true, fabric: 'chunky' }],
  ['turtleneck', 'sweater', { roll: true }],
  ['cable knit', 'sweater', { fabric: 'cable' }],
  ['cardigan', 'cardigan', {}],
  ['knit vest', 'vest', {}],
  ['lambswool sweater', 'sweater', { fabric: 'knit' }],
  ['crewneck', 'sweater', {}],
  ['sweater', 'sweater', { fabric: 'knit' }],
  ['trench', 'trench', {}],
  ['chore coat', 'overshirt', { chore: true, fabric: 'chino' }],
  ['overcoat', 'coat', { hidden: true }],
  ['coat', 'coat', {}],
  ['parka', 'rainJacket', { parka: true }],
  ['rain jacket', 'rainJacket', {}],
  ['leather jacket', 'leatherJacket', {}],
  ['puffer', 'puffer', {}],
  ['denim jacket', 'overshirt', { denim: true }],
  ['oversized blazer', 'blazer', { oversized: true }],
  ['blazer', 'blazer', {}],
  ['slim jeans', 'trousers', { denim: true, fabric: 'denim', measures: SLIM, fade: 0.05 }],
  ['selvedge jeans', 'trousers', { denim: true, fabric: 'denim', fade: 0.04 }],
  ['jeans', 'trousers', { denim: true, fabric: 'denim', fade: 0.28 }],
  ['cargo pants', 'trousers', { cargo: true, measures: RELAXED }],
  ['wide leg trousers', 'trousers', { measures: WIDE, fabric: 'suiting', crease: true, pleats: true }],
  ['linen trousers', 'trousers', { measures: RELAXED, fabric: 'linen' }],
  ['pleated chinos', 'trousers', { pleats: true, crease: true }],
  ['chinos', 'trousers', {}],
  ['pleated trousers', 'trousers', { pleats: true, crease: true, fabric: 'suiting' }],
  ['trousers', 'trousers', { crease: true, fabric: 'suiting' }],
  ['tailored shorts', 'trousers', { measures: SHORTS, pleats: true }],
  ['shorts', 'trousers', { measures: SHORTS }],
  ['leggings', 'trousers', { elastic: true, flat: true, seamless: true, fabric: 'stretch', measures: { ...SLIM, hip: 122, waist: 96, knee: 50, hem: 34, stance: 68, gap: 14 } }],
  ['skirt', 'skirt', {}],
  ['running shoes', 'runners', {}],
  ['retro sneakers', 'runners', {}],
  ['sneakers', 'sneakers', {}],
  ['leather loafers', 'loafers', { fabric: 'smoothLeather' }],
  ['loafers', 'loafers', {}],
  ['chelsea boots', 'chelseas', {}],
  ['boots', 'chelseas', {}],
  ['pumps', 'pumps', {}],
  ['sandals', 'sandals', {}],
  ['derby shoes', 'derbies', {}],
  ['belt', 'belt', {}],
  ['bag', 'bag', {}],
  ['beanie', 'beanie', {}],
  ['scarf', 'scarf', {}],
];

/** Fabrics that a word alone tells, where the kind leaves it open. */
const MATERIALS = { mohair: 'mohair', cashmere: 'merino', merino: 'merino', poplin: 'poplin', pique: 'pique', linen: 'linen', silk: 'silk', satin: 'satin', suede: 'suede', wool: 'wool' };

const wordsOf = (text) => text.toLowerCase().replace(/[^a-z]+/g, ' ').trim().split(' ');

/** What to draw for these words. `colours` are those that the data name; else they are found among the words. */
export function describe(text, colours) {
  const words = wordsOf(text);
  const line = KINDS.find(([name]) => name.split(' ').every((word) => words.includes(word)));
  if (!line) throw new Error(`nothing to draw for "${text}"`);
  const [, kind, options] = line;
  const named = Object.keys(COLOURS).filter((name) => name.split(' ').every((word) => words.includes(word)));
  // "light grey" before "grey".
  named.sort((one, other) => words.indexOf(one.split(' ')[0]) - words.indexOf(other.split(' ')[0]) || other.length - one.length);
  const [colour, second] = colours?.length ? colours : named.map((name) => COLOURS[name]);
  if (!colour) throw new Error(`no colour in "${text}"`);
  const material = Object.keys(MATERIALS).find((word) => words.includes(word));
  const fabric = options.fabric ?? MATERIALS[material];
  const striped = options.striped || words.includes('striped');
  return { kind, colour, second: second ?? (striped ? COLOURS.navy : undefined), ...options, ...(fabric && { fabric }), striped };
}
