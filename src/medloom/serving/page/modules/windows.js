// Which values are shown as black and which as white.

const SHARES = [0.005, 0.995];
const MOST = 200_000;

const CT = [
  ['Brain', 40, 80], ['Subdural', 75, 215], ['Soft tissue', 50, 400], ['Liver', 60, 160],
  ['Mediastinum', 40, 350], ['Lung', -600, 1500], ['Bone', 480, 2500],
];

// What can be chosen for one channel of a picture: { name, level, width } each, the best first.
export function presets(picture, channel) {
  const values = sample(picture, channel);
  const last = values.length - 1;
  const between = (name, low, high) => ({ name, level: (low + high) / 2, width: Math.max(high - low, 1e-6) });
  const full = between('All values', values[0], values[last]);
  const middle = between('99 % of the values', values[Math.round(SHARES[0] * last)], values[Math.round(SHARES[1] * last)]);
  const own = picture.window ? [{ name: 'As the file says', level: picture.window[0], width: picture.window[1] }] : [];
  const bytes = picture.data instanceof Uint8Array ? [between('0 to 255', 0, 255)] : [];
  const ct = values[0] <= -500 ? CT.map(([name, level, width]) => ({ name: `CT: ${name}`, level, width })) : [];
  return [...own, ...bytes, middle, full, ...ct];
}

// Values of a channel in order; of a large picture some that are evenly spread.
function sample({ data, channels }, channel) {
  const pixels = data.length / channels;
  const stride = Math.max(1, Math.ceil(pixels / MOST));
  const values = new Float64Array(Math.ceil(pixels / stride));
  for (let at = 0; at < values.length; at += 1) values[at] = data[at * stride * channels + channel];
  return values.sort();
}
