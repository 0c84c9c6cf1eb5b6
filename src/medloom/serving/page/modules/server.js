// What is asked of the server that showed this page; nobody else is asked.

import { zipSync } from 'fflate';

const TRIES = 5;
const BYTES = 'application/octet-stream';

let token = '';

// Kept in the memory of this page alone.
export const useToken = (text) => { token = text.trim(); };

// A refusal, in words for a reader.
export class Refusal extends Error {
  constructor(message, { code = '', status = 0 } = {}) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

// The models that the server has, as its description says.
export async function models() {
  const found = await (await ask('./', { headers: { Accept: 'application/json' } })).json();
  return found.models ?? [{ name: found.model.name, ...found }];
}

// The decoded picture: what is known about it, and its values in one array, of as many pixels as can be drawn.
export async function preview(model, asked, most) {
  const response = await ask(path(model, 'preview', asked, { most_pixels: most }), {
    method: 'POST', body: asked.image, headers: { 'Content-Type': BYTES },
  });
  const form = await response.formData();
  return { about: JSON.parse(form.get('about')), pixels: await form.get('pixels').arrayBuffer() };
}

// An answer in one form.
export async function predict(model, asked, accept) {
  const headers = { Accept: accept, 'Content-Type': BYTES };
  let body = asked.image;
  if (Object.keys(asked.metadata).length) {
    headers['Content-Type'] = 'application/json';
    body = JSON.stringify({ image: await base64(asked.image), metadata: asked.metadata });
  }
  return ask(path(model, 'invocations', asked), { method: 'POST', body, headers });
}

// What an answer took, from the header that says it: { stage: seconds }, and `total`.
export function stagesOf(header) {
  return Object.fromEntries([...(header ?? '').matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, time]) => [name, Number(time) / 1000]));
}

// Several files as one, stored as they are.
export async function zip(files) {
  const entries = await Promise.all(files.map(async (file, at) => [`${String(at).padStart(5, '0')}.dcm`, new Uint8Array(await file.arrayBuffer())]));
  return new Blob([zipSync(Object.fromEntries(entries), { level: 0 })], { type: 'application/zip' });
}

function path(model, what, { page, series }, more = {}) {
  const query = new URLSearchParams(more);
  if (page !== '') query.set('page', page);
  if (series !== '') query.set('series', series);
  const asked = query.toString();
  return `./models/${encodeURIComponent(model)}/${what}${asked && `?${asked}`}`;
}

async function ask(address, options, tried = 1) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(address, { ...options, headers, credentials: 'same-origin', cache: 'no-store' });
  } catch {
    throw new Refusal('The server did not answer. It may have stopped, or the network is down.', { code: 'unreachable' });
  }
  if (response.ok) return response;
  if (response.status === 503 && tried < TRIES) {
    await pause(Number(response.headers.get('Retry-After')) || 1);
    return ask(address, options, tried + 1);
  }
  throw await refusal(response);
}

async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  const sentence = said.message ?? `the server answered ${response.status} ${response.statusText}`;
  return new Refusal([capital(sentence), said.hint].filter(Boolean).join('. ').replace('..', '.'), { code: said.code, status: response.status });
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const pause = (wait) => new Promise((done) => { setTimeout(done, wait * 1000); });

function base64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => failed(new Refusal('The file could not be read.'));
    reader.readAsDataURL(blob);
  });
}
