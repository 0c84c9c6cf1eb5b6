// NumPy's file format, as far as the server writes it: little-endian numbers in C order.
// Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

const KINDS = { '|u1': Uint8Array, '<i2': Int16Array, '<u2': Uint16Array, '<f4': Float32Array };

// From the bytes of a file to { shape, data }.
export function readNpy(buffer) {
  const view = new DataView(buffer);
  const long = view.getUint8(6) > 1;
  const start = long ? 12 : 10;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder('latin1').decode(new Uint8Array(buffer, start, length));
  const kind = KINDS[header.match(/'descr': '([^']+)'/)?.[1]];
  if (!kind || !header.includes("'fortran_order': False")) throw new Error('the server sent an array of another kind');
  const shape = [...header.match(/'shape': \(([^)]*)\)/)[1].matchAll(/\d+/g)].map(([one]) => Number(one));
  return { shape, data: new kind(buffer.slice(start + length)) };
}
