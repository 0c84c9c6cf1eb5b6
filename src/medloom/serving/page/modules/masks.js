// Arrays of class numbers, one for each pixel: 0 is the background.

// From run lengths of each class, column by column, to class numbers, row by row.
// Source: https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/mask.py
export function fromRuns(classes, height, width) {
  const mask = new Uint8Array(height * width);
  for (const { index, rle } of classes) {
    let at = 0;
    rle.counts.forEach((count, run) => {
      if (run % 2) for (let end = at + count; at < end; at += 1) mask[(at % height) * width + Math.floor(at / height)] = index;
      else at += count;
    });
  }
  return mask;
}

// From the values of written masks to class numbers; values that are no class's stay background.
export function fromValues(values, classes) {
  const table = new Uint8Array(65536);
  for (const { index, value } of classes) table[value ?? index] = index;
  const mask = new Uint8Array(values.length);
  for (let at = 0; at < mask.length; at += 1) mask[at] = table[values[at]];
  return mask;
}

// The largest class number that may be there.
export function most(mask) {
  let high = 1;
  for (let at = 0; at < mask.length; at += 1) if (mask[at] > high) high = mask[at];
  return high;
}

// The pixels of each class that touch another class or the background within their slice.
export function outline(mask, height, width) {
  const drawn = new Uint8Array(mask.length);
  for (let at = 0; at < mask.length; at += 1) {
    const here = mask[at];
    if (!here) continue;
    const column = at % width;
    const row = Math.floor(at / width) % height;
    const inside = column > 0 && mask[at - 1] === here && column < width - 1 && mask[at + 1] === here
      && row > 0 && mask[at - width] === here && row < height - 1 && mask[at + width] === here;
    if (!inside) drawn[at] = here;
  }
  return drawn;
}

// Every step-th pixel of planes, the middle one of each block, as the picture was made smaller.
export function thin(values, { depth, height, width }, step) {
  if (step === 1) return values;
  const [rows, columns] = [Math.floor(height / step), Math.floor(width / step)];
  const thinned = new values.constructor(depth * rows * columns);
  const middle = Math.floor(step / 2);
  let to = 0;
  for (let slice = 0; slice < depth; slice += 1) {
    for (let row = 0; row < rows; row += 1) {
      const from = (slice * height + row * step + middle) * width + middle;
      for (let column = 0; column < columns; column += 1) thinned[to++] = values[from + column * step];
    }
  }
  return thinned;
}
