// How cloth looks beside its colour: how it wrinkles, what its weave is, whether it shines.
//
// `wrinkles`: height, and size across and along, in the units of the shapes. `texture`: a small height and a tint at a
// point. `folds`: how deep drawn folds are. `shine`, `hardness`: highlights. `depth`: how strong all shading is.

const TURN = Math.PI * 2;
const wave = (x) => Math.sin(x * TURN);
const fraction = (x) => x - Math.floor(x);

function fine(strength) {
  return (u, v, weave) => ({ tint: 1 + strength * weave(u / 1.6, v / 1.6) });
}

function twill(u, v, weave, { fade }) {
  const line = wave((u + v * 0.55) / 3.4);
  const worn = fade ? fade(u, v) : 0;
  return {
    bump: line * 0.16,
    tint: 1 + 0.055 * line + 0.09 * weave(u / 3, v / 14) + 0.05 * weave(u / 60, v / 60) + worn,
  };
}

function stitches(width, height, depth) {
  return (u, v) => {
    const across = fraction(u / width);
    const slanted = v / height + Math.abs(across - 0.5) * 1.3;
    const stitch = wave(slanted) * 0.5 + 0.5;
    const column = Math.sin(across * Math.PI) ** 0.7;
    return { bump: depth * column * (0.55 + 0.45 * stitch), tint: 0.93 + 0.09 * column * (0.6 + 0.4 * stitch) };
  };
}

function ribs(width, depth) {
  return (u) => {
    const rib = Math.abs(Math.sin((u / width) * Math.PI)) ** 0.6;
    return { bump: depth * rib, tint: 0.9 + 0.12 * rib };
  };
}

function cables(u, v) {
  const spacing = 66;
  const middle = fraction(u / spacing + 0.045) - 0.5;
  const across = middle * spacing;
  const turn = Math.sin((v / 58) * TURN);
  const over = Math.cos((v / 58) * TURN);
  const strand = (centre, height) => Math.max(1 - ((across - centre) / 8.5) ** 2, 0) ** 0.5 * height;
  const cable = Math.max(strand(turn * 9, 5 + over * 2), strand(-turn * 9, 5 - over * 2));
  const beside = Math.abs(Math.abs(across) - 24);
  const cord = beside < 4 ? 2.4 * Math.sqrt(1 - (beside / 4) ** 2) : 0;
  const plain = stitches(6.5, 6, 0.7)(u, v);
  const strands = 0.35 * wave((v + Math.abs(across)) / 6);
  return { bump: cable + cord + (cable > 0.4 ? strands : plain.bump), tint: cable > 0.4 || cord > 0.4 ? 1.02 : plain.tint * 0.98 };
}

function linen(u, v, weave) {
  const threads = weave(u / 1.5, v / 26) * 0.6 + weave(u / 26, v / 1.5) * 0.6;
  return { bump: threads * 0.16, tint: 1 + 0.075 * threads };
}

function melange(strength, size = 2.2) {
  return (u, v, weave) => ({
    bump: 0.22 * weave(u / size, v / size),
    tint: 1 + strength * (weave(u / size, v / (size * 1.8)) + 0.5 * weave(u / 11, v / 11)),
  });
}

function pique(u, v) {
  const dot = Math.cos((u / 5) * TURN) * Math.cos((v / 5) * TURN);
  return { bump: dot * 0.28, tint: 1 + dot * 0.035 };
}

function mesh(u, v) {
  const hole = Math.max(Math.cos((u / 6) * TURN) * Math.cos((v / 6) * TURN), 0);
  return { bump: -hole * 0.6, tint: 1 - hole * 0.2 };
}

function hide(u, v, weave) {
  const grain = weave(u / 3.2, v / 3.2);
  return { bump: 0.2 * grain, tint: 1 + 0.02 * grain };
}

function nap(u, v, weave) {
  return { bump: 0.12 * weave(u / 2, v / 2), tint: 1 + 0.09 * weave(u / 2.4, v / 2.4) + 0.1 * weave(u / 26, v / 20) };
}

export const FABRICS = {
  cotton: { wrinkles: { amount: 4.2, across: 80, along: 110 }, texture: fine(0.02) },
  poplin: { wrinkles: { amount: 5, across: 70, along: 120, ridged: 0.6 }, texture: fine(0.015) },
  oxford: { wrinkles: { amount: 4.6, across: 75, along: 115, ridged: 0.5 }, texture: (u, v) => ({ tint: 1 + 0.03 * wave(u / 3) * wave(v / 3) }) },
  linen: { wrinkles: { amount: 7, across: 62, along: 84, ridged: 0.85 }, texture: linen },
  silk: { wrinkles: { amount: 8, across: 58, along: 260, ridged: 0.3 }, shine: 0.2, hardness: 10, folds: 13 },
  satin: { wrinkles: { amount: 9, across: 56, along: 330, ridged: 0.3 }, shine: 0.3, hardness: 9, folds: 14 },
  denim: { wrinkles: { amount: 4, across: 60, along: 90, ridged: 0.7 }, texture: twill, depth: 1.1 },
  pique: { wrinkles: { amount: 3.4, across: 90, along: 120 }, texture: pique },
  jersey: { wrinkles: { amount: 4, across: 100, along: 90 }, texture: fine(0.02) },
  sport: { wrinkles: { amount: 3, across: 120, along: 160 }, texture: mesh, shine: 0.06, hardness: 6 },
  stretch: { wrinkles: { amount: 2, across: 110, along: 150 }, shine: 0.16, hardness: 7, texture: fine(0.015) },
  chino: { wrinkles: { amount: 4, across: 60, along: 130, ridged: 0.6 }, texture: (u, v) => ({ tint: 1 + 0.02 * wave((u - v) / 3.2) }) },
  wool: { wrinkles: { amount: 3, across: 110, along: 170 }, texture: melange(0.07) },
  suiting: { wrinkles: { amount: 3, across: 90, along: 200, ridged: 0.5 }, texture: melange(0.05, 1.6) },
  gabardine: { wrinkles: { amount: 4, across: 80, along: 150, ridged: 0.6 }, texture: (u, v) => ({ tint: 1 + 0.02 * wave((u + v * 1.7) / 3) }) },
  merino: { wrinkles: { amount: 3.4, across: 100, along: 110 }, texture: stitches(3.6, 3.6, 0.28) },
  knit: { wrinkles: { amount: 3, across: 110, along: 110 }, texture: stitches(6.4, 5.6, 0.8) },
  chunky: { wrinkles: { amount: 3, across: 120, along: 120 }, texture: stitches(11, 9, 1.9) },
  cable: { wrinkles: { amount: 2.4, across: 130, along: 130 }, texture: cables, depth: 0.85 },
  rib: { wrinkles: { amount: 2.4, across: 110, along: 130 }, texture: ribs(5.4, 0.7) },
  broadRib: { wrinkles: { amount: 1.8, across: 110, along: 130 }, texture: ribs(10, 1.8) },
  mohair: { wrinkles: { amount: 3, across: 90, along: 90 }, texture: (u, v, weave) => ({ bump: weave(u / 4, v / 5) * 0.9, tint: 1 + 0.14 * weave(u / 2.2, v / 5) + 0.07 * weave(u / 14, v / 14) }), fuzz: 4.5 },
  leather: { wrinkles: { amount: 3.6, across: 46, along: 60, ridged: 0.7 }, texture: hide, shine: 0.2, hardness: 14, lift: 0.12 },
  smoothLeather: { wrinkles: { amount: 1.1, across: 70, along: 70 }, texture: hide, shine: 0.16, hardness: 12, lift: 0.1 },
  suede: { wrinkles: { amount: 1.4, across: 60, along: 60 }, texture: nap },
  rubber: { wrinkles: { amount: 0.2, across: 90, along: 90 }, shine: 0.05, hardness: 10 },
  coated: { wrinkles: { amount: 4.4, across: 70, along: 100, ridged: 0.7 }, shine: 0.14, hardness: 9, lift: 0.1 },
  nylon: { wrinkles: { amount: 4, across: 26, along: 34, ridged: 0.75 }, shine: 0.1, hardness: 7, lift: 0.09 },
  metal: { wrinkles: { amount: 0, across: 90, along: 90 }, shine: 0.55, hardness: 16, lift: 0.2 },
  lining: { wrinkles: { amount: 2, across: 60, along: 140 }, shine: 0.06, hardness: 8 },
};

/** Names of colours that titles and posts use; wardrobe items bring theirs along. */
export const COLOURS = {
  navy: '#1f2a44', white: '#f7f7f5', black: '#141414', cream: '#efe6d2', ecru: '#e9dfc9', ivory: '#f1eadb', sand: '#d8c6a4',
  beige: '#d9c7a8', camel: '#b98e5a', tobacco: '#8a5a34', cognac: '#9a5b2e', brown: '#5b3e2b', tan: '#a9764b', stone: '#c4b9a5',
  charcoal: '#36393d', slate: '#56616d', grey: '#9a9da1', 'light grey': '#c9cbce', silver: '#bfc3c7', olive: '#5c6240',
  sage: '#a3ab8f', 'forest green': '#24452f', burgundy: '#6b1f2e', rust: '#a6512f', terracotta: '#b8603f', mustard: '#c4932b',
  indigo: '#2f3e66', 'mid blue': '#5b7fa6', 'light blue': '#a9c4e0', 'dusty pink': '#d3a5a0',
};

/** Red, green and blue of 0 to 1. */
export function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
}

/** The colour as CSS writes it, darker (below 1) or lighter. */
export function tone(hex, factor) {
  const toned = rgb(hex).map((part) => (factor <= 1 ? part * factor : 1 - (1 - part) / factor));
  return `#${toned.map((part) => Math.round(Math.min(part, 1) * 255).toString(16).padStart(2, '0')).join('')}`;
}
