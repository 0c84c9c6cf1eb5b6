// Answers with a probability for each class or label of the whole image.

import { drawing, element, percent, scrolled } from '../dom.js';

export const accept = 'application/json';
export const read = () => ({});
export const heat = async () => null;
export const noHeat = () => '';
export const downloads = () => [];

export function headline({ answer }) {
  return answer.slices ? counted(answer.slices) : `${decided(answer)}.`;
}

export function figures({ answer }, slice) {
  const one = answer.slices ? answer.slices[slice] : answer;
  const heading = answer.slices ? [element('p', {}, element('strong', {}, `Slice ${slice + 1}: ${decided(one)}`))] : [];
  return [...heading, bars(one)];
}

// Probability of the last class in each slice: of two classes the one that the threshold is for.
export function slices({ answer }) {
  if (!answer.slices) return null;
  const name = answer.slices[0].classes.at(-1);
  return { counts: answer.slices.map((one) => one.probabilities[name]), what: `probability of ${name}` };
}

export function row({ answer }) {
  const one = answer.slices ? strongest(answer.slices) : answer;
  const names = [one.decision].flat();
  const share = Math.max(...(names.length ? names : one.classes).map((name) => one.probabilities[name]));
  return { result: names.join(' + ') || 'none of the labels', probability: share, pixels: '', size: '' };
}

// In how many slices each class was decided.
function counted(all) {
  const names = all[0].classes.map((name) => [name, all.filter(({ decision }) => [decision].flat().includes(name)).length]);
  const said = names.filter(([, count]) => count).map(([name, count]) => `${name} in ${count}`);
  return `${all.length} slices, each by itself: ${said.join(', ') || 'no label in any'}.`;
}

function strongest(all) {
  const name = all[0].classes.at(-1);
  return all.reduce((best, one) => (one.probabilities[name] > best.probabilities[name] ? one : best));
}

function decided(answer) {
  const { classes, decision, operating_point: { thresholds }, probabilities } = answer;
  if (thresholds.length === 1) return `${decision}: ${classes[1]} has ${percent(probabilities[classes[1]])}, and counts from ${percent(thresholds[0])}`;
  const names = [answer.decision].flat();
  if (!names.length) return 'None of the labels reaches its threshold';
  return names.map((name) => `${name} (${percent(answer.probabilities[name])})`).join(', ');
}

// A bar for each class with the operating point on it.
function bars(answer) {
  const on = new Set([answer.decision].flat());
  const rows = answer.classes.map((name, at) => {
    const share = answer.probabilities[name];
    const limit = limitOf(answer, at);
    return element('tr', { class: on.has(name) ? 'decided' : '' },
      element('th', { scope: 'row' }, name, on.has(name) ? element('span', { class: 'tag' }, 'decided') : null),
      element('td', {}, percent(share)),
      element('td', { class: 'bar-cell' }, bar(share, limit)),
      element('td', {}, limit === null ? '' : `from ${percent(limit)}`));
  });
  const point = answer.operating_point.thresholds.length ? 'The line is the operating point: from there on the answer is yes.' : 'The likeliest class is decided.';
  const head = element('tr', {}, ...['Class', 'Probability', '', 'Operating point'].map((text, at) => element(at === 2 ? 'td' : 'th', at === 2 ? {} : { scope: 'col' }, text)));
  const table = element('table', { class: 'bars' }, element('caption', {}, 'Probability of each class'), element('thead', {}, head), element('tbody', {}, ...rows));
  return element('div', {}, scrolled('Probabilities of the classes', table), element('p', { class: 'note' }, point));
}

// Thresholds are for the second of two classes, or for each label.
function limitOf({ operating_point: { thresholds }, classes }, at) {
  if (thresholds.length === classes.length) return thresholds[at];
  return thresholds.length === 1 && at === 1 ? thresholds[0] : null;
}

function bar(share, limit) {
  const marks = limit === null ? [] : [drawing('line', { x1: limit * 100, x2: limit * 100, y1: 0, y2: 10, class: 'limit' })];
  return drawing('svg', { viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true', class: 'bar-chart' },
    drawing('rect', { x: 0, y: 2, width: 100, height: 6, class: 'rest' }), drawing('rect', { x: 0, y: 2, width: share * 100, height: 6, class: 'share' }), ...marks);
}
