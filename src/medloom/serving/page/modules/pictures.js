// A picture is what the server decoded: { kind, depth, height, width, channels, data, step, affine, … }. Height and
// width are those of the picture; where it is large, data has only every step-th row and column.

import { thin } from './masks.js';

// Smaller probabilities are not drawn on a heat map, whose 255 is certainty.
export const LEAST_HEAT = Math.round(0.05 * 255);

// Size of the arrays that are drawn.
export function drawn(picture) {
  const { depth, height, width, step } = picture;
  return { depth, height: Math.floor(height / step), width: Math.floor(width / step) };
}

// Whether three channels of bytes are shown as colours.
export const isColour = (picture) => picture.channels === 3 && picture.data instanceof Uint8Array;

// One channel by itself.
export function channelOf({ data, channels }, channel) {
  if (channels === 1) return data;
  const one = new data.constructor(data.length / channels);
  for (let at = 0, from = channel; at < one.length; at += 1, from += channels) one[at] = data[from];
  return one;
}

// Colours as bytes with a window applied.
export function windowed(data, { level, width }) {
  const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => share(value, level, width) * 255);
  const bytes = new Uint8Array(data.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = table[data[at]];
  return bytes;
}

// Where a value lies between black and white, 0 to 1.
export const share = (value, level, width) => Math.min(1, Math.max(0, (value - level) / width + 0.5));

// From pixel to millimetres, column first. A picture that does not say where it lies is shown as it is stored: its
// first row on top.
export function affineOf(picture) {
  const { step } = picture;
  if (picture.kind === 'volume' && picture.oriented) {
    const middle = (step - 1) / 2;
    return picture.affine.map(([x, y, z, w]) => [x * step, y * step, z, w + middle * (x + y)]);
  }
  const [deep, down, right] = picture.spacing_mm ?? [1, 1, 1];
  return [[right * step, 0, 0, 0], [0, -down * step, 0, 0], [0, 0, deep, 0], [0, 0, 0, 1]];
}

// The picture drawn on a canvas of its own size, with the mask on it: for the report, for the list, and where there is
// no WebGL.
export function compose({ picture, mask, outline, heat }, view, canvas = document.createElement('canvas')) {
  const { height, width } = drawn(picture);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  const start = view.slice * height * width;
  for (let at = 0; at < height * width; at += 1) {
    const colour = layered(colourOf(picture, view, start + at), start + at, { mask, outline, heat }, view);
    image.data.set([...colour, 255], at * 4);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function colourOf({ data, channels }, view, at) {
  const level = (channel) => share(data[at * channels + channel], view.level, view.width) * 255;
  if (view.channel === 'colour') return [level(0), level(1), level(2)];
  const grey = level(Number(view.channel));
  return [grey, grey, grey];
}

function layered(colour, at, { mask, outline, heat }, view) {
  if (view.heat && heat?.[at] >= LEAST_HEAT) colour = mixed(colour, heatColour(heat[at] / 255), view.opacity);
  if (view.mask && mask?.[at]) colour = mixed(colour, classColour(mask[at]), view.opacity);
  if (view.outline && outline?.[at]) colour = classColour(outline[at]);
  return colour;
}

const mixed = (under, over, much) => under.map((one, at) => one * (1 - much) + over[at] * much);

// Red, green and blue of a class by its number.
export function classColour(index) {
  const text = CLASS_COLOURS[(index - 1) % CLASS_COLOURS.length];
  return [1, 3, 5].map((at) => Number.parseInt(text.slice(at, at + 2), 16));
}

// The colour map "inferno", of which NiiVue draws all and this a few steps.
// Source: https://bids.github.io/colormap/
const INFERNO = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

function heatColour(probability) {
  const place = Math.min(1, Math.max(0, probability)) * (INFERNO.length - 1);
  const at = Math.min(INFERNO.length - 2, Math.floor(place));
  return mixed(INFERNO[at], INFERNO[at + 1], place - at);
}

// What is laid on a picture, at the size that is drawn.
export const laid = (values, picture) => values && thin(values, picture, picture.step);
