// Answers with a class for each pixel.

import { element, number, percent, scrolled } from '../dom.js';
import { fromRuns, fromValues, outline } from '../masks.js';
import { readParts } from '../multipart.js';
import { readNifti } from '../nifti.js';
import { readNpy } from '../npy.js';
import { drawn, laid } from '../pictures.js';
import { Refusal } from '../server.js';

const NPY = 'application/x-npy';
const PNG = 'image/png';

// What is asked for at once: the mask of a volume is not in its JSON.
export const accept = 'multipart/mixed; forms=json; optional=nifti-gz';

// What is laid on the picture, out of the answer and what came beside it.
export function read({ answer, picture, beside }) {
  const whole = isVolume(answer) ? fromValues(readNifti(beside['nifti-gz']), answer.masks) : fromRuns(answer.masks, answer.height, answer.width);
  const { height, width } = drawn(picture);
  const mask = laid(whole, picture);
  return { mask, outline: outline(mask, height, width) };
}

// Foreground probability of each pixel of a slice, 255 for certainty, with those of the slices before.
export async function heat({ answer, picture, ask, layers }, slice) {
  const { depth, height, width } = drawn(picture);
  if (!isVolume(answer)) return foreground(await (await ask(NPY)).arrayBuffer(), picture);
  const parts = readParts(await (await ask('multipart/mixed; forms=json+npy', { page: String(slice) })).arrayBuffer());
  const alone = JSON.parse(new TextDecoder().decode(parts.json));
  if (alone.area_px !== slices({ answer }).counts[slice]) {
    throw new Refusal(`There is no heat map of slice ${slice + 1}: by itself it gets another answer than in the volume.`);
  }
  const all = layers.heat?.slice() ?? new Uint8Array(depth * height * width);
  all.set(foreground(parts.npy, { ...picture, depth: 1 }), slice * height * width);
  return all;
}

function foreground(npy, picture) {
  const { shape, data } = readNpy(npy);
  const sure = new Uint8Array(shape[1] * shape[2]);
  for (let at = 0; at < sure.length; at += 1) sure[at] = Math.round(255 * (shape[0] === 1 ? data[at] : 1 - data[at]));
  return laid(sure, picture);
}

// Why there is no heat map, if there is none.
export function noHeat({ answer, asked, model }) {
  if (!isVolume(answer)) return '';
  const kept = 'the server keeps no probabilities of a volume';
  if (model.context) return `No heat map: ${kept}, and this model answers no slice by itself.`;
  if (asked.isZip || asked.series !== '') return `No heat map of a series: ${kept}. Give one of its files to see that slice's.`;
  return '';
}

export function headline({ answer }) {
  if (!answer.foreground) return `Nothing was found. The largest probability of any ${cell(answer)} is ${percent(answer.probability)}.`;
  const found = answer.masks.filter((one) => one.area_px > 0).map((one) => `${one.class} ${size(one, answer)}`);
  return `Found: ${found.join('; ')}.`;
}

export function figures({ answer }) {
  const [measure, unit] = isVolume(answer) ? ['Volume', 'Voxels'] : ['Area', 'Pixels'];
  const measured = answer.masks.some(known);
  const columns = [
    ['Class', ({ class: name, index }) => [swatch(index), name]],
    [unit, (one) => [number(one.area_px)]],
    ...(measured ? [[measure, (one) => [known(one) ? number(real(one)) + unitOf(one) : 'not known']]] : []),
    ['Largest probability', (one) => [percent(one.probability)]],
    ...(answer.operating_point.thresholds ? [['Counts from', (one) => [percent(threshold(answer, one.index))]]] : []),
  ];
  const head = element('tr', {}, ...columns.map(([name]) => element('th', { scope: 'col' }, name)));
  const rows = answer.masks.map((one) => element('tr', {}, ...columns.map(([, cells], at) => (at ? element('td', {}, ...cells(one)) : element('th', { scope: 'row' }, ...cells(one))))));
  const table = element('table', {}, element('caption', {}, 'What was found, class by class'), element('thead', {}, head), element('tbody', {}, ...rows));
  const small = answer.operating_point.min_region_px;
  const notes = [
    answer.operating_point.thresholds ? null : `Operating point: a ${cell(answer)} counts from a probability of ${percent(answer.operating_point.threshold)}.`,
    measured ? null : `The file does not say how large a ${cell(answer)} is, so there is no ${measure.toLowerCase()} in ${isVolume(answer) ? 'millilitres' : 'square millimetres'}.`,
    small > 1 ? `Regions of fewer than ${small} pixels of the network's image are left out.` : null,
  ].filter(Boolean);
  return [scrolled('Figures of each class', table), ...notes.map((text) => element('p', { class: 'note' }, text))];
}

// Foreground voxels of each slice.
export function slices({ answer }) {
  if (!isVolume(answer)) return null;
  const counts = answer.masks.map((one) => one.slices_px);
  return { counts: counts[0].map((_, at) => counts.reduce((sum, one) => sum + one[at], 0)), what: 'voxels found' };
}

export function row({ answer }) {
  const measured = answer.masks.filter(known);
  return {
    result: answer.foreground ? answer.masks.filter((one) => one.area_px).map((one) => one.class).join(' + ') : 'nothing found',
    probability: answer.probability,
    pixels: answer.area_px,
    size: measured.length ? `${number(measured.reduce((sum, one) => sum + real(one), 0))}${unitOf(measured[0])}` : '',
  };
}

// Files that can be taken away: their media type, suffix and name.
export function downloads({ answer }) {
  return isVolume(answer)
    ? [['application/gzip', '_mask.nii.gz', 'Mask (NIfTI)']]
    : [[PNG, '_mask.png', 'Mask (PNG)'], [NPY, '_probabilities.npy', 'Probabilities (NPY)']];
}

const isVolume = (answer) => 'slices' in answer;
const cell = (answer) => (isVolume(answer) ? 'voxel' : 'pixel');
const real = (one) => one.area_mm2 ?? one.volume_ml;
const known = (one) => real(one) !== null && real(one) !== undefined;
const unitOf = (one) => ('volume_ml' in one ? ' ml' : ' mm²');
const size = (one, answer) => (known(one) ? `${number(real(one))}${unitOf(one)}` : `${number(one.area_px)} ${cell(answer)}s`);

const threshold = ({ operating_point: point }, index) => point.thresholds[index - 1];

function swatch(index) {
  const made = element('span', { class: 'swatch', 'aria-hidden': 'true' });
  made.style.background = CLASS_COLOURS[(index - 1) % CLASS_COLOURS.length];
  return made;
}
