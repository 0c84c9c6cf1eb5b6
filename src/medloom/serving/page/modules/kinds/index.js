// One file for each family of answers; nothing else asks which kind there is.
//
// Each gives: accept → what is asked for; read(case) → what is laid on the picture; headline(case) → a sentence; figures(case) → elements;
// slices(case) → a number for each slice, or null; row(case) → cells of the work list;
// heat(case, slice) → what is laid on the picture as a heat map; noHeat(case) → why there is none.

import * as labels from './labels.js';
import * as masks from './masks.js';
import * as numbers from './numbers.js';

export const KINDS = { masks, binary: labels, 'multi-class': labels, 'multi-label': labels, regression: numbers };
