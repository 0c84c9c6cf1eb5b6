// Fields for the metadata that a model takes.

import { $, element } from './dom.js';

export function drawFields({ metadata }) {
  $('metadata').hidden = metadata.length === 0;
  $('metadata').replaceChildren(element('legend', {}, 'Metadata'), ...metadata.map(field),
    ...(metadata.length ? [element('p', { class: 'note' }, 'Given with each image from now on. What you leave empty counts as not known.')] : []));
}

// Values by column, as far as they were given.
export function given() {
  const fields = [...$('metadata').querySelectorAll('[data-column]')].filter((one) => one.value !== '');
  return Object.fromEntries(fields.map((one) => [one.dataset.column, one.type === 'number' ? one.valueAsNumber : one.value]));
}

function field({ column, type, range, categories }, at) {
  const id = `metadata-${at}`;
  const input = type === 'number'
    ? element('input', { id, type: 'number', step: 'any' })
    : element('select', { id }, element('option', { value: '' }, 'not known'), ...categories.map((one) => element('option', { value: one }, one)));
  input.dataset.column = column;
  const seen = range ? element('span', { class: 'note' }, `training saw ${range[0]} to ${range[1]}`) : null;
  return element('p', {}, element('label', { htmlFor: id }, column), ' ', input, ' ', seen);
}
