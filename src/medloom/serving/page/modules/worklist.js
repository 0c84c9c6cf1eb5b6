// What was looked at in this session: a table, and the same as a file.

import { $, element, number, percent, save } from './dom.js';
import { noveltyOf } from './novelty.js';

const COLUMNS = ['image', 'model', 'phantom', 'answer', 'probability', 'pixels', 'size', 'far from training', 'distance from training', 'warnings', 'seconds', 'judgement', 'comment', 'looked at', 'error'];
const JUDGED = { accepted: 'accepted', rejected: 'rejected' };

// Draws the list; opening a row tells which case it is.
export function drawList(cases, current, open) {
  $('list-empty').hidden = cases.length > 0;
  $('list-scroll').hidden = $('list-tools').hidden = cases.length === 0;
  $('list').tBodies[0].replaceChildren(...cases.map((one) => rowOf(one, one === current, open)));
}

function rowOf(one, isCurrent, open) {
  const { result, probability, size } = one.row ?? {};
  const button = element('button', { type: 'button', class: 'link', onclick: () => open(one) }, one.name);
  if (isCurrent) button.setAttribute('aria-current', 'true');
  return element('tr', { class: isCurrent ? 'current' : '' },
    element('th', { scope: 'row' }, button),
    element('td', {}, one.model.name),
    element('td', { class: one.error ? 'refused' : '' }, one.error ? 'not answered' : result ?? 'waiting', far(one)[0] === 'yes' ? element('span', { class: 'tag warn' }, 'far from training') : null),
    element('td', {}, typeof probability === 'number' ? percent(probability) : ''),
    element('td', {}, size || (typeof one.row?.pixels === 'number' ? `${number(one.row.pixels)} px` : '')),
    element('td', {}, JUDGED[one.verdict] ?? ''),
    element('td', { class: 'comment' }, one.comment));
}

// Saves the list; it goes to the reader's own disk.
export function exportList(cases) {
  save(new Blob(['\ufeff', csv(cases)], { type: 'text/csv' }), 'medloom-looked-at.csv');
}

export function csv(cases) {
  const lines = cases.map((one) => [
    one.name, one.model.name, one.phantom ? 'yes' : 'no', one.row?.result ?? '', one.row?.probability ?? '', one.row?.pixels ?? '', one.row?.size ?? '',
    ...far(one), (one.answer?.warnings ?? []).join('; '), one.elapsed?.toFixed(3) ?? '', one.verdict, one.comment, one.time.toISOString(), one.error ?? '',
  ]);
  return [COLUMNS, ...lines].map((line) => line.map(cell).join(',')).join('\r\n') + '\r\n';
}

// Whether the image is far from those of the training, and how far; empty where the model cannot say.
function far({ answer }) {
  const found = answer && noveltyOf(answer);
  return found ? [found.flagged ? 'yes' : 'no', found.score] : ['', ''];
}

// Text that a spreadsheet would take for a formula gets an apostrophe before it.
function cell(value) {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
