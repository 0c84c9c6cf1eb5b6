// Files that a reader drops, chooses or pastes.

import { Refusal, zip } from './server.js';

const DICM = 'DICM';
const HEAD = 132;

// From files to what is looked at one by one: { name, image } each. Several DICOM files are one series, if so asked.
export async function cases(files, together) {
  const dicom = together === 'series' ? await asyncFilter(files, isDicom) : [];
  if (dicom.length < 2) return files.map((file) => ({ name: file.name || 'pasted image', image: file }));
  const series = { name: `${dicom[0].name} and ${dicom.length - 1} more`, image: await zip(dicom) };
  return [series, ...files.filter((file) => !dicom.includes(file)).map((file) => ({ name: file.name, image: file }))];
}

// Files of a drop, those inside folders as well.
export async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === 'file').map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return (await Promise.all(entries.map(inside))).flat();
}

// Whether several files are inside.
export const isZip = async (file) => (await file.slice(0, 2).text()) === 'PK';

// Refuses what the server would not read anyway.
export function check({ name, image }, most) {
  if (image.size === 0) throw new Refusal(`${name} is empty.`, { code: 'empty' });
  if (image.size > most) throw new Refusal(`${name} has ${megabytes(image.size)}; this server takes at most ${megabytes(most)}. Send fewer slices, or compress it.`, { code: 'too_large' });
}

async function inside(entry) {
  if (entry instanceof File) return [entry];
  if (entry?.isFile) return [await new Promise((done, failed) => { entry.file(done, failed); })];
  if (!entry?.isDirectory) return [];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (!some.length) break;
    found.push(...some);
  }
  found.sort((one, other) => one.name.localeCompare(other.name, 'en', { numeric: true }));
  return (await Promise.all(found.map(inside))).flat();
}

async function isDicom(file) {
  if (/\.(dcm|dicom)$/i.test(file.name)) return true;
  return (await file.slice(HEAD - 4, HEAD).text()) === DICM;
}

async function asyncFilter(values, test) {
  const kept = await Promise.all(values.map(test));
  return values.filter((_, at) => kept[at]);
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`;
