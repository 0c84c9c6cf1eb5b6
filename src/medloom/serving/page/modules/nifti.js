// NIfTI-1, as far as a viewer of one volume needs it.
// Source: https://nifti.nimh.nih.gov/nifti-1/documentation

const HEADER = 352;
const TYPES = new Map([[Uint8Array, [2, 8]], [Int16Array, [4, 16]], [Float32Array, [16, 32]], [Uint16Array, [512, 16]]]);
const ARRAYS = { 2: Uint8Array, 4: Int16Array, 16: Float32Array, 512: Uint16Array };
const RGB = [128, 24];

// From values, column first, to the bytes of a file. Three bytes a voxel are a colour.
export function writeNifti({ data, depth, height, width, affine, colour = false }) {
  const buffer = new ArrayBuffer(HEADER + data.byteLength);
  const view = new DataView(buffer);
  const [type, bits] = colour ? RGB : TYPES.get(data.constructor);
  view.setInt32(0, 348, true);
  [3, width, height, depth, 1, 1, 1, 1].forEach((one, at) => view.setInt16(40 + 2 * at, one, true));
  view.setInt16(70, type, true);
  view.setInt16(72, bits, true);
  [1, ...steps(affine)].forEach((one, at) => view.setFloat32(76 + 4 * at, one, true));
  view.setFloat32(108, HEADER, true);
  view.setFloat32(112, 1, true); // slope
  view.setUint8(123, 2); // millimetres
  view.setInt16(254, 1, true); // the affine is that of a scanner
  affine.slice(0, 3).flat().forEach((one, at) => view.setFloat32(280 + 4 * at, one, true));
  [0x6e, 0x2b, 0x31, 0].forEach((one, at) => view.setUint8(344 + at, one));
  new Uint8Array(buffer, HEADER).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return buffer;
}

// From the bytes of a mask that the server wrote to its values.
export function readNifti(buffer) {
  const view = new DataView(buffer);
  const kind = ARRAYS[view.getInt16(70, true)];
  if (view.getInt32(0, true) !== 348 || !kind) throw new Error('the server sent a mask of another kind');
  return new kind(buffer.slice(view.getFloat32(108, true)));
}

// How far apart neighbours are along each axis.
function steps(affine) {
  return [0, 1, 2].map((axis) => Math.hypot(...affine.slice(0, 3).map((row) => row[axis])));
}
