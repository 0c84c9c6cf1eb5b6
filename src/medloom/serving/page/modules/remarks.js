// What an answer says beside its figures: how sure it is, what was odd about the image, how long it took.

import { element, number, percent, seconds } from './dom.js';
import { farSaid, listed, noveltyOf } from './novelty.js';

const EXPECTED = { dice: 'Expected overlap with an expert (Dice)', correct: 'How likely the answer is to be right' };

// Why to look twice, if there is a reason.
export function cautions(one, slice) {
  const said = [...doubts(one), ...gaps(part(one, slice)), ...warnings(one, slice).map(sentence)];
  if (!said.length) return [];
  return [element('div', { class: 'callout', role: 'note' }, element('h3', {}, 'Look twice'), element('ul', {}, ...said.map((text) => element('li', {}, text))))];
}

const warnings = (one, slice) => part(one, slice).warnings ?? [];

// The answer itself, or what it says of one slice.
const part = ({ answer }, slice) => (Array.isArray(answer.slices) ? answer.slices[slice] : answer);

function doubts({ answer }) {
  const { quality } = answer;
  const said = [farSaid(answer)].filter(Boolean);
  if (quality?.review && quality.slices) said.push(`A person is to look at ${listed(quality.slices)}: the model is not sure there.`);
  else if (quality?.review) said.push('A person is to look at this answer: the model is not sure.');
  return said;
}

function gaps({ metadata }) {
  if (!metadata) return [];
  const words = { missing: 'was not given', unknown: 'has a value that training never saw', outside: 'lies outside what training saw' };
  return Object.entries(words).flatMap(([key, text]) => (metadata[key] ?? []).map((column) => `${column.column ?? column} ${text}.`));
}

// Everything else, in a list.
export function facts(one, slice) {
  const { answer, model, picture, phantom } = one;
  const here = noveltyOf(part(one, slice));
  const said = [...expected(part(one, slice), slice), ...(here ? [['Distance from the training', distance(here)]] : []), ['Model', phantom ? `${model.name} (learned from phantoms)` : model.name], ['Time', times(one)],
    ['Picture', sized(picture)], ...(part(one, slice).notes ?? answer.notes ?? []).map((note) => ['Note', sentence(note)])];
  return element('dl', { class: 'facts' }, ...said.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

const STAGES = { read: 'reading', queue: 'queue', decode: 'decoding', prepare: 'preparing', predict: 'predicting', encode: 'writing' };

// How long the answer took, stage by stage; what is left was on its way, or waited.
function times({ elapsed, stages }) {
  const known = Object.entries(STAGES).filter(([name]) => name in stages);
  const whole = `${seconds(elapsed)} to the answer`;
  if (!known.length) return whole;
  const rest = Math.max(0, elapsed - known.reduce((sum, [name]) => sum + stages[name], 0));
  return `${whole}: ${[...known.map(([name, text]) => `${text} ${seconds(stages[name])}`), `on the way ${seconds(rest)}`].join(', ')}`;
}

const distance = ({ score, flagged }) => `${number(score)}${flagged ? ', which is far: the limit is 1' : ' of at most 1'}`;

// What was learned of images like those of the training says nothing of one that is far from them.
function expected({ quality, ...answer }, slice) {
  if (!quality) return [];
  const novelty = noveltyOf(answer);
  const far = novelty?.slices?.includes(slice) ?? novelty?.flagged;
  return Object.entries(EXPECTED).flatMap(([key, text]) => {
    const value = quality[key] ?? quality[`slices_${key}`]?.[slice];
    return value === undefined ? [] : [[text, far ? 'not known of such an image' : percent(value)]];
  });
}

function sized({ kind, depth, height, width, channels, spacing_mm: spacing, format, step }) {
  const size = kind === 'volume' ? `${depth} slices of ${width} × ${height}` : `${width} × ${height}`;
  const apart = spacing ? `, ${[...spacing].reverse().slice(0, kind === 'volume' ? 3 : 2).map((one) => one.toFixed(2)).join(' × ')} mm` : '';
  const seen = step > 1 ? `, shown at 1/${step} of its size` : '';
  return `${format.toUpperCase()}, ${size}${channels > 1 ? `, ${channels} channels` : ''}${apart}${seen}`;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
