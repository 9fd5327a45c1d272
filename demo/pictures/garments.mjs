// The shapes of garments: each function gives the pieces of one, back to front, in a frame of 600 by 800.
import { FABRICS, rgb, tone } from './fabrics.mjs';

const CENTRE = 300;
const path = (d) => `<path d="${d}"/>`;
const line = (d, width, colour = '#fff', extra = '') =>
  `<path d="${d}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-linejoin="round" ${extra.includes('linecap') ? '' : 'stroke-linecap="round"'} ${extra}/>`;
const mirrored = (markup) => `<g transform="matrix(-1 0 0 1 600 0)">${markup}</g>`;
const both = (markup) => markup + mirrored(markup);
const circle = (x, y, radius, fill = '#fff', extra = '') => `<circle cx="${x}" cy="${y}" r="${radius}" fill="${fill}" ${extra}/>`;

/** Black keeps room for shadow, white for light. */
function base(hex) {
  return rgb(hex).map((part) => Math.min(0.105 + part * 0.87, 0.955));
}

/** A stitched seam: a groove with a thread along it. */
function stitched(d, thread, width = 1.5) {
  return line(d, width, thread, 'stroke-dasharray="4.2 2.6" stroke-linecap="butt" opacity="0.75"');
}

function button(x, y, radius, colour) {
  const hole = radius * 0.3;
  return (
    circle(x + 0.8, y + 1.6, radius + 0.8, '#000', 'opacity="0.35"') +
    circle(x, y, radius, colour) +
    circle(x, y, radius * 0.72, 'none', `stroke="${tone(colour, 0.8)}" stroke-width="0.9"`) +
    [-1, 1].map((side) => circle(x + side * hole, y, radius * 0.14, '#000', 'opacity="0.6"')).join('')
  );
}

const folds = (list, colour, width = 10, opacity = 0.55) =>
  list.map((d) => line(d, width, colour, `opacity="${opacity}"`)).join('');
const ridges = (list, width, opacity) => folds(list, '#fff', width, opacity);
const valleys = (list, width, opacity) => folds(list, '#000', width, opacity);

const stripes = (from, to, step, width, colour) => {
  let markup = '';
  for (let y = from; y < to; y += step) markup += `<path d="M0 ${y} Q300 ${y + 9} 600 ${y}" fill="none" stroke="${colour}" stroke-width="${width}"/>`;
  return markup;
};
const bars = (step, width, colour) => {
  let markup = '';
  for (let x = 300 % step; x < 600; x += step) markup += `<rect x="${x - width / 2}" y="0" width="${width}" height="800" fill="${colour}"/>`;
  return markup;
};

// ---------------------------------------------------------------- tops

/** Measures of a top; `chest`, `hem`, `shoulder`, `neck` are half widths. */
const TEE = { neck: 50, neckY: 176, shoulder: 146, shoulderY: 208, chest: 142, armY: 330, waist: 138, hem: 144, hemY: 622, drop: 50, curve: 8 };
const SHIRT = { neck: 46, neckY: 132, shoulder: 138, shoulderY: 166, chest: 136, armY: 290, waist: 130, hem: 138, hemY: 590, drop: 60, curve: 26 };
const KNIT = { neck: 52, neckY: 160, shoulder: 140, shoulderY: 196, chest: 138, armY: 316, waist: 136, hem: 130, hemY: 560, drop: 46, curve: 4 };
const JACKET = { neck: 48, neckY: 126, shoulder: 142, shoulderY: 162, chest: 140, armY: 292, waist: 134, hem: 142, hemY: 600, drop: 60, curve: 8 };
const COAT = { neck: 46, neckY: 58, shoulder: 132, shoulderY: 90, chest: 130, armY: 210, waist: 126, hem: 150, hemY: 738, drop: 60, curve: 8 };

function bodyPath(m, neckline) {
  const left = (x) => CENTRE - x;
  const right = (x) => CENTRE + x;
  const middleY = (m.armY + m.hemY) / 2;
  return (
    `M${left(m.neck)} ${m.neckY} Q${left((m.neck + m.shoulder) / 2)} ${(m.neckY + m.shoulderY) / 2 - 5} ${left(m.shoulder)} ${m.shoulderY} ` +
    `C${left(m.shoulder - 10)} ${m.shoulderY + 50} ${left(m.chest - 6)} ${m.armY - 46} ${left(m.chest)} ${m.armY} ` +
    `C${left(m.chest - 2)} ${m.armY + 50} ${left(m.waist)} ${middleY - 60} ${left(m.waist)} ${middleY} ` +
    `C${left(m.waist)} ${middleY + 60} ${left(m.hem)} ${m.hemY - 50} ${left(m.hem)} ${m.hemY} ` +
    `C${left(m.hem * 0.6)} ${m.hemY + m.curve} ${right(m.hem * 0.6)} ${m.hemY + m.curve} ${right(m.hem)} ${m.hemY} ` +
    `C${right(m.hem)} ${m.hemY - 50} ${right(m.waist)} ${middleY + 60} ${right(m.waist)} ${middleY} ` +
    `C${right(m.waist)} ${middleY - 60} ${right(m.chest - 2)} ${m.armY + 50} ${right(m.chest)} ${m.armY} ` +
    `C${right(m.chest - 6)} ${m.armY - 46} ${right(m.shoulder - 10)} ${m.shoulderY + 50} ${right(m.shoulder)} ${m.shoulderY} ` +
    `Q${right((m.neck + m.shoulder) / 2)} ${(m.neckY + m.shoulderY) / 2 - 5} ${right(m.neck)} ${m.neckY} ${neckline} Z`
  );
}

const round = (m) =>
  `C${CENTRE + m.neck - 4} ${m.neckY + m.drop * 0.75} ${CENTRE + m.neck * 0.5} ${m.neckY + m.drop} ${CENTRE} ${m.neckY + m.drop} ` +
  `C${CENTRE - m.neck * 0.5} ${m.neckY + m.drop} ${CENTRE - m.neck + 4} ${m.neckY + m.drop * 0.75} ${CENTRE - m.neck} ${m.neckY}`;
const vee = (m, depth) =>
  `Q${CENTRE + m.neck * 0.66} ${m.neckY + depth * 0.55} ${CENTRE} ${m.neckY + depth} Q${CENTRE - m.neck * 0.66} ${m.neckY + depth * 0.55} ${CENTRE - m.neck} ${m.neckY}`;

/** The inside of the back, seen through the neck. */
function backNeck(m, hex, fabric, depth = 70, label = true) {
  const d = `M${CENTRE - m.neck - 3} ${m.neckY + 4} Q${CENTRE} ${m.neckY - 14} ${CENTRE + m.neck + 3} ${m.neckY + 4} L${CENTRE + m.neck} ${m.neckY + depth} L${CENTRE - m.neck} ${m.neckY + depth} Z`;
  const tag = label ? `<rect x="${CENTRE - 13}" y="${m.neckY + 8}" width="26" height="13" rx="1.5" fill="#eee9df" opacity="0.92"/><rect x="${CENTRE - 8}" y="${m.neckY + 13.5}" width="16" height="2" fill="#8a8378"/>` : '';
  return { shape: path(d), colour: base(hex).map((part) => part * 0.62), fabric, round: 5, high: 2, paint: tag, shadow: 0 };
}

/** A long sleeve on the left; `reach` and `fall` say where its cuff is. */
function longSleeve(m, { reach = 88, fall = 330, cuff = 27, puff = 0 } = {}) {
  const [sx, sy] = [CENTRE - m.shoulder, m.shoulderY];
  const [cx, cy] = [sx - reach, sy + fall];
  const d =
    `M${sx + 34} ${sy - 10} L${sx} ${sy} C${sx - 26 - puff} ${sy + 18} ${sx - 44 - puff} ${sy + 96} ${cx - cuff + 20 - puff} ${cy - 96} L${cx - cuff} ${cy} ` +
    `Q${cx} ${cy + 9} ${cx + cuff} ${cy + 7} C${cx + cuff + 14 + puff} ${cy - 84} ${CENTRE - m.chest - 22 + puff * 0.4} ${m.armY + 60} ${CENTRE - m.chest + 12} ${m.armY + 4} L${sx + 40} ${sy + 60} Z`;
  return { d, cx, cy, cuff, angle: (Math.atan2(reach, fall) * 180) / Math.PI, sx, sy };
}

function sleeveFolds(s, m) {
  const inner = CENTRE - m.chest - 6;
  return (
    ridges([`M${inner} ${m.armY + 16} Q${s.sx - 18} ${s.sy + 110} ${s.sx - 30} ${s.sy + 70}`, `M${s.cx + s.cuff - 2} ${s.cy - 130} Q${s.cx + 16} ${s.cy - 150} ${s.cx - 6} ${s.cy - 186}`], 9, 0.4) +
    valleys([`M${inner - 4} ${m.armY + 40} Q${s.sx - 26} ${s.sy + 150} ${s.sx - 40} ${s.sy + 116}`, `M${s.cx + s.cuff - 4} ${s.cy - 90} Q${s.cx + 12} ${s.cy - 112} ${s.cx - 12} ${s.cy - 128}`], 9, 0.4)
  );
}

function longSleeves(m, colour, fabric, options = {}) {
  const s = longSleeve(m, options);
  const seam = options.paint?.(s) ?? '';
  const relief = sleeveFolds(s, m) + (options.relief?.(s) ?? '');
  const common = { colour, fabric, round: options.round ?? 16, high: options.high ?? 13, shadow: 0.25, fade: options.fade };
  return [
    { ...common, shape: path(s.d), angle: s.angle, relief, paint: seam, seams: options.seams?.(s) },
    { ...common, shape: mirrored(path(s.d)), angle: -s.angle, relief: mirrored(relief), paint: mirrored(seam), seams: options.seams && mirrored(options.seams(s)) },
  ];
}

/** Bands at the ends of long sleeves. */
function cuffs(m, colour, fabric, options = {}, height = 30) {
  const { cx, cy, cuff, angle } = longSleeve(m, options);
  const grow = options.grow ?? 1;
  const d = `M${cx - cuff - grow + 5} ${cy - height} Q${cx + 4} ${cy - height + 10} ${cx + cuff + grow + 5} ${cy - height + 8} L${cx + cuff + grow} ${cy + 8} Q${cx} ${cy + 11} ${cx - cuff - grow} ${cy + 1} Z`;
  const common = { colour, fabric, round: 6, high: 6, shadow: 0.28 };
  const paint = options.cuffPaint?.({ cx, cy }) ?? '';
  return [
    { ...common, shape: path(d), angle, paint },
    { ...common, shape: mirrored(path(d)), angle: -angle, paint: mirrored(paint) },
  ];
}

function shortSleeves(m, colour, fabric, { reach = 84, fall = 112, paint = '' } = {}) {
  const [sx, sy] = [CENTRE - m.shoulder, m.shoulderY];
  const d = `M${sx + 34} ${sy - 10} L${sx} ${sy} C${sx - 24} ${sy + 8} ${sx - reach + 26} ${sy + fall * 0.55} ${sx - reach} ${sy + fall} Q${sx - reach + 34} ${sy + fall + 32} ${CENTRE - m.chest - 16} ${m.armY + 26} L${CENTRE - m.chest + 10} ${m.armY + 2} L${sx + 46} ${sy + 50} Z`;
  const hem = `M${sx - reach + 8} ${sy + fall - 12} Q${sx - reach + 42} ${sy + fall + 18} ${CENTRE - m.chest - 13} ${m.armY + 13}`;
  const relief = ridges([`M${CENTRE - m.chest - 2} ${m.armY - 4} Q${sx - 26} ${sy + 76} ${sx - 24} ${sy + 42}`], 9, 0.4) + valleys([`M${CENTRE - m.chest - 6} ${m.armY + 8} Q${sx - 40} ${sy + 96} ${sx - 46} ${sy + 66}`], 8, 0.35);
  const common = { colour, fabric, round: 16, high: 12, shadow: 0.25 };
  return [
    { ...common, shape: path(d), angle: 36, relief, seams: line(hem, 1.4, '#000'), paint },
    { ...common, shape: mirrored(path(d)), angle: -36, relief: mirrored(relief), seams: mirrored(line(hem, 1.4, '#000')), paint: mirrored(paint) },
  ];
}

/** Folds that hang from the arms and gather at the sides. */
function drape(m) {
  const side = CENTRE - m.chest;
  return (
    both(
      ridges([`M${side + 14} ${m.armY + 6} Q${side + 52} ${m.armY + 52} ${side + 46} ${m.armY + 130}`, `M${side + 8} ${m.hemY - 116} Q${side + 40} ${m.hemY - 84} ${side + 50} ${m.hemY - 20}`], 12, 0.38) +
        valleys([`M${side + 8} ${m.armY + 26} Q${side + 34} ${m.armY + 80} ${side + 26} ${m.armY + 168}`, `M${side + 30} ${m.shoulderY + 34} Q${side + 62} ${m.armY - 30} ${side + 52} ${m.armY + 22}`], 11, 0.38),
    ) +
    ridges([`M${CENTRE - 30} ${m.armY + 120} Q${CENTRE - 12} ${m.hemY - 120} ${CENTRE - 40} ${m.hemY - 12}`], 16, 0.28) +
    valleys([`M${CENTRE + 34} ${m.armY + 90} Q${CENTRE + 52} ${m.hemY - 150} ${CENTRE + 26} ${m.hemY - 20}`], 16, 0.28)
  );
}

const armholes = (m) =>
  both(line(`M${CENTRE - m.shoulder} ${m.shoulderY} C${CENTRE - m.shoulder + 10} ${m.shoulderY + 50} ${CENTRE - m.chest + 6} ${m.armY - 46} ${CENTRE - m.chest} ${m.armY}`, 2.2, '#000'));
const hemSeam = (m, up = 14) => line(`M${CENTRE - m.hem - 4} ${m.hemY - up} C${CENTRE - m.hem * 0.6} ${m.hemY + m.curve - up} ${CENTRE + m.hem * 0.6} ${m.hemY + m.curve - up} ${CENTRE + m.hem + 4} ${m.hemY - up}`, 1.6, '#000');

function band(m, width, raise = 0) {
  const inner = round(m);
  return line(`M${CENTRE + m.neck} ${m.neckY - raise} ${inner.replace(/ (\S+) (\S+)$/, ` $1 ${m.neckY - raise}`)}`, width, '#fff', 'stroke-linecap="butt"');
}

function tee(o) {
  const m = { ...TEE, ...(o.long ? { neckY: 156, shoulderY: 188, armY: 308, hemY: 588, chest: 138, shoulder: 140, waist: 134, hem: 138 } : {}), ...o.measures };
  const fabric = FABRICS[o.fabric ?? 'jersey'];
  const colour = base(o.colour);
  const wave = o.striped ? stripes(m.neckY + 74, m.hemY - 26, 27, 11, o.second) : '';
  const sleeveWave = o.striped ? stripesAcross(m, o.second) : () => '';
  const graphic = o.graphic
    ? `<g opacity="0.9" fill="none" stroke="${o.second}" stroke-width="5"><circle cx="300" cy="384" r="52"/><path d="M248 384 Q274 352 300 384 T352 384"/><path d="M256 408 Q278 380 300 408 T344 408"/><path d="M256 360 Q278 332 300 360 T344 360"/></g><g fill="${o.second}" opacity="0.88"><rect x="252" y="452" width="96" height="9"/><rect x="272" y="468" width="56" height="6"/></g>`
    : '';
  const sleeves = o.long
    ? [...longSleeves(m, colour, fabric, { reach: 86, fall: 352, cuff: 25, paint: sleeveWave, seams: (s) => line(`M${s.cx - s.cuff - 2} ${s.cy - 12} Q${s.cx + 4} ${s.cy - 2} ${s.cx + s.cuff + 4} ${s.cy - 4}`, 1.6, '#000') })]
    : shortSleeves(m, colour, fabric);
  const stitchesOf = o.sporty ? both(stitched(`M${CENTRE - m.neck - 4} ${m.neckY + 4} Q${CENTRE - 96} ${m.armY - 60} ${CENTRE - m.chest + 2} ${m.armY}`, tone(o.colour, 1.4), 1.6)) : '';
  return [
    backNeck(m, o.colour, fabric),
    ...sleeves,
    { shape: path(bodyPath(m, round(m))), colour, fabric, round: 20, high: 15, relief: drape(m), seams: (o.sporty ? both(line(`M${CENTRE - m.neck - 4} ${m.neckY + 4} Q${CENTRE - 96} ${m.armY - 60} ${CENTRE - m.chest + 2} ${m.armY}`, 2, '#000')) : armholes(m)) + hemSeam(m), paint: wave + graphic + stitchesOf, shadow: 0.35 },
    { shape: band(m, 17), colour: base(o.colour), fabric: FABRICS.rib, round: 5, high: 5, shadow: 0.3 },
  ];
}

function stripesAcross(m, colour) {
  return (s) => {
    let markup = '';
    for (let step = 60; step < 330; step += 27) {
      const [x, y] = [s.sx - (84 * step) / 338, s.sy + step];
      markup += line(`M${x - 60} ${y - 10} Q${x} ${y + 8} ${x + 70} ${y + 14}`, 11, colour);
    }
    return markup;
  };
}

/** The two leaves of a shirt's collar, and the stand behind them. */
function collar(m, hex, fabric, { tip = 46, drop = 76, spread = 0, stand = 16 } = {}) {
  const colour = base(hex);
  const leaf = `M${CENTRE - m.neck - 5} ${m.neckY - 2} Q${CENTRE - m.neck + 2} ${m.neckY - stand - 5} ${CENTRE - m.neck + 16} ${m.neckY - stand - 2} Q${CENTRE - 24} ${m.neckY + 10} ${CENTRE} ${m.neckY + 33} L${CENTRE - tip - spread} ${m.neckY + drop} L${CENTRE - m.neck - 22} ${m.neckY + 30} Z`;
  const seam = line(`M${CENTRE - m.neck - 15} ${m.neckY + 28} L${CENTRE - tip - spread + 2} ${m.neckY + drop - 9} L${CENTRE - 9} ${m.neckY + 34}`, 1.5, '#000');
  const behind = `M${CENTRE - m.neck + 2} ${m.neckY - stand + 4} Q${CENTRE} ${m.neckY - stand - 16} ${CENTRE + m.neck - 2} ${m.neckY - stand + 4} L${CENTRE + 32} ${m.neckY + 26} L${CENTRE - 32} ${m.neckY + 26} Z`;
  const common = { colour, fabric, round: 5, high: 5, shadow: 0.42, wrinkled: 0.5 };
  return {
    back: { ...common, shape: path(behind), colour: colour.map((part) => part * 0.74), shadow: 0, paint: `<rect x="287" y="${m.neckY - stand + 4}" width="26" height="12" rx="1.5" fill="#eee9df" opacity="0.9"/>` },
    leaves: [
      { ...common, shape: path(leaf), seams: seam },
      { ...common, shape: mirrored(path(leaf)), seams: mirrored(seam) },
    ],
  };
}

function shirt(o) {
  const wide = o.oversized ? 14 : 0;
  const m = { ...SHIRT, shoulder: SHIRT.shoulder + wide, chest: SHIRT.chest + wide, waist: SHIRT.waist + wide, hem: SHIRT.hem + wide, ...o.measures };
  const fabric = FABRICS[o.fabric ?? 'poplin'];
  const colour = base(o.colour);
  const buttonColour = o.buttons ?? (o.fabric === 'linen' ? '#cdbb97' : '#f1efe8');
  const c = collar(m, o.colour, fabric, o.camp ? { tip: 66, drop: 86, spread: 14, stand: 10 } : o.blouse ? { tip: 40, drop: 88 } : {});
  const vertical = o.striped ? bars(13, 4.5, o.second) : '';
  const options = { reach: 88, fall: 356, cuff: 28, puff: o.blouse ? 12 : 0, paint: o.striped ? (s) => `<g transform="rotate(${s.angle} ${s.sx} ${s.sy})">${bars(13, 4.5, o.second)}</g>` : undefined, cuffPaint: ({ cx, cy }) => button(cx + 10, cy - 9, 4, buttonColour) };
  const first = m.neckY + (o.camp ? 104 : 60);
  const buttons = [];
  for (let y = first; y < m.hemY - 50; y += o.blouse ? 58 : 76) buttons.push(button(CENTRE, y, 5, buttonColour));
  const opening = o.camp ? vee(m, 92) : round({ ...m, drop: 34 });
  const pocket = o.pocket ? `M${CENTRE + 36} ${m.armY + 4} h66 v52 l-33 18 l-33 -18 Z` : '';
  const sleeves = o.camp || o.short ? shortSleeves(m, colour, fabric, { reach: 76, fall: 130, paint: vertical }) : [...longSleeves(m, colour, fabric, options), ...cuffs(m, colour, fabric, options, 34)];
  return [
    o.camp ? backNeck({ ...m, neck: m.neck }, o.colour, fabric, 80) : c.back,
    ...sleeves,
    {
      shape: path(bodyPath(m, opening)), colour, fabric, round: 20, high: 14, relief: drape(m), paint: vertical + buttons.join(''), shadow: 0.35,
      seams: armholes(m) + hemSeam(m, 8) + line(`M${CENTRE - 15} ${m.neckY + 30} V${m.hemY + 16} M${CENTRE + 15} ${m.neckY + 30} V${m.hemY + 16}`, 1.8, '#000') + (pocket ? line(pocket, 1.8, '#000') : '') + both(line(`M${CENTRE - m.neck - 16} ${m.neckY + 22} Q${CENTRE - 100} ${m.shoulderY + 8} ${CENTRE - m.shoulder + 6} ${m.shoulderY + 24}`, 1.6, '#000')),
    },
    ...c.leaves,
  ];
}

function polo(o) {
  const m = { ...TEE, drop: 30 };
  const fabric = FABRICS.pique;
  const colour = base(o.colour);
  const c = collar(m, o.colour, FABRICS.rib, { tip: 52, drop: 70, stand: 12 });
  const placket = { shape: `<rect x="284" y="${m.neckY + 20}" width="32" height="108" rx="2"/>`, colour, fabric, round: 4, high: 3, shadow: 0.25, paint: [60, 100].map((y) => button(CENTRE, m.neckY + y, 5, '#e8e6df')).join(''), seams: line(`M288 ${m.neckY + 30} V${m.neckY + 124} M312 ${m.neckY + 30} V${m.neckY + 124}`, 1.4, '#000') };
  const band = shortSleeves(m, colour, fabric, { reach: 80, fall: 116 });
  return [c.back, ...band, { shape: path(bodyPath(m, round(m))), colour, fabric, round: 20, high: 15, relief: drape(m), seams: armholes(m) + hemSeam(m), shadow: 0.35 }, placket, ...c.leaves];
}

function wrapTop(o) {
  const m = { ...SHIRT, neck: 62, neckY: 170, shoulderY: 190, armY: 316, chest: 132, waist: 112, hem: 134, hemY: 540, curve: 10 };
  const fabric = FABRICS[o.fabric ?? 'jersey'];
  const colour = base(o.colour);
  const whole = bodyPath(m, vee(m, 190));
  const flap = `M${CENTRE - m.neck} ${m.neckY} Q${CENTRE - 40} ${m.neckY + 120} ${CENTRE + m.waist + 3} ${m.armY + 118} L${CENTRE + m.hem} ${m.hemY} C${CENTRE + 80} ${m.hemY + 10} ${CENTRE - 80} ${m.hemY + 10} ${CENTRE - m.hem} ${m.hemY} C${CENTRE - m.hem} ${m.hemY - 40} ${CENTRE - m.waist} 470 ${CENTRE - m.waist} 440 L${CENTRE - m.chest} ${m.armY} C${CENTRE - m.chest + 6} ${m.armY - 40} ${CENTRE - m.shoulder + 10} ${m.shoulderY + 50} ${CENTRE - m.shoulder} ${m.shoulderY} Z`;
  const gathers = valleys([`M${CENTRE + 104} 430 Q${CENTRE + 20} 412 ${CENTRE - 70} 360`, `M${CENTRE + 106} 446 Q${CENTRE + 10} 452 ${CENTRE - 96} 420`, `M${CENTRE + 106} 458 Q${CENTRE + 20} 490 ${CENTRE - 80} 500`], 9, 0.5) + ridges([`M${CENTRE + 106} 438 Q${CENTRE + 10} 430 ${CENTRE - 90} 390`, `M${CENTRE + 106} 452 Q${CENTRE + 10} 472 ${CENTRE - 96} 462`], 9, 0.5);
  const bow = `M${CENTRE + 112} 446 C${CENTRE + 150} 410 ${CENTRE + 168} 424 ${CENTRE + 160} 450 C${CENTRE + 152} 462 ${CENTRE + 130} 456 ${CENTRE + 112} 450 C${CENTRE + 128} 500 ${CENTRE + 122} 540 ${CENTRE + 116} 570 L${CENTRE + 100} 566 C${CENTRE + 108} 530 ${CENTRE + 106} 490 ${CENTRE + 104} 452 Z`;
  const options = { reach: 80, fall: 300, cuff: 25 };
  return [
    backNeck(m, o.colour, fabric, 192),
    ...longSleeves(m, colour, fabric, options),
    { shape: path(whole), colour: colour.map((part) => part * 0.93), fabric, round: 18, high: 12, shadow: 0.3 },
    { shape: path(flap), colour, fabric, round: 16, high: 12, relief: gathers, shadow: 0.5, seams: line(`M${CENTRE - m.neck + 8} ${m.neckY + 6} Q${CENTRE - 32} ${m.neckY + 112} ${CENTRE + m.waist} ${m.armY + 106}`, 1.6, '#000') },
    { shape: path(bow), colour, fabric, round: 6, high: 7, shadow: 0.5 },
  ];
}

// ---------------------------------------------------------------- knitwear

function sweater(o) {
  const m = { ...KNIT, ...(o.roll ? { neck: 48, drop: 22 } : {}), ...o.measures };
  const fabric = FABRICS[o.fabric ?? 'merino'];
  const ribbing = FABRICS[['chunky', 'cable', 'knit'].includes(o.fabric) ? 'broadRib' : 'rib'];
  const colour = base(o.colour);
  const bulky = ['chunky', 'cable', 'mohair'].includes(o.fabric) ? 8 : 0;
  const options = { reach: 90, fall: 336, cuff: 27 + bulky * 0.6, puff: bulky, grow: -2, round: 18, high: 15 };
  const hemBand = `M${CENTRE - m.hem - 3} ${m.hemY - 38} C${CENTRE - 80} ${m.hemY - 32} ${CENTRE + 80} ${m.hemY - 32} ${CENTRE + m.hem + 3} ${m.hemY - 38} L${CENTRE + m.hem - 4} ${m.hemY + 4} C${CENTRE + 80} ${m.hemY + 9} ${CENTRE - 80} ${m.hemY + 9} ${CENTRE - m.hem + 4} ${m.hemY + 4} Z`;
  const rolled = o.roll
    ? [{ shape: path(`M${CENTRE - m.neck - 8} ${m.neckY + 16} C${CENTRE - m.neck - 10} ${m.neckY - 20} ${CENTRE - m.neck} ${m.neckY - 44} ${CENTRE - m.neck + 2} ${m.neckY - 50} Q${CENTRE} ${m.neckY - 66} ${CENTRE + m.neck - 2} ${m.neckY - 50} C${CENTRE + m.neck} ${m.neckY - 44} ${CENTRE + m.neck + 10} ${m.neckY - 20} ${CENTRE + m.neck + 8} ${m.neckY + 16} Q${CENTRE} ${m.neckY + 44} ${CENTRE - m.neck - 8} ${m.neckY + 16} Z`), colour, fabric: ribbing, round: 12, high: 14, shadow: 0.45, relief: valleys([`M${CENTRE - m.neck} ${m.neckY - 36} Q${CENTRE} ${m.neckY - 20} ${CENTRE + m.neck} ${m.neckY - 36}`], 7, 0.6) }]
    : [{ shape: band(m, bulky ? 25 : 20), colour, fabric: ribbing, round: 7, high: 7, shadow: 0.35 }];
  return [
    ...(o.roll ? [] : [backNeck(m, o.colour, fabric)]),
    ...longSleeves(m, colour, fabric, options),
    ...cuffs(m, colour, ribbing, options, 40),
    { shape: path(bodyPath(m, round(m))), colour, fabric, round: 22, high: 17, relief: drape(m), seams: armholes(m), shadow: 0.35 },
    { shape: path(hemBand), colour, fabric: ribbing, round: 7, high: 6, shadow: 0.2 },
    ...rolled,
  ];
}

function cardigan(o) {
  const m = { ...KNIT, neck: 50, hemY: 580 };
  const fabric = FABRICS[o.fabric ?? 'knit'];
  const colour = base(o.colour);
  const options = { reach: 88, fall: 340, cuff: 30, puff: 8, grow: -3 };
  const front = `M${CENTRE - m.neck - 2} ${m.neckY - 2} Q${CENTRE - 30} ${m.neckY + 96} ${CENTRE} ${m.neckY + 190} V${m.hemY + 4} M${CENTRE + m.neck + 2} ${m.neckY - 2} Q${CENTRE + 30} ${m.neckY + 96} ${CENTRE} ${m.neckY + 190}`;
  const buttons = [];
  for (let y = m.neckY + 204; y < m.hemY; y += 48) buttons.push(button(CENTRE, y, 7.5, tone(o.colour, 0.5)));
  const hemBand = `M${CENTRE - m.hem - 2} ${m.hemY - 40} C${CENTRE - 80} ${m.hemY - 34} ${CENTRE + 80} ${m.hemY - 34} ${CENTRE + m.hem + 2} ${m.hemY - 40} L${CENTRE + m.hem - 4} ${m.hemY + 4} C${CENTRE + 80} ${m.hemY + 9} ${CENTRE - 80} ${m.hemY + 9} ${CENTRE - m.hem + 4} ${m.hemY + 4} Z`;
  return [
    backNeck(m, o.colour, fabric, 190),
    ...longSleeves(m, colour, fabric, options),
    ...cuffs(m, colour, FABRICS.broadRib, options, 40),
    { shape: path(bodyPath(m, vee(m, 190))), colour, fabric, round: 22, high: 16, relief: drape(m), seams: armholes(m), shadow: 0.35 },
    { shape: path(hemBand), colour, fabric: FABRICS.broadRib, round: 7, high: 6, shadow: 0.2 },
    { shape: line(front, 30, '#fff', 'stroke-linecap="butt"'), colour, fabric: FABRICS.broadRib, angle: 0, round: 7, high: 7, shadow: 0.4, paint: buttons.join('') },
  ];
}

function vest(o) {
  const m = { ...KNIT, neck: 54, shoulder: 116, neckY: 150, shoulderY: 178, armY: 330, chest: 136, waist: 134, hem: 128, hemY: 590 };
  const fabric = FABRICS.knit;
  const colour = base(o.colour);
  const shape = bodyPath(m, vee(m, 150));
  const neck = line(`M${CENTRE - m.neck} ${m.neckY - 2} Q${CENTRE - 34} ${m.neckY + 84} ${CENTRE} ${m.neckY + 154} Q${CENTRE + 34} ${m.neckY + 84} ${CENTRE + m.neck} ${m.neckY - 2}`, 21, '#fff', 'stroke-linecap="butt"');
  const arm = line(`M${CENTRE - m.shoulder + 2} ${m.shoulderY - 4} C${CENTRE - m.shoulder + 12} ${m.shoulderY + 54} ${CENTRE - m.chest + 8} ${m.armY - 46} ${CENTRE - m.chest + 3} ${m.armY + 4}`, 19, '#fff', 'stroke-linecap="butt"');
  const hemBand = `M${CENTRE - m.hem - 3} ${m.hemY - 42} C${CENTRE - 80} ${m.hemY - 36} ${CENTRE + 80} ${m.hemY - 36} ${CENTRE + m.hem + 3} ${m.hemY - 42} L${CENTRE + m.hem - 4} ${m.hemY + 4} C${CENTRE + 80} ${m.hemY + 9} ${CENTRE - 80} ${m.hemY + 9} ${CENTRE - m.hem + 4} ${m.hemY + 4} Z`;
  const rib = { colour, fabric: FABRICS.broadRib, round: 6, high: 6 };
  return [
    backNeck(m, o.colour, fabric, 150),
    { shape: path(shape), colour, fabric, round: 20, high: 16, relief: drape(m), shadow: 0.35 },
    { ...rib, shape: arm, angle: 90, shadow: 0.25 },
    { ...rib, shape: mirrored(arm), angle: 90, shadow: 0.25 },
    { ...rib, shape: path(hemBand), shadow: 0.2 },
    { ...rib, shape: neck, shadow: 0.4 },
  ];
}

// ---------------------------------------------------------------- jackets and coats

function lapels(m, hex, fabric, { closeY, width = 78, notch = 96 }) {
  const colour = base(hex);
  const leaf = `M${CENTRE - m.neck - 2} ${m.neckY + 2} L${CENTRE - 2} ${closeY} C${CENTRE - 46} ${closeY - 70} ${CENTRE - width - 10} ${m.neckY + notch + 36} ${CENTRE - width - 16} ${m.neckY + notch} L${CENTRE - m.neck - 26} ${m.neckY + notch - 22} Z`;
  const over = `M${CENTRE - m.neck + 12} ${m.neckY - 22} Q${CENTRE - m.neck - 14} ${m.neckY} ${CENTRE - m.neck - 34} ${m.neckY + 42} L${CENTRE - m.neck - 46} ${m.neckY + notch - 38} L${CENTRE - m.neck - 22} ${m.neckY + notch - 16} Q${CENTRE - m.neck + 4} ${m.neckY + 50} ${CENTRE - m.neck + 26} ${m.neckY + 14} Z`;
  const common = { colour, fabric, round: 6, high: 6, shadow: 0.5, wrinkled: 0.4 };
  const edge = line(`M${CENTRE - 8} ${closeY - 14} C${CENTRE - 46} ${closeY - 76} ${CENTRE - width - 2} ${m.neckY + notch + 36} ${CENTRE - width - 8} ${m.neckY + notch + 6}`, 1.2, '#000');
  return [
    { ...common, shape: path(leaf), seams: edge, angle: 12 },
    { ...common, shape: mirrored(path(leaf)), seams: mirrored(edge), angle: -12 },
    { ...common, shape: path(over) },
    { ...common, shape: mirrored(path(over)) },
    { ...common, shape: path(`M${CENTRE - m.neck + 6} ${m.neckY - 20} Q${CENTRE} ${m.neckY - 40} ${CENTRE + m.neck - 6} ${m.neckY - 20} L${CENTRE + m.neck - 24} ${m.neckY + 6} Q${CENTRE} ${m.neckY - 12} ${CENTRE - m.neck + 24} ${m.neckY + 6} Z`), shadow: 0.3 },
  ];
}

const flap = (x, y, width, height = 20) => `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="4"/>`;

function blazer(o) {
  const m = { ...JACKET, neck: 46, hemY: 620, waist: 126, hem: 140, curve: 14, ...(o.oversized ? { shoulder: 152, chest: 150, waist: 144, hem: 152 } : {}) };
  const fabric = FABRICS[o.fabric ?? 'suiting'];
  const colour = base(o.colour);
  const dark = tone(o.colour, 0.45);
  const options = { reach: 76, fall: 360, cuff: 30, paint: (s) => [0, 11, 22].map((up) => button(s.cx + 18 + up * 0.22, s.cy - 14 - up, 4, dark)).join('') };
  const closeY = 402;
  return [
    backNeck(m, tone(o.colour, 0.8), FABRICS.lining, closeY - m.neckY),
    ...longSleeves(m, colour, fabric, options),
    { shape: path(bodyPath(m, vee(m, closeY - m.neckY))), colour, fabric, round: 20, high: 14, relief: drape(m), shadow: 0.35, paint: button(CENTRE + 6, closeY + 12, 8, dark) + button(CENTRE + 6, closeY + 86, 8, dark), seams: armholes(m) + line(`M${CENTRE - 6} ${closeY} Q${CENTRE - 2} ${m.hemY - 40} ${CENTRE - 26} ${m.hemY + 12}`, 2.6, '#000') + both(line(`M${CENTRE - 84} ${m.armY + 30} Q${CENTRE - 74} 440 ${CENTRE - 84} 520`, 1.3, '#000')) + line(`M${CENTRE + 52} ${m.armY - 2} l54 -8`, 2.4, '#000') },
    { shape: both(flap(CENTRE - 126, 488, 74)), colour, fabric, round: 3, high: 3, shadow: 0.4 },
    ...lapels(m, o.colour, fabric, { closeY }),
  ];
}

function coat(o) {
  const m = { ...COAT };
  const fabric = FABRICS[o.fabric ?? 'wool'];
  const colour = base(o.colour);
  const dark = tone(o.colour, 0.5);
  const options = { reach: 74, fall: 372, cuff: 32 };
  const closeY = 308;
  const buttons = o.hidden ? '' : [18, 118, 218].map((y) => button(CENTRE + 8, closeY + y, 8.5, dark)).join('');
  return [
    backNeck(m, tone(o.colour, 0.75), FABRICS.lining, closeY - m.neckY),
    ...longSleeves(m, colour, fabric, options),
    { shape: path(bodyPath(m, vee(m, closeY - m.neckY))), colour, fabric, round: 22, high: 15, shadow: 0.35, paint: buttons, relief: drape(m) + valleys([`M${CENTRE - 84} 500 Q${CENTRE - 92} 620 ${CENTRE - 104} 730`, `M${CENTRE + 96} 520 Q${CENTRE + 100} 640 ${CENTRE + 96} 730`], 12, 0.4) + ridges([`M${CENTRE - 54} 520 Q${CENTRE - 60} 640 ${CENTRE - 66} 730`], 12, 0.35), seams: armholes(m) + line(`M${CENTRE - 6} ${closeY} L${CENTRE - 10} ${m.hemY + 6}`, 2.8, '#000') },
    { shape: both(`<rect x="${CENTRE - 124}" y="452" width="78" height="24" rx="4" transform="rotate(-6 ${CENTRE - 90} 464)"/>`), colour, fabric, round: 4, high: 4, shadow: 0.4 },
    ...lapels(m, o.colour, fabric, { closeY, width: 86, notch: 104 }),
  ];
}

function trench(o) {
  const m = { ...COAT, waist: 116, hem: 158 };
  const fabric = FABRICS.gabardine;
  const colour = base(o.colour);
  const dark = tone(o.colour, 0.36);
  const options = { reach: 74, fall: 366, cuff: 32 };
  const closeY = 236;
  const buttons = [256, 318, 452, 520].flatMap((y) => [button(CENTRE - 44, y, 8, dark), button(CENTRE + 44, y, 8, dark)]).join('');
  const strap = (s) => stitched(`M${s.cx - 30} ${s.cy - 46} L${s.cx + 40} ${s.cy - 38}`, tone(o.colour, 0.7)) + stitched(`M${s.cx - 30} ${s.cy - 30} L${s.cx + 38} ${s.cy - 22}`, tone(o.colour, 0.7)) + `<rect x="${s.cx - 14}" y="${s.cy - 46}" width="15" height="20" rx="3" fill="none" stroke="${dark}" stroke-width="3"/>`;
  return [
    backNeck(m, tone(o.colour, 0.8), FABRICS.lining, closeY - m.neckY),
    ...longSleeves(m, colour, fabric, { ...options, paint: strap }),
    { shape: path(bodyPath(m, vee(m, closeY - m.neckY))), colour, fabric, round: 22, high: 15, shadow: 0.35, paint: buttons, relief: drape(m) + valleys([`M${CENTRE - 90} 420 Q${CENTRE - 96} 600 ${CENTRE - 116} 730`, `M${CENTRE + 40} 420 Q${CENTRE + 50} 600 ${CENTRE + 60} 735`, `M${CENTRE - 30} 420 Q${CENTRE - 36} 600 ${CENTRE - 40} 735`, `M${CENTRE + 100} 420 Q${CENTRE + 110} 600 ${CENTRE + 124} 730`], 12, 0.45) + ridges([`M${CENTRE - 60} 420 Q${CENTRE - 66} 600 ${CENTRE - 78} 735`, `M${CENTRE + 74} 420 Q${CENTRE + 80} 600 ${CENTRE + 92} 735`], 12, 0.4), seams: armholes(m) + line(`M${CENTRE + 70} ${closeY - 20} L${CENTRE + 76} ${m.hemY + 4}`, 2.4, '#000') },
    { shape: path(`M${CENTRE + 26} ${m.neckY + 40} Q${CENTRE + 110} ${m.shoulderY + 10} ${CENTRE + 126} ${m.shoulderY + 20} L${CENTRE + 124} ${m.armY - 26} Q${CENTRE + 80} ${m.armY + 14} ${CENTRE + 30} ${m.armY - 10} Z`), colour, fabric, round: 6, high: 4, shadow: 0.4 },
    { shape: `<rect x="${CENTRE - 124}" y="388" width="248" height="34" rx="3"/>`, colour, fabric, round: 5, high: 6, shadow: 0.5, paint: stitched(`M${CENTRE - 122} 393 H${CENTRE + 122}`, tone(o.colour, 0.72)) + stitched(`M${CENTRE - 122} 417 H${CENTRE + 122}`, tone(o.colour, 0.72)) },
    { shape: path(`M${CENTRE + 10} 416 L${CENTRE + 2} 500 L${CENTRE + 32} 506 L${CENTRE + 38} 416 Z`), colour, fabric, round: 5, high: 6, shadow: 0.5 },
    { shape: `<rect x="${CENTRE - 8}" y="382" width="42" height="46" rx="6" fill="none" stroke="#fff" stroke-width="7"/>`, colour: base(dark), fabric: FABRICS.smoothLeather, round: 3, high: 5, shadow: 0.5 },
    ...lapels(m, o.colour, fabric, { closeY, width: 98, notch: 92 }),
  ];
}

function overshirt(o) {
  const m = { ...JACKET, ...(o.denim ? { hemY: 560, hem: 130, waist: 132 } : {}) };
  const fabric = FABRICS[o.denim ? 'denim' : (o.fabric ?? 'cotton')];
  const colour = base(o.colour);
  const thread = o.denim ? '#c58a4a' : tone(o.colour, 0.6);
  const metal = o.denim ? '#b0703c' : tone(o.colour, 0.5);
  const fade = o.denim ? (u, v) => 0.16 * Math.exp(-(((u - 230) / 60) ** 2) - ((v - 330) / 120) ** 2) + 0.16 * Math.exp(-(((u - 370) / 60) ** 2) - ((v - 330) / 120) ** 2) : undefined;
  const options = { reach: 86, fall: 356, cuff: 30, cuffPaint: ({ cx, cy }) => button(cx + 12, cy - 10, 5, metal), fade };
  const c = collar(m, o.colour, fabric, { tip: 58, drop: 80, spread: 6, stand: 14 });
  const buttons = [];
  for (let y = m.neckY + 64; y < m.hemY - 10; y += 72) buttons.push(button(CENTRE, y, 7, metal));
  const pocket = (x, y) => `<g transform="translate(${x} ${y})"><path d="M0 0 h76 v74 l-10 10 h-56 l-10 -10 Z"/></g>`;
  const low = !o.denim;
  const pockets = [pocket(CENTRE - 110, m.armY - 16), pocket(CENTRE + 34, m.armY - 16)].filter((_, index) => !o.chore || index === 1);
  if (low && !o.wool) pockets.push(`<g transform="translate(${CENTRE - 124} 462)"><path d="M0 0 h92 v92 l-8 8 h-76 l-8 -8 Z"/></g>`, `<g transform="translate(${CENTRE + 32} 462)"><path d="M0 0 h92 v92 l-8 8 h-76 l-8 -8 Z"/></g>`);
  const seamsOf = o.denim ? both(stitched(`M${CENTRE - 96} ${m.armY + 10} L${CENTRE - 60} ${m.hemY - 30}`, thread) + stitched(`M${CENTRE - 36} ${m.armY + 60} L${CENTRE - 40} ${m.hemY - 30}`, thread) + stitched(`M${CENTRE - m.chest + 8} ${m.armY - 24} Q${CENTRE - 60} ${m.armY - 14} ${CENTRE - 16} ${m.armY - 18}`, thread)) : '';
  return [
    c.back,
    ...longSleeves(m, colour, fabric, options),
    ...cuffs(m, colour, fabric, options, 34),
    { shape: path(bodyPath(m, round({ ...m, drop: 36 }))), colour, fabric, fade, round: 20, high: 14, relief: drape(m), shadow: 0.35, paint: stitched(`M${CENTRE - 20} ${m.neckY + 34} V${m.hemY + 4}`, thread) + stitched(`M${CENTRE + 20} ${m.neckY + 34} V${m.hemY + 4}`, thread) + seamsOf + buttons.join(''), seams: armholes(m) + hemSeam(m, 10) + line(`M${CENTRE - 23} ${m.neckY + 36} V${m.hemY + 4} M${CENTRE + 23} ${m.neckY + 36} V${m.hemY + 4}`, 1.8, '#000') + (o.denim ? both(line(`M${CENTRE - 99} ${m.armY + 10} L${CENTRE - 63} ${m.hemY - 30} M${CENTRE - m.chest + 8} ${m.armY - 21} Q${CENTRE - 60} ${m.armY - 11} ${CENTRE - 16} ${m.armY - 15}`, 1.8, '#000')) : '') },
    ...(o.denim
      ? [
          { shape: both(`<path d="M${CENTRE - 104} ${m.armY - 14} h70 v22 l-35 16 l-35 -16 Z"/>`), colour, fabric, round: 4, high: 4, shadow: 0.45, paint: both(button(CENTRE - 69, m.armY + 6, 5.5, metal)) },
          { shape: path(`M${CENTRE - m.hem - 1} ${m.hemY - 32} C${CENTRE - 80} ${m.hemY - 26} ${CENTRE + 80} ${m.hemY - 26} ${CENTRE + m.hem + 1} ${m.hemY - 32} L${CENTRE + m.hem} ${m.hemY + 3} C${CENTRE + 80} ${m.hemY + 10} ${CENTRE - 80} ${m.hemY + 10} ${CENTRE - m.hem} ${m.hemY + 3} Z`), colour, fabric, round: 5, high: 5, shadow: 0.35, paint: button(CENTRE, m.hemY - 11, 7, metal) + stitched(`M${CENTRE - m.hem} ${m.hemY - 26} Q${CENTRE} ${m.hemY - 18} ${CENTRE + m.hem} ${m.hemY - 26}`, thread) },
        ]
      : [{ shape: pockets.join(''), colour, fabric, round: 5, high: 4, shadow: 0.4 }]),
    ...c.leaves,
  ];
}

function leatherJacket(o) {
  const m = { ...JACKET, hemY: 552, hem: 128, waist: 130 };
  const fabric = FABRICS.leather;
  const colour = base(o.colour);
  const zip = (d) => line(d, 6, '#3c3d40') + line(d, 3.4, '#c6c9cd', 'stroke-dasharray="2 1.6" stroke-linecap="butt"');
  const options = { reach: 84, fall: 334, cuff: 27, paint: (s) => zip(`M${s.cx + 4} ${s.cy} L${s.cx + 12} ${s.cy - 62}`) };
  const leaf = `M${CENTRE - m.neck - 2} ${m.neckY + 2} L${CENTRE + 22} 306 C${CENTRE - 30} 292 ${CENTRE - 84} 280 ${CENTRE - 104} 258 L${CENTRE - m.neck - 34} ${m.neckY + 76} Z`;
  const other = `M${CENTRE + m.neck + 2} ${m.neckY + 2} L${CENTRE + 24} 300 L${CENTRE + 100} 262 L${CENTRE + m.neck + 36} ${m.neckY + 76} Z`;
  const over = `M${CENTRE - m.neck + 10} ${m.neckY - 18} Q${CENTRE - m.neck - 20} ${m.neckY + 8} ${CENTRE - m.neck - 44} ${m.neckY + 66} L${CENTRE - m.neck - 18} ${m.neckY + 82} L${CENTRE - m.neck + 30} ${m.neckY + 20} Z`;
  const common = { colour, fabric, round: 6, high: 7, shadow: 0.5 };
  return [
    backNeck(m, '#2c2726', FABRICS.lining, 180),
    ...longSleeves(m, colour, fabric, { ...options, round: 18, high: 16 }),
    { shape: path(bodyPath(m, vee(m, 180))), colour, fabric, round: 20, high: 15, relief: drape(m), shadow: 0.35, seams: armholes(m) + both(line(`M${CENTRE - m.shoulder + 14} ${m.shoulderY + 46} Q${CENTRE - 80} ${m.shoulderY + 70} ${CENTRE - 50} ${m.shoulderY + 74}`, 2, '#000')) + line(`M${CENTRE + 24} 300 L${CENTRE + 6} ${m.hemY - 30}`, 2.4, '#000'), paint: zip(`M${CENTRE + 20} 306 L${CENTRE + 6} ${m.hemY + 4}`) + zip(`M${CENTRE - 112} 408 L${CENTRE - 56} 436`) + zip(`M${CENTRE + 112} 408 L${CENTRE + 58} 436`) + zip(`M${CENTRE - 100} 322 L${CENTRE - 44} 334`) },
    { ...common, shape: path(`M${CENTRE - m.hem - 1} ${m.hemY - 32} C${CENTRE - 80} ${m.hemY - 26} ${CENTRE + 80} ${m.hemY - 26} ${CENTRE + m.hem + 1} ${m.hemY - 32} L${CENTRE + m.hem} ${m.hemY + 3} C${CENTRE + 80} ${m.hemY + 10} ${CENTRE - 80} ${m.hemY + 10} ${CENTRE - m.hem} ${m.hemY + 3} Z`), shadow: 0.3, paint: `<rect x="${CENTRE - 26}" y="${m.hemY - 20}" width="24" height="20" rx="3" fill="none" stroke="#c6c9cd" stroke-width="3.4"/>` },
    { ...common, shape: path(other) },
    { ...common, shape: path(leaf), paint: circle(CENTRE - 88, 256, 4, '#c6c9cd') + circle(CENTRE - 70, 212, 4, '#c6c9cd') },
    { ...common, shape: path(over) },
    { ...common, shape: mirrored(path(over)) },
  ];
}

function puffer(o) {
  const m = { ...JACKET, shoulder: 146, chest: 148, waist: 148, hem: 138, hemY: 580, neck: 52 };
  const fabric = FABRICS.nylon;
  const colour = base(o.colour);
  const outline = bodyPath(m, round({ ...m, drop: 20 }));
  const pieces = [];
  const options = { reach: 84, fall: 330, cuff: 31, puff: 12 };
  const s = longSleeve(m, options);
  const baffle = (id, d, from, to, step, tilt) => {
    const parts = [];
    for (let y = from; y < to; y += step) {
      parts.push(`<clipPath id="${id}${y}"><path d="${d}"/></clipPath><g clip-path="url(#${id}${y})"><path d="M0 ${y + tilt * 3} Q300 ${y + 12} 600 ${y - tilt * 3} L600 ${y + step - tilt * 3} Q300 ${y + step + 12} 0 ${y + step + tilt * 3} Z"/></g>`);
    }
    return parts;
  };
  const sleeve = baffle('s', s.d, s.sy - 30, s.cy + 20, 50, -26);
  for (const part of sleeve) {
    pieces.push({ shape: part, colour, fabric, round: 15, high: 20, angle: s.angle, shadow: 0.2 });
    pieces.push({ shape: mirrored(part), colour, fabric, round: 15, high: 20, angle: -s.angle, shadow: 0.2 });
  }
  for (const part of baffle('b', outline, m.neckY - 10, m.hemY + 10, 54, 0)) pieces.push({ shape: part, colour, fabric, round: 17, high: 24, shadow: 0.22 });
  const stand = `M${CENTRE - m.neck - 6} ${m.neckY + 22} C${CENTRE - m.neck - 10} ${m.neckY - 20} ${CENTRE - m.neck} ${m.neckY - 36} ${CENTRE - m.neck + 6} ${m.neckY - 44} Q${CENTRE} ${m.neckY - 56} ${CENTRE + m.neck - 6} ${m.neckY - 44} C${CENTRE + m.neck} ${m.neckY - 36} ${CENTRE + m.neck + 10} ${m.neckY - 20} ${CENTRE + m.neck + 6} ${m.neckY + 22} Q${CENTRE} ${m.neckY + 44} ${CENTRE - m.neck - 6} ${m.neckY + 22} Z`;
  pieces.push({ shape: path(stand), colour, fabric, round: 13, high: 18, shadow: 0.4, relief: valleys([`M${CENTRE - 60} ${m.neckY - 8} Q${CENTRE} ${m.neckY + 10} ${CENTRE + 60} ${m.neckY - 8}`], 6, 0.8) });
  const zip = `M${CENTRE} ${m.neckY - 48} V${m.hemY + 4}`;
  pieces.push({ shape: line(zip, 15, '#fff', 'stroke-linecap="butt"'), colour: base(tone(o.colour, 0.72)), fabric: FABRICS.coated, round: 4, high: 4, shadow: 0.5, paint: line(zip, 4, '#2b2c2a') + line(zip, 2.6, '#9da09a', 'stroke-dasharray="2 1.8" stroke-linecap="butt"') + `<rect x="${CENTRE - 3}" y="${m.neckY - 34}" width="6" height="22" rx="2" fill="#b8bab4"/>` });
  pieces.push({ shape: both(line(`M${CENTRE - 104} 434 L${CENTRE - 66} 506`, 9, '#fff')), colour: base(tone(o.colour, 0.6)), fabric: FABRICS.coated, round: 3, high: 2, shadow: 0.2 });
  return pieces;
}

function rainJacket(o) {
  const long = o.parka;
  const m = { ...JACKET, neckY: long ? 140 : 166, shoulderY: long ? 172 : 198, armY: long ? 300 : 326, hemY: long ? 690 : 640, hem: 150, waist: 140, neck: 54 };
  const fabric = FABRICS.coated;
  const colour = base(o.colour);
  const options = { reach: 82, fall: 336, cuff: 31 };
  const hood = `M${CENTRE - m.neck - 26} ${m.neckY + 26} C${CENTRE - m.neck - 52} ${m.neckY - 60} ${CENTRE - 70} ${m.neckY - 124} ${CENTRE} ${m.neckY - 124} C${CENTRE + 70} ${m.neckY - 124} ${CENTRE + m.neck + 52} ${m.neckY - 60} ${CENTRE + m.neck + 26} ${m.neckY + 26} Q${CENTRE} ${m.neckY + 70} ${CENTRE - m.neck - 26} ${m.neckY + 26} Z`;
  const inside = `M${CENTRE - m.neck + 6} ${m.neckY + 30} C${CENTRE - m.neck - 14} ${m.neckY - 40} ${CENTRE - 44} ${m.neckY - 88} ${CENTRE} ${m.neckY - 88} C${CENTRE + 44} ${m.neckY - 88} ${CENTRE + m.neck + 14} ${m.neckY - 40} ${CENTRE + m.neck - 6} ${m.neckY + 30} Q${CENTRE} ${m.neckY + 76} ${CENTRE - m.neck + 6} ${m.neckY + 30} Z`;
  const cord = both(line(`M${CENTRE - 34} ${m.neckY + 38} C${CENTRE - 40} ${m.neckY + 80} ${CENTRE - 28} ${m.neckY + 100} ${CENTRE - 34} ${m.neckY + 128}`, 4));
  const front = `M${CENTRE - 18} ${m.neckY + 46} H${CENTRE + 18} V${m.hemY + 5} H${CENTRE - 18} Z`;
  const snaps = [];
  for (let y = m.neckY + 84; y < m.hemY; y += 84) snaps.push(circle(CENTRE, y, 5.5, tone(o.colour, 1.5)) + circle(CENTRE, y, 3, tone(o.colour, 0.8)));
  return [
    ...longSleeves(m, colour, fabric, { ...options, round: 18, high: 15, seams: (s) => line(`M${s.cx - 30} ${s.cy - 26} L${s.cx + 36} ${s.cy - 18}`, 2, '#000') }),
    { shape: path(bodyPath(m, round({ ...m, drop: 30 }))), colour, fabric, round: 22, high: 16, relief: drape(m), shadow: 0.35, seams: both(line(`M${CENTRE - m.neck - 2} ${m.neckY + 20} Q${CENTRE - 110} ${m.armY - 60} ${CENTRE - m.chest + 2} ${m.armY}`, 2.2, '#000')) + hemSeam(m, 16) + (long ? both(line(`M${CENTRE - m.waist} 440 H${CENTRE - 20}`, 2, '#000')) : '') },
    { shape: both(`<rect x="${CENTRE - 118}" y="${long ? 500 : 470}" width="82" height="26" rx="4" transform="rotate(-5 ${CENTRE - 80} 480)"/>`), colour, fabric, round: 4, high: 4, shadow: 0.4 },
    { shape: path(hood), colour, fabric, round: 24, high: 20, shadow: 0.45, seams: line(`M${CENTRE} ${m.neckY - 124} V${m.neckY - 86}`, 2.2, '#000') },
    { shape: path(inside), colour: colour.map((part) => part * 0.55), fabric: FABRICS.lining, round: 8, high: -8, shadow: 0 },
    { shape: path(front), colour, fabric, round: 5, high: 5, shadow: 0.45, paint: snaps.join('') },
    { shape: cord, colour: base(tone(o.colour, 1.9)), fabric: FABRICS.rubber, round: 2, high: 2, shadow: 0.4 },
  ];
}

// ---------------------------------------------------------------- trousers and skirts

function trousers(o) {
  const m = { waist: 112, waistY: 66, hip: 146, hipY: 190, crotchY: 276, knee: 74, hem: 58, hemY: 738, stance: 84, gap: 14, ...o.measures };
  const fabric = FABRICS[o.fabric ?? 'chino'];
  const colour = base(o.colour);
  const mid = (m.crotchY + m.hemY) / 2;
  // The left leg, from the waist's middle.
  const leg =
    `M${CENTRE + 2} ${m.waistY} L${CENTRE - m.waist} ${m.waistY} C${CENTRE - m.waist - 10} ${m.waistY + 50} ${CENTRE - m.hip + 2} ${m.hipY - 50} ${CENTRE - m.hip} ${m.hipY + 10} ` +
    `C${CENTRE - m.hip - 4} ${m.crotchY + 60} ${CENTRE - m.stance - m.knee + 2} ${mid - 60} ${CENTRE - m.stance - m.knee} ${mid} L${CENTRE - m.stance - m.hem} ${m.hemY} ` +
    `Q${CENTRE - m.stance} ${m.hemY + 9} ${CENTRE - m.stance + m.hem} ${m.hemY + 2} L${CENTRE - m.stance + m.knee - 2} ${mid} C${CENTRE - m.gap} ${mid - 100} ${CENTRE - 6} ${m.crotchY + 40} ${CENTRE + 2} ${m.crotchY} Z`;
  const side = CENTRE - m.hip;
  const legFolds =
    ridges([`M${CENTRE - 14} ${m.crotchY + 6} Q${CENTRE - 70} ${m.crotchY + 22} ${side + 26} ${m.crotchY - 22}`, `M${CENTRE - m.stance - m.knee + 8} ${mid + 10} Q${CENTRE - m.stance} ${mid + 30} ${CENTRE - m.stance + m.knee - 18} ${mid - 6}`], 10, 0.4) +
    valleys([`M${CENTRE - 12} ${m.crotchY + 24} Q${CENTRE - 60} ${m.crotchY + 56} ${side + 34} ${m.crotchY + 30}`, `M${CENTRE - m.stance - m.knee + 8} ${mid + 34} Q${CENTRE - m.stance} ${mid + 52} ${CENTRE - m.stance + m.knee - 18} ${mid + 24}`, `M${CENTRE - m.stance - m.hem + 8} ${m.hemY - 40} Q${CENTRE - m.stance} ${m.hemY - 20} ${CENTRE - m.stance + m.hem - 10} ${m.hemY - 44}`], 9, 0.38);
  const crease = o.crease ? ridges([`M${CENTRE - m.waist * 0.52} ${m.waistY + 40} C${CENTRE - m.stance + 6} ${m.crotchY} ${CENTRE - m.stance} ${mid} ${CENTRE - m.stance} ${m.hemY}`], 5, 0.85) : '';
  const thread = o.denim ? (o.thread ?? '#c58a4a') : tone(o.colour, 0.62);
  const pocket = o.denim
    ? `M${CENTRE - m.waist - 2} ${m.waistY + 74} Q${CENTRE - 74} ${m.waistY + 76} ${CENTRE - 58} ${m.waistY + 30}`
    : `M${CENTRE - m.waist - 16} ${m.waistY + 110} L${CENTRE - m.waist + 26} ${m.waistY + 32}`;
  const outseam = `M${CENTRE - m.stance - m.hem + 7} ${m.hemY - 4} L${CENTRE - m.stance - m.knee + 7} ${mid} C${CENTRE - m.stance - m.knee + 9} ${mid - 60} ${side + 3} ${m.crotchY + 60} ${side + 7} ${m.hipY + 14}`;
  const pleats = o.pleats ? both(line(`M${CENTRE - 62} ${m.waistY + 26} L${CENTRE - 68} ${m.waistY + 104}`, 2.6, '#000') + line(`M${CENTRE - 84} ${m.waistY + 26} L${CENTRE - 88} ${m.waistY + 78}`, 2.2, '#000')) : '';
  const hemLine = `M${CENTRE - m.stance - m.hem - 2} ${m.hemY - 15} Q${CENTRE - m.stance} ${m.hemY - 5} ${CENTRE - m.stance + m.hem + 2} ${m.hemY - 12}`;
  const paint = o.denim ? stitched(outseam, thread) + stitched(pocket, thread) + stitched(hemLine, thread) : '';
  const seams = (o.seamless ? '' : line(pocket, 2, '#000')) + (o.seamless ? '' : line(hemLine, 1.6, '#000'));
  const fade = o.fade ? (u, v) => o.fade * (Math.exp(-(((u - (CENTRE - m.stance)) / 40) ** 2) - ((v - 390) / 130) ** 2) + Math.exp(-(((u - (CENTRE + m.stance)) / 40) ** 2) - ((v - 390) / 130) ** 2)) : undefined;
  const part = { colour, fabric, fade, round: 22, high: 18 };
  const top = `M${CENTRE - m.waist - 1} ${m.waistY - 4} Q${CENTRE} ${m.waistY + 8} ${CENTRE + m.waist + 1} ${m.waistY - 4} L${CENTRE + m.waist + 7} ${m.waistY + 30} Q${CENTRE} ${m.waistY + 40} ${CENTRE - m.waist - 7} ${m.waistY + 30} Z`;
  const fly = o.elastic ? '' : `M${CENTRE + 2} ${m.waistY + 36} V${m.crotchY - 26} M${CENTRE + 26} ${m.waistY + 36} V${m.crotchY - 70} Q${CENTRE + 24} ${m.crotchY - 36} ${CENTRE + 2} ${m.crotchY - 26}`;
  const loops = o.elastic ? '' : both(`<rect x="${CENTRE - m.waist * 0.62}" y="${m.waistY - 6}" width="9" height="42" rx="2"/>`);
  const cargo = o.cargo
    ? [{ shape: both(`<g transform="rotate(3 ${CENTRE - 140} 420)"><rect x="${CENTRE - m.stance - m.knee - 12}" y="392" width="72" height="92" rx="5"/></g>`), colour, fabric, round: 7, high: 8, shadow: 0.45 }, { shape: both(`<g transform="rotate(3 ${CENTRE - 140} 420)"><path d="M${CENTRE - m.stance - m.knee - 14} 386 h76 v24 l-38 8 l-38 -8 Z"/></g>`), colour, fabric, round: 5, high: 5, shadow: 0.45 }]
    : [];
  return [
    { shape: path(`M${CENTRE - m.waist} ${m.waistY} Q${CENTRE} ${m.waistY - 26} ${CENTRE + m.waist} ${m.waistY} L${CENTRE + m.waist} ${m.waistY + 20} H${CENTRE - m.waist} Z`), colour: colour.map((part) => part * 0.6), fabric, round: 4, high: 2, shadow: 0, paint: `<rect x="284" y="${m.waistY - 8}" width="32" height="14" rx="2" fill="${o.denim ? '#a9764b' : '#eee9df'}" opacity="0.9"/>` },
    { ...part, shape: mirrored(path(leg)), relief: mirrored(legFolds + crease), paint: mirrored(paint), seams: mirrored(seams) + pleats, shadow: 0 },
    { ...part, shape: path(leg), relief: legFolds + crease, paint: paint + (fly ? stitched(`M${CENTRE + 24} ${m.waistY + 36} V${m.crotchY - 70}`, thread) : ''), seams: seams + pleats, shadow: 0.3 },
    { shape: `<rect x="${CENTRE - 2}" y="${m.waistY + 30}" width="30" height="${m.crotchY - m.waistY - 64}" rx="10"/>`, colour, fabric, fade, round: 4, high: o.elastic ? 0 : 3, shadow: 0, seams: fly && line(fly, 1.8, '#000'), paint: o.denim ? stitched(`M${CENTRE + 22} ${m.waistY + 36} V${m.crotchY - 70} Q${CENTRE + 20} ${m.crotchY - 44} ${CENTRE + 4} ${m.crotchY - 34}`, thread) : '' },
    ...cargo,
    { shape: path(top), colour, fabric: o.elastic && !o.flat ? FABRICS.rib : fabric, round: 6, high: 6, shadow: 0.35, paint: (o.denim ? stitched(`M${CENTRE - m.waist} ${m.waistY + 2} Q${CENTRE} ${m.waistY + 14} ${CENTRE + m.waist} ${m.waistY + 2}`, thread) + stitched(`M${CENTRE - m.waist - 5} ${m.waistY + 25} Q${CENTRE} ${m.waistY + 35} ${CENTRE + m.waist + 5} ${m.waistY + 25}`, thread) : '') + (o.elastic ? '' : button(CENTRE + 12, m.waistY + 19, o.denim ? 8 : 6.5, o.denim ? '#b0703c' : tone(o.colour, 0.6))) },
    ...(loops ? [{ shape: loops, colour, fabric, round: 3, high: 4, shadow: 0.35 }] : []),
  ].filter((piece) => piece.high !== 0);
}

function skirt(o) {
  const colour = base(o.colour);
  const fabric = FABRICS[o.fabric ?? 'satin'];
  const d = 'M204 130 C196 220 168 300 158 390 C146 500 136 620 132 690 Q300 724 468 690 C464 620 454 500 442 390 C432 300 404 220 396 130 Z';
  const flows = valleys(['M250 200 C240 360 206 540 196 704', 'M310 190 C318 380 300 560 306 712', 'M372 200 C384 380 416 560 424 700'], 16, 0.5) + ridges(['M226 190 C214 360 172 560 164 696', 'M282 190 C280 380 252 560 250 710', 'M344 190 C352 380 362 560 368 708'], 16, 0.5);
  return [
    { shape: path('M206 132 Q300 112 394 132 V150 H206 Z'), colour: colour.map((part) => part * 0.6), fabric, round: 4, high: 2, shadow: 0 },
    { shape: path(d), colour, fabric, round: 24, high: 20, soft: 9, relief: flows, seams: line('M132 676 Q300 710 468 676', 1.6, '#000') },
    { shape: path('M203 128 Q300 146 397 128 L400 158 Q300 176 200 158 Z'), colour, fabric: FABRICS.suiting, round: 6, high: 6, shadow: 0.35 },
  ];
}

// ---------------------------------------------------------------- dresses

function slipDress(o) {
  const colour = base(o.colour);
  const fabric = FABRICS.satin;
  const d = 'M214 214 Q240 170 252 150 Q276 204 300 210 Q324 204 348 150 Q360 170 386 214 C384 270 372 310 378 360 C396 480 430 610 440 700 Q300 732 160 700 C170 610 204 480 222 360 C228 310 216 270 214 214 Z';
  const flows = valleys(['M256 330 C246 460 214 600 204 706', 'M312 300 C322 460 296 600 306 716', 'M356 360 C372 480 396 600 402 706', 'M246 232 Q290 262 346 240'], 15, 0.5) + ridges(['M236 360 C222 480 188 600 178 700', 'M288 310 C284 460 254 600 250 712', 'M336 330 C346 460 352 600 356 714', 'M262 216 Q300 244 344 220'], 15, 0.5);
  const straps = both(line('M252 154 C250 110 254 84 262 60', 5)) ;
  return [
    { shape: path('M252 150 Q300 176 348 150 L386 214 L300 240 L214 214 Z'), colour: colour.map((part) => part * 0.66), fabric, round: 4, high: 2, shadow: 0 },
    { shape: straps, colour, fabric: FABRICS.suiting, round: 2.5, high: 3, shadow: 0.2 },
    { shape: path(d), colour, fabric, round: 24, high: 20, soft: 9, relief: flows, seams: line('M214 222 Q240 180 254 160 Q276 212 300 218 Q324 212 346 160 Q360 180 386 222', 1.6, '#000') + line('M160 690 Q300 720 440 690', 1.4, '#000') },
  ];
}

function shirtDress(o) {
  const m = { ...SHIRT, neckY: 84, shoulderY: 116, armY: 236, shoulder: 128, chest: 126, waist: 118, hem: 156, hemY: 704, curve: 16 };
  const fabric = FABRICS.poplin;
  const colour = base(o.colour);
  const striped = o.striped ? bars(14, 5, o.second) : '';
  const c = collar(m, o.colour, fabric, {});
  const options = { reach: 82, fall: 330, cuff: 28, paint: o.striped ? (s) => `<g transform="rotate(${s.angle} ${s.sx} ${s.sy})">${bars(14, 5, o.second)}</g>` : undefined };
  const buttons = [];
  for (let y = 146; y < 660; y += 70) buttons.push(button(CENTRE, y, 5, '#f4f2ec'));
  const belt = { shape: path(`M${CENTRE - 122} 392 Q300 404 ${CENTRE + 122} 392 L${CENTRE + 124} 424 Q300 436 ${CENTRE - 124} 424 Z`), colour, fabric, paint: striped && `<g transform="rotate(90 300 400)">${bars(14, 5, o.second)}</g>`, round: 6, high: 7, shadow: 0.45 };
  const tie = { shape: path('M292 414 C262 470 258 520 250 566 L274 572 C284 520 296 470 306 424 C320 470 330 500 342 540 L364 532 C350 490 330 450 318 414 Z'), colour, fabric, round: 6, high: 6, shadow: 0.45 };
  const skirtFolds = valleys(['M230 440 Q214 560 196 700', 'M280 440 Q276 580 268 710', 'M352 440 Q370 570 384 706'], 13, 0.5) + ridges(['M206 440 Q190 560 168 696', 'M256 440 Q246 580 232 706', 'M326 440 Q332 580 336 712', 'M384 440 Q404 570 424 698'], 13, 0.5);
  return [
    c.back,
    ...longSleeves(m, colour, fabric, options),
    ...cuffs(m, colour, fabric, options, 32),
    { shape: path(bodyPath(m, round({ ...m, drop: 34 }))), colour, fabric, round: 20, high: 15, relief: drape(m) + skirtFolds, paint: striped + buttons.join(''), shadow: 0.35, seams: armholes(m) + line(`M${CENTRE - 15} ${m.neckY + 30} V${m.hemY + 10} M${CENTRE + 15} ${m.neckY + 30} V${m.hemY + 10}`, 1.8, '#000') + hemSeam(m, 12) },
    belt,
    tie,
    ...c.leaves,
  ];
}

function wrapDress(o) {
  const fabric = FABRICS.silk;
  const colour = base(o.colour);
  const m = { ...SHIRT, neck: 58, neckY: 76, shoulder: 122, shoulderY: 98, armY: 226, chest: 118, waist: 120, hem: 190, hemY: 700, curve: 26 };
  const body = 'M242 76 Q206 82 178 98 C186 150 182 190 182 226 C188 290 208 330 212 362 C190 470 140 600 112 700 Q300 752 488 700 C460 600 410 470 388 362 C392 330 412 290 418 226 C418 190 414 150 422 98 Q394 82 358 76 Q340 190 262 258 Q250 150 242 76 Z';
  const wrapFlap = 'M358 76 Q394 82 422 98 C414 150 418 190 418 226 C412 290 392 330 388 362 L214 362 C208 330 190 290 184 240 Q300 200 358 76 Z';
  const skirtFlap = 'M212 362 L388 362 C410 470 460 600 488 700 Q420 728 340 732 C320 600 268 470 212 362 Z';
  const gathers = valleys(['M222 356 Q290 310 350 180', 'M216 350 Q270 300 330 220', 'M384 350 Q398 300 404 240'], 8, 0.5) + ridges(['M220 344 Q280 290 344 190', 'M376 352 Q384 290 396 220'], 8, 0.5);
  const flows = valleys(['M240 376 C226 480 186 600 170 712', 'M268 380 C270 500 246 620 240 726', 'M330 376 C352 500 372 620 380 728', 'M372 376 C398 480 430 600 446 712'], 13, 0.55) + ridges(['M222 376 C200 480 156 600 138 706', 'M254 378 C248 500 214 620 204 720', 'M300 376 C310 500 308 620 310 736', 'M350 376 C374 500 400 620 412 720'], 13, 0.55);
  const sleeve = 'M180 98 C132 112 96 170 86 232 Q110 270 156 262 Q176 244 186 226 C190 180 190 140 196 110 Z';
  const ruffle = 'M86 232 Q70 262 66 282 Q110 312 158 292 L156 262 Q110 270 86 232 Z';
  const bow = 'M396 356 C430 322 448 336 440 360 C432 372 412 368 396 362 C412 410 408 450 400 486 L384 482 C392 440 390 400 388 364 Z';
  return [
    backNeck(m, o.colour, fabric, 190),
    { shape: path(sleeve), colour, fabric, angle: 30, round: 16, high: 14, shadow: 0.2 },
    { shape: mirrored(path(sleeve)), colour, fabric, angle: -30, round: 16, high: 14, shadow: 0.2 },
    { shape: both(path(ruffle)), colour, fabric, round: 8, high: 8, shadow: 0.3, relief: both(valleys(['M84 256 L80 290', 'M104 268 L104 300', 'M126 268 L130 298'], 5, 0.8)) },
    { shape: path(body), colour: colour.map((part) => part * 0.96), fabric, round: 20, high: 15, soft: 7, relief: flows, shadow: 0.3 },
    { shape: path(skirtFlap), colour, fabric, round: 12, high: 10, soft: 7, relief: flows, shadow: 0.35 },
    { shape: path(wrapFlap), colour, fabric, round: 12, high: 10, relief: gathers, shadow: 0.4 },
    { shape: path('M210 352 Q300 366 390 352 L392 374 Q300 388 208 374 Z'), colour, fabric, round: 6, high: 7, shadow: 0.4 },
    { shape: path(bow), colour, fabric, round: 6, high: 8, shadow: 0.4 },
  ];
}

// ---------------------------------------------------------------- shoes

/** A pair seen from the side: the same pieces twice, the farther shoe first. */
function pair(pieces, { lift = 150, shift = 62, y = 300, size = 1.14, x = 26 } = {}) {
  const place = (markup, far) => markup && `<g transform="translate(${x + (far ? shift : 0)} ${y + (far ? -lift : 0)}) scale(${size})">${markup}</g>`;
  const at = (far) => pieces.map((piece) => ({ ...piece, shape: place(piece.shape, far), paint: place(piece.paint, far), relief: place(piece.relief, far), seams: place(piece.seams, far) }));
  return [...at(true), ...at(false)];
}

const laces = (points, colour) => points.map(([x, y, dx = 24, dy = 11]) => line(`M${x} ${y} l${dx} ${dy}`, 6, colour)).join('');

function sneakers(o) {
  const colour = base(o.colour);
  const fabric = FABRICS.smoothLeather;
  const sole = base(o.sole ?? '#f3f1ea');
  const upper = 'M30 206 C22 166 52 146 104 136 C150 126 184 98 214 64 C222 54 238 50 250 56 L262 70 C290 92 330 88 356 62 C368 50 388 58 392 82 C398 120 404 160 404 206 Z';
  const tongue = 'M196 84 C206 52 226 34 246 36 C262 38 268 54 264 74 L236 104 Z';
  const lining = 'M248 60 C286 92 332 88 358 62 C372 52 380 60 372 74 C340 108 286 112 244 84 Z';
  const accent = o.second ? base(o.second) : colour.map((part) => part * 0.86);
  return pair([
    { shape: path(tongue), colour, fabric, round: 8, high: 9, shadow: 0.2 },
    { shape: path(upper), colour, fabric, round: 24, high: 26, shadow: 0.45, seams: line('M112 136 C140 160 156 186 160 206', 1.8, '#000') + line('M212 70 C236 108 262 140 310 150 C350 158 384 148 402 140', 1.8, '#000') + line('M128 132 C160 140 200 150 240 112', 1.6, '#000'), paint: [[64, 172], [78, 166], [92, 161], [70, 184], [86, 178]].map(([x, y]) => circle(x, y, 2, '#000', 'opacity="0.3"')).join('') },
    { shape: path(lining), colour: colour.map((part) => part * 0.55), fabric: FABRICS.lining, round: 5, high: -3, shadow: 0 },
    { shape: path('M358 66 C376 52 392 62 394 92 L398 132 C380 134 362 126 356 110 Z'), colour: accent, fabric, round: 7, high: 6, shadow: 0.25 },
    { shape: laces([[150, 112], [168, 98], [184, 82], [198, 66]], '#fff'), colour: base(o.lace ?? '#fbfaf6'), fabric: FABRICS.rubber, round: 3, high: 4, shadow: 0.45 },
    { shape: path('M24 190 C14 214 16 238 34 244 H396 C412 242 416 216 406 190 C300 206 120 208 24 190 Z'), colour: sole, fabric: FABRICS.rubber, round: 9, high: 9, shadow: 0.35, seams: line('M22 206 C120 222 300 220 410 206', 1.6, '#000') },
  ]);
}

function runners(o) {
  const colour = base(o.colour);
  const second = base(o.second ?? '#bfc3c7');
  const upper = 'M26 196 C18 160 48 140 98 130 C146 120 180 92 208 60 C218 50 236 46 248 54 L260 68 C288 92 332 84 360 50 C376 40 392 52 396 78 C402 116 410 150 410 200 Z';
  const sole = 'M18 190 C6 214 10 246 36 250 C70 256 110 246 150 246 C220 248 300 262 392 256 C424 252 428 218 414 188 C330 214 110 214 18 190 Z';
  const grip = 'M16 226 C10 244 20 254 40 256 C70 262 110 252 150 252 C220 254 300 268 392 262 C412 260 420 246 422 230 L420 244 C400 256 300 254 220 246 C130 240 60 250 16 226 Z';
  return pair([
    { shape: path('M192 80 C202 44 224 26 246 30 C262 32 268 50 262 72 L234 102 Z'), colour: second, fabric: FABRICS.sport, round: 8, high: 9, shadow: 0.2 },
    { shape: path(upper), colour, fabric: FABRICS.sport, round: 24, high: 24, shadow: 0.45 },
    { shape: path('M246 58 C286 92 336 84 362 52 C376 44 384 54 374 72 C340 108 284 110 242 82 Z'), colour: colour.map((part) => part * 0.5), fabric: FABRICS.lining, round: 5, high: -3, shadow: 0 },
    { shape: path('M24 198 C16 164 44 142 90 132 C104 150 118 176 124 204 Z'), colour: colour.map((part) => part * 0.82), fabric: FABRICS.suede, round: 9, high: 7, shadow: 0.3 },
    { shape: path('M140 122 C176 106 196 80 212 58 L250 92 C232 130 214 160 196 206 L150 206 C166 176 160 150 140 122 Z'), colour: second, fabric: FABRICS.suede, round: 8, high: 6, shadow: 0.3 },
    { shape: path('M300 206 C296 160 320 118 360 96 L392 66 C404 110 410 160 410 206 Z'), colour: colour.map((part) => part * 0.82), fabric: FABRICS.suede, round: 9, high: 7, shadow: 0.3 },
    { shape: path('M206 200 C226 170 250 140 292 130 L316 142 C290 160 262 180 246 204 Z'), colour: base('#eceef0'), fabric: FABRICS.smoothLeather, round: 6, high: 6, shadow: 0.3 },
    { shape: laces([[148, 110], [166, 96], [182, 80], [196, 62]], '#fff'), colour: base('#f2f2ef'), fabric: FABRICS.rubber, round: 3, high: 4, shadow: 0.45 },
    { shape: path(sole), colour: base('#f1f1ee'), fabric: FABRICS.rubber, round: 11, high: 12, shadow: 0.35, seams: line('M16 212 C120 236 300 240 418 214', 2, '#000') },
    { shape: path(grip), colour: base('#4a4d51'), fabric: FABRICS.rubber, round: 4, high: 4, shadow: 0.2 },
  ]);
}

function loafers(o) {
  const colour = base(o.colour);
  const fabric = FABRICS[o.fabric ?? 'suede'];
  const upper = 'M24 206 C14 174 44 154 98 144 C150 134 186 116 216 96 C232 88 244 92 250 104 C276 140 336 138 372 92 C382 82 396 90 398 108 L406 206 Z';
  return pair([
    { shape: path('M214 98 C240 66 340 66 376 90 C392 104 380 122 360 134 C310 156 250 146 214 98 Z'), colour: colour.map((part) => part * 0.5), fabric: FABRICS.lining, round: 6, high: 3, shadow: 0, paint: '<path d="M270 118 h54 v14 h-54 Z" fill="#c9a877" opacity="0.55"/>' },
    { shape: path(upper), colour, fabric, round: 24, high: 26, shadow: 0.45, seams: line('M44 176 C70 154 130 150 180 138 C196 134 208 120 214 106', 2.6, '#000') + line('M374 98 C366 130 366 170 370 204', 1.8, '#000') },
    { shape: path('M44 178 C66 152 134 150 178 136 C192 130 204 116 212 102 C228 118 214 150 186 160 C140 174 84 172 44 178 Z'), colour: colour.map((part) => part * 1.04), fabric, round: 7, high: 5, shadow: 0.2 },
    { shape: path('M150 142 C170 132 190 116 208 98 L244 112 C236 150 220 180 204 206 L164 206 C176 180 172 160 150 142 Z'), colour, fabric, round: 7, high: 7, shadow: 0.42, seams: line('M168 206 C180 180 176 162 158 146 M236 112 C230 148 214 178 198 206', 1.5, '#000'), paint: line('M192 152 l22 7', 5, tone(o.colour, 0.45)) },
    { shape: path('M20 198 C14 210 16 220 26 222 H404 C412 220 412 208 408 198 C300 210 120 210 20 198 Z'), colour: base('#3a2a20'), fabric: FABRICS.smoothLeather, round: 5, high: 5, shadow: 0.3 },
    { shape: path('M304 218 H406 L402 246 H310 Z'), colour: base('#2c211b'), fabric: FABRICS.rubber, round: 4, high: 4, shadow: 0.2 },
  ], { y: 320 });
}

function derbies(o) {
  const colour = base(o.colour);
  const fabric = FABRICS.leather;
  const smooth = { ...FABRICS.smoothLeather, shine: 0.26, hardness: 18 };
  const upper = 'M22 208 C12 174 44 152 100 144 C150 136 184 112 212 80 C222 70 236 70 244 78 C280 104 338 100 366 66 C380 58 394 68 396 92 L406 208 Z';
  return pair([
    { shape: path('M194 92 C208 64 226 56 242 60 L262 90 L238 116 Z'), colour, fabric, round: 7, high: 7, shadow: 0.2 },
    { shape: path(upper), colour, fabric: smooth, round: 24, high: 27, shadow: 0.45, seams: line('M92 146 C112 160 122 184 124 206', 2, '#000') + line('M368 70 C360 110 360 160 366 206', 1.8, '#000') },
    { shape: path('M238 78 C280 106 340 100 366 68 C380 60 386 70 376 84 C342 118 280 120 234 96 Z'), colour: colour.map((part) => part * 0.45), fabric: FABRICS.lining, round: 5, high: -3, shadow: 0 },
    { shape: path('M150 134 C180 118 198 96 214 78 L252 100 C290 130 320 150 330 206 L190 206 C190 176 176 152 150 134 Z'), colour, fabric: smooth, round: 8, high: 7, shadow: 0.4, seams: line('M160 136 C190 154 204 180 204 204', 1.6, '#000'), paint: [[172, 130], [188, 117], [202, 103], [214, 90]].map(([x, y]) => circle(x + 10, y + 8, 2.6, '#000', 'opacity="0.6"')).join('') },
    { shape: laces([[164, 120, 22, 12], [180, 106, 22, 12], [195, 91, 22, 12]], '#fff'), colour: base(tone(o.colour, 0.5)), fabric: FABRICS.rubber, round: 3, high: 4, shadow: 0.45 },
    { shape: path('M16 198 C8 212 12 224 24 226 H408 C416 224 416 208 410 198 C300 212 120 212 16 198 Z'), colour: base('#2b1e19'), fabric: FABRICS.smoothLeather, round: 5, high: 6, shadow: 0.35, paint: stitched('M22 207 C120 220 300 219 408 207', '#b8946a', 1.8) },
    { shape: path('M306 222 H408 L404 250 H312 Z'), colour: base('#231a16'), fabric: FABRICS.rubber, round: 4, high: 4, shadow: 0.2 },
  ], { y: 310 });
}

function chelseas(o) {
  const colour = base(o.colour);
  const fabric = { ...FABRICS.smoothLeather, shine: 0.2 };
  const boot = 'M22 300 C12 264 44 242 100 232 C156 222 200 190 210 150 C218 116 214 70 212 36 Q290 20 372 36 C378 90 384 130 390 180 C396 220 404 260 406 300 Z';
  return pair([
    { shape: path('M212 40 Q290 8 372 40 Q290 62 212 40 Z'), colour: colour.map((part) => part * 0.5), fabric: FABRICS.lining, round: 4, high: 2, shadow: 0 },
    { shape: line('M300 44 C296 10 318 10 316 44', 11), colour, fabric, round: 4, high: 4, shadow: 0.2 },
    { shape: path(boot), colour, fabric, round: 26, high: 26, shadow: 0.45, relief: valleys(['M196 214 Q236 224 262 206', 'M208 180 Q240 196 270 186'], 7, 0.6) + ridges(['M180 236 Q226 246 264 226'], 8, 0.5), seams: line('M212 40 Q290 56 372 40', 1.6, '#000') },
    { shape: path('M258 44 C262 110 268 150 276 198 Q292 214 308 198 C318 150 326 110 330 44 Q294 52 258 44 Z'), colour: colour.map((part) => part * 0.8), fabric: FABRICS.broadRib, round: 5, high: 4, shadow: 0.2 },
    { shape: path('M18 290 C10 306 12 318 24 320 H406 C414 318 414 302 408 290 C300 304 120 304 18 290 Z'), colour: base('#242424'), fabric: FABRICS.rubber, round: 5, high: 6, shadow: 0.3 },
    { shape: path('M300 316 H408 L406 344 H306 Z M22 318 H210 L206 328 H40 Z'), colour: base('#1d1d1d'), fabric: FABRICS.rubber, round: 4, high: 4, shadow: 0.2 },
  ], { y: 300, lift: 180, shift: 66, size: 1.08 });
}

function pumps(o) {
  const colour = base(o.colour);
  const fabric = { ...FABRICS.smoothLeather, shine: 0.24 };
  const upper = 'M22 262 C10 240 40 222 92 212 C120 206 140 196 158 182 C172 200 208 204 250 176 C300 142 340 96 366 74 C384 66 396 82 396 104 C398 150 394 180 384 204 C340 214 280 226 220 250 C160 270 80 274 22 262 Z';
  return pair([
    { shape: path('M158 184 C214 168 300 80 368 72 C388 76 380 100 356 112 C300 150 250 206 200 206 C180 206 166 200 158 184 Z'), colour: base('#b78f68'), fabric: FABRICS.lining, round: 6, high: 3, shadow: 0 },
    { shape: path('M336 190 L392 172 C390 220 386 270 384 318 H322 C332 270 336 230 336 190 Z'), colour, fabric, round: 9, high: 9, shadow: 0.2 },
    { shape: path(upper), colour, fabric, round: 20, high: 22, shadow: 0.45 },
    { shape: path('M20 256 C60 270 160 266 220 248 C280 226 330 212 346 208 L346 218 C310 226 270 244 226 262 C160 284 60 284 26 272 Z'), colour: base('#2a211d'), fabric: FABRICS.rubber, round: 3, high: 3, shadow: 0.2 },
    { shape: '<rect x="321" y="308" width="64" height="12" rx="3"/>', colour: base('#221c19'), fabric: FABRICS.rubber, round: 3, high: 3, shadow: 0.2 },
  ], { y: 270, lift: 150, shift: 60, size: 1.14 });
}

/** From above, left and right beside each other. */
function sandals(o) {
  const colour = base(o.colour);
  const leather = FABRICS.smoothLeather;
  const footbed = 'M168 150 C210 128 262 150 268 214 C274 276 256 330 258 400 C260 470 262 540 242 590 C226 626 170 626 152 590 C128 540 134 470 134 410 C132 330 116 230 140 178 C148 164 158 156 168 150 Z';
  const straps = ['M136 246 Q196 200 262 238', 'M136 286 Q196 326 260 268', 'M142 430 Q196 362 254 424', 'M150 478 Q196 440 250 472'];
  const shoe = (flip) => {
    const place = (markup) => {
      const moved = `<g transform="translate(-4 26) rotate(-4 200 400)">${markup}</g>`;
      return flip ? mirrored(moved) : moved;
    };
    return [
      { shape: place(`<g transform="translate(-4 5)">${path(footbed)}</g>`), colour: base('#4a3122'), fabric: FABRICS.rubber, round: 6, high: 6, shadow: 0 },
      { shape: place(path(footbed)), colour: base(tone(o.colour, 1.35)), fabric: leather, round: 12, high: 8, shadow: 0, seams: place(line('M170 160 C208 140 254 160 259 216 C264 276 247 330 249 400 C251 470 252 536 236 582 C222 614 174 614 160 582 C138 536 143 470 143 410 C141 330 126 236 148 186', 1.5, '#000')), relief: place(valleys(['M196 480 Q196 540 196 560'], 60, 0.25)) },
      { shape: place(straps.map((d) => line(d, 20)).join('')), colour, fabric: leather, round: 7, high: 9, shadow: 0.5 },
      { shape: place(line('M196 232 Q204 330 196 420', 13, '#fff', 'stroke-linecap="butt"')), colour, fabric: leather, round: 5, high: 6, shadow: 0.45 },
      { shape: place('<rect x="126" y="416" width="22" height="26" rx="4" fill="none" stroke="#fff" stroke-width="4.5"/>'), colour: base('#c9a96a'), fabric: FABRICS.metal, round: 2, high: 4, shadow: 0.5 },
    ];
  };
  return [...shoe(false), ...shoe(true)];
}

// ---------------------------------------------------------------- accessories

function belt(o) {
  const colour = base(o.colour);
  const metal = base(o.second ?? '#bfc3c7');
  const leather = { ...FABRICS.smoothLeather, shine: 0.2 };
  const loop = 'M300 236 C450 236 520 316 520 412 C520 508 440 584 300 584 C160 584 80 508 80 412 C80 316 150 236 262 236';
  const end = 'M262 236 C330 236 392 244 440 270';
  const holes = [[330, 240], [354, 243], [378, 248], [402, 255], [424, 263]].map(([x, y]) => `<ellipse cx="${x}" cy="${y}" rx="3.2" ry="3.6" fill="#000" opacity="0.65"/>`).join('');
  return [
    { shape: line(loop, 46, '#fff', 'stroke-linecap="butt"'), colour: colour.map((part) => part * 0.9), fabric: leather, round: 11, high: 10, shadow: 0, paint: stitched('M300 254 C440 254 502 324 502 412 C502 498 430 566 300 566 C170 566 98 498 98 412 C98 324 168 254 262 254', tone(o.colour, 1.35)) + stitched('M300 218 C460 218 538 308 538 412 C538 518 450 602 300 602 C150 602 62 518 62 412 C62 308 140 218 262 218', tone(o.colour, 1.35)) },
    { shape: line(end, 46, '#fff') , colour, fabric: leather, round: 11, high: 11, shadow: 0.5, paint: holes + stitched('M200 218 C330 218 400 228 452 256', tone(o.colour, 1.35)) + stitched('M200 254 C330 254 390 262 430 284', tone(o.colour, 1.35)) },
    { shape: `<rect x="214" y="200" width="66" height="74" rx="10" fill="none" stroke="#fff" stroke-width="10"/>`, colour: metal, fabric: FABRICS.metal, round: 4, high: 8, shadow: 0.55 },
    { shape: line('M216 237 L286 236', 7), colour: metal, fabric: FABRICS.metal, round: 3, high: 5, shadow: 0.5 },
    { shape: `<rect x="300" y="206" width="20" height="62" rx="4"/>`, colour, fabric: leather, round: 5, high: 6, shadow: 0.5 },
  ];
}

function bag(o) {
  const colour = base(o.colour);
  const leather = { ...FABRICS.leather, wrinkles: { amount: 1.4, across: 70, along: 80, ridged: 0.4 }, shine: 0.16 };
  const strap = 'M170 424 C120 250 190 100 300 100 C410 100 480 250 430 424';
  const metal = { colour: base('#c9b078'), fabric: FABRICS.metal, round: 3, high: 5, shadow: 0.5 };
  return [
    { shape: line(strap, 17, '#fff', 'stroke-linecap="butt"'), colour, fabric: leather, round: 6, high: 7, shadow: 0, paint: stitched('M178 424 C128 254 194 108 300 108 C406 108 472 254 422 424', tone(o.colour, 2)) },
    { ...metal, shape: circle(170, 420, 13, 'none', 'stroke="#fff" stroke-width="6"') + circle(430, 420, 13, 'none', 'stroke="#fff" stroke-width="6"') },
    { shape: path('M150 430 Q144 400 176 400 H424 Q456 400 450 430 L470 640 Q474 690 426 694 H174 Q126 690 130 640 Z'), colour, fabric: leather, round: 24, high: 22, shadow: 0.35, relief: valleys(['M170 680 Q180 600 168 520', 'M430 680 Q420 600 434 520'], 14, 0.35) },
    { shape: path('M148 432 Q142 398 176 396 H424 Q458 398 452 432 L458 500 Q462 556 400 566 Q300 582 200 566 Q138 556 142 500 Z'), colour, fabric: leather, round: 14, high: 12, shadow: 0.5, paint: stitched('M152 440 L150 500 Q148 546 202 557 Q300 572 398 557 Q452 546 450 500 L448 440', tone(o.colour, 2)) },
    { ...metal, shape: '<rect x="280" y="540" width="40" height="46" rx="6"/>' },
    { ...metal, shape: '<rect x="294" y="552" width="12" height="20" rx="3"/>', colour: base('#8a7648'), high: 3 },
  ];
}

function beanie(o) {
  const colour = base(o.colour);
  const dome = 'M140 520 C120 330 190 170 300 166 C410 170 480 330 460 520 Q300 556 140 520 Z';
  const cuff = 'M126 486 Q300 528 474 486 Q486 560 474 626 Q300 668 126 626 Q114 560 126 486 Z';
  const fan = [];
  for (let step = -7; step <= 7; step++) fan.push(`M${300 + step * 3} 186 Q${300 + step * 18} 300 ${300 + step * 22} 530`);
  const ribs = (list, width) => valleys(list, width, 0.75);
  const straight = [];
  for (let step = -8; step <= 8; step++) straight.push(`M${300 + step * 20.5} ${500 + (64 - step * step) * 0.4} L${300 + step * 20.5} ${640 + (64 - step * step) * 0.4}`);
  return [
    { shape: path(dome), colour, fabric: FABRICS.knit, round: 30, high: 40, soft: 3, relief: ribs(fan, 6) },
    { shape: path(cuff), colour, fabric: FABRICS.knit, round: 16, high: 20, soft: 3, shadow: 0.5, relief: ribs(straight, 6), paint: o.label === false ? '' : `<rect x="276" y="566" width="48" height="30" rx="2" fill="${tone(o.colour, 1.9)}"/><rect x="284" y="578" width="32" height="4" fill="${tone(o.colour, 0.7)}"/>` },
  ];
}

function scarf(o) {
  const colour = base(o.colour);
  const fabric = FABRICS.silk;
  const [first, second] = [o.second ?? '#1f2a44', '#efe2c8'];
  let motif = '';
  for (let row = -6; row <= 6; row++) {
    for (let column = -6; column <= 6; column++) {
      const [x, y] = [300 + column * 62 + (row & 1) * 31, 400 + row * 54];
      motif += `<g transform="translate(${x} ${y}) rotate(${(row * 37 + column * 53) % 360})"><path d="M0 -19 C15 -13 15 9 0 19 C-11 12 -13 -3 -3 -9 C5 -11 7 -1 1 3" fill="none" stroke="${second}" stroke-width="3.2"/><circle cx="0" cy="24" r="2.6" fill="${first}"/><circle cx="12" cy="16" r="2.2" fill="${first}"/></g>`;
    }
  }
  const frame = (inset, width, stroke) => `<rect x="${60 + inset}" y="${160 + inset}" width="${480 - inset * 2}" height="${480 - inset * 2}" fill="none" stroke="${stroke}" stroke-width="${width}" rx="3"/>`;
  const paint = `<g transform="rotate(7 300 400)">${motif}${frame(18, 38, first)}${frame(42, 4, second)}${frame(54, 2.5, first)}${frame(18, 3, second)}</g>`;
  const body = 'M70 172 Q300 158 532 168 Q544 400 536 632 Q300 648 66 636 Q56 400 70 172 Z';
  const cut = '<g transform="rotate(7 300 400)">' + path(body) + '</g>';
  const flows = valleys(['M90 260 Q280 330 520 290', 'M110 520 Q300 440 500 560', 'M220 150 Q260 380 200 650'], 18, 0.5) + ridges(['M90 300 Q280 372 520 330', 'M110 560 Q300 490 500 600', 'M250 150 Q296 380 240 650'], 18, 0.5);
  const corner = 'M536 560 L548 668 Q470 640 428 650 Z';
  return [
    { shape: cut, colour, fabric, paint, round: 10, high: 8, soft: 10, relief: flows },
    { shape: `<g transform="rotate(7 300 400) translate(-14 -22)">${path(corner)}</g>`, colour: base(first).map((part) => Math.min(part * 1.2, 1)), fabric, round: 8, high: 10, shadow: 0.5 },
  ];
}

/** Every kind of garment that can be drawn, by its name. */
export const GARMENTS = {
  tee, shirt, polo, wrapTop, sweater, cardigan, vest, blazer, coat, trench, overshirt, leatherJacket, puffer, rainJacket,
  trousers, skirt, slipDress, shirtDress, wrapDress, sneakers, runners, loafers, derbies, chelseas, pumps, sandals, belt, bag, beanie, scarf,
};
