// One page about one case, for the printer or a PDF.

import { $, element } from './dom.js';
import { KINDS } from './kinds/index.js';
import { compose, drawn } from './pictures.js';
import { cautions, facts } from './remarks.js';

export function printReport(one, view) {
  $('report').replaceChildren(...contents(one, view));
  window.print();
}

export function contents(one, view) {
  const kind = KINDS[one.model.target.kind];
  const judged = one.verdict ? `${one.verdict}${one.comment ? `: ${one.comment}` : ''}` : one.comment || 'none yet';
  return [
    element('p', { class: 'badge' }, 'Research use only'),
    element('h1', {}, 'Case report'),
    element('p', { class: 'lead' }, `${one.name} · ${one.model.name}, Medloom ${one.model.model.medloom} · ${one.time.toLocaleString('en')}`),
    ...(one.phantom ? [element('p', { class: 'callout' }, 'This model learned from phantoms. Its answers mean nothing for people.')] : []),
    element('div', { class: 'pair' }, ...pictures(one, view)),
    element('h2', {}, 'Answer'),
    element('p', {}, element('strong', {}, kind.headline(one))),
    ...cautions(one, view.slice),
    ...[kind.figures(one, view.slice)].flat(),
    facts(one, view.slice),
    element('h2', {}, 'Judgement of the reader'),
    element('p', {}, judged),
    element('p', { class: 'note' }, 'Made by a model for research. It is no diagnosis, and Medloom is no medical device.'),
  ];
}

function pictures(one, view) {
  const where = drawn(one.picture).depth > 1 ? `, slice ${view.slice + 1}` : '';
  const plain = figure(one, { ...view, mask: false, outline: false, heat: false }, `The image${where}`);
  return one.layers.mask ? [plain, figure(one, view, `The answer on it${where}`)] : [plain];
}

function figure(one, view, caption) {
  const canvas = compose({ picture: one.picture, ...one.layers }, view);
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', caption);
  canvas.style.aspectRatio = String(aspect(one.picture));
  return element('figure', {}, canvas, element('figcaption', {}, caption));
}

function aspect(picture) {
  const [, down, right] = picture.spacing_mm ?? [1, 1, 1];
  const { height, width } = drawn(picture);
  return (width * right) / (height * down);
}
