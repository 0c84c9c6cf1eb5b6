// Whether an image is far from those that the model learned from, in which case its answer is worth little.

// What an answer says of it: { score, flagged }, of a volume the highest score; nothing where the model cannot say.
export function noveltyOf({ out_of_distribution: whole, slices }) {
  if (whole || !Array.isArray(slices)) return whole;
  const known = slices.map((one) => one.out_of_distribution).filter(Boolean);
  return known.length ? { score: Math.max(...known.map((one) => one.score)), flagged: known.some((one) => one.flagged) } : undefined;
}

// Which slices of a volume are far, counted from 0.
export const farSlices = ({ out_of_distribution: whole, slices }) => whole?.slices ?? slices.flatMap((one, at) => (one.out_of_distribution?.flagged ? [at] : []));

// The same in a sentence; empty where there is nothing to say.
export function farSaid(answer) {
  if (!noveltyOf(answer)?.flagged) return '';
  if (!('slices' in answer)) return 'This image is far from those that the model learned from: its answer is worth little.';
  const count = Array.isArray(answer.slices) ? answer.slices.length : answer.slices;
  const far = farSlices(answer);
  if (far.length === count) return 'Every slice is far from the images that the model learned from: the answer is worth little.';
  return `Far from the images that the model learned from, so that the answer is worth little there: ${listed(far)}.`;
}

// Slices by their numbers for people, those in a row as one.
export function listed(slices) {
  const runs = [];
  for (const at of slices) {
    if (runs.at(-1)?.[1] === at - 1) runs.at(-1)[1] = at;
    else runs.push([at, at]);
  }
  const said = runs.map(([from, to]) => (from === to ? `${from + 1}` : `${from + 1} to ${to + 1}`)).join(', ');
  return `${slices.length === 1 ? 'slice' : 'slices'} ${said}`;
}
