// Answers with a number for each target.

import { element, number } from '../dom.js';

export const accept = 'application/json';
export const read = () => ({});
export const heat = async () => null;
export const noHeat = () => '';
export const downloads = () => [];

export const headline = ({ answer }) => (answer.slices ? `${answer.slices.length} slices were looked at one by one; each has its own answer.` : `${said(answer)}.`);

export function figures({ answer }, slice) {
  const one = answer.slices ? answer.slices[slice] : answer;
  const rows = Object.entries(one.values).map(([name, value]) => element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, number(value, 4))));
  const head = element('tr', {}, ...['Target', 'Value'].map((text) => element('th', { scope: 'col' }, text)));
  return [element('table', {}, element('caption', {}, answer.slices ? `Values of slice ${slice + 1}` : 'Values'), element('thead', {}, head), element('tbody', {}, ...rows))];
}

export function slices({ answer }) {
  if (!answer.slices) return null;
  const [name] = Object.keys(answer.slices[0].values);
  return { counts: answer.slices.map((one) => one.values[name]), what: name };
}

export const row = ({ answer }) => ({ result: said(answer.slices?.[0] ?? answer), probability: '', pixels: '', size: '' });

const said = ({ values }) => Object.entries(values).map(([name, value]) => `${name} ${number(value, 4)}`).join(', ');
