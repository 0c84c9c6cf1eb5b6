// What the page does: files become cases, a case gets its picture and its answer, and a judgement.

import { $, element, save, stem } from './dom.js';
import { cases as casesOf, check, dropped, isZip } from './files.js';
import { KINDS } from './kinds/index.js';
import { drawFields, given } from './metadata.js';
import { readParts, unpacked } from './multipart.js';
import { farSaid } from './novelty.js';
import { readNpy } from './npy.js';
import { cautions, facts } from './remarks.js';
import { printReport } from './report.js';
import { models, predict, preview, stagesOf, useToken } from './server.js';
import { Viewer } from './viewer.js';
import { drawList, exportList } from './worklist.js';

const STILL_MS = 300;
const KEPT = 6; // pictures in memory; others are asked for again

const session = { models: [], cases: [], current: null, queue: Promise.resolve() };
const viewer = new Viewer(moved);

const kindOf = (one) => KINDS[one.model.target.kind];
const chosen = () => session.models[$('model').selectedIndex];

// What goes on, for everybody; an answer that is written below as well is only for those who listen.
function say(text, { written = false } = {}) {
  $('say').textContent = text;
  $('say').classList.toggle('heard', written);
}

function trouble(text = '') {
  $('trouble').textContent = text;
  $('trouble').hidden = !text;
}

async function start() {
  try {
    session.models = await models();
    $('token-part').hidden = true;
    trouble();
  } catch (error) {
    if (error.status === 401) askForToken();
    return trouble(error.message);
  }
  viewer.ready();
  $('model').replaceChildren(...session.models.map((model) => element('option', {}, model.name)));
  chooseModel();
}

function askForToken() {
  $('token-part').hidden = false;
  $('token').focus();
}

function chooseModel() {
  const model = chosen();
  if (!model) return trouble('The server has no model at the moment.');
  $('phantom').hidden = !model.model.phantom;
  drawFields(model);
}

// Files become cases; the first of them is shown at once, the others wait for their turn.
async function take(files) {
  if (!files.length || !chosen()) return;
  trouble();
  const asked = { page: $('page-number').value, series: $('series').value.trim(), metadata: given() };
  const found = await casesOf(files, $('together').value);
  const made = await Promise.all(found.map(async ({ name, image }) => newCase(name, { image, isZip: await isZip(image), ...asked })));
  session.cases.push(...made);
  session.current = made[0];
  redrawList();
  for (const one of made) session.queue = session.queue.then(() => run(one));
  await session.queue;
}

function newCase(name, asked) {
  const model = chosen();
  const ask = (form, more) => predict(model.name, { ...asked, ...more }, form);
  return { name, asked, model, ask, phantom: model.model.phantom, layers: {}, verdict: '', comment: '', time: new Date(), answer: null, picture: null };
}

async function run(one) {
  if (isCurrent(one)) blank(`Reading ${one.name} …`);
  try {
    check({ name: one.name, image: one.asked.image }, one.model.max_body_bytes);
    busy(one, `Reading ${one.name} …`);
    const answered = fetchAnswer(one);
    answered.catch(() => {}); // where the picture was refused, the answer is as well
    await fetchPicture(one);
    if (isCurrent(one)) await show(one);
    busy(one, `Asking ${one.model.name} about ${one.name} …`);
    readAnswer(one, await answered);
    one.row = kindOf(one).row(one);
    delete one.view;
    one.error = null;
    if (isCurrent(one)) await show(one);
  } catch (error) {
    failed(one, error);
  }
  redrawList();
}

async function fetchPicture(one) {
  await viewer.ready();
  const { about, pixels } = await preview(one.model.name, one.asked, viewer.voxels);
  one.picture = { ...about, ...readNpy(pixels) };
  forget(one);
}

async function fetchAnswer(one) {
  const begun = performance.now();
  const response = await one.ask(kindOf(one).accept);
  const parts = await partsOf(response);
  one.elapsed = (performance.now() - begun) / 1000;
  one.stages = stagesOf(response.headers.get('Server-Timing'));
  one.phantom = response.headers.get('X-Medloom-Phantom') === 'true';
  return parts;
}

async function partsOf(response) {
  const several = response.headers.get('Content-Type').startsWith('multipart/');
  const bytes = await response.arrayBuffer();
  const parts = several ? readParts(bytes) : { json: bytes };
  if (parts['nifti-gz']) parts['nifti-gz'] = await unpacked(parts['nifti-gz']);
  return parts;
}

function readAnswer(one, parts) {
  one.answer = JSON.parse(new TextDecoder().decode(parts.json));
  one.layers = kindOf(one).read({ ...one, beside: parts });
}

// Of older cases only the answer is kept.
function forget(one) {
  session.kept = [one, ...(session.kept ?? []).filter((other) => other !== one)];
  for (const old of session.kept.splice(KEPT)) if (!isCurrent(old)) [old.picture, old.layers] = [null, {}];
}

const isCurrent = (one) => one === session.current;

function busy(one, text) {
  if (!isCurrent(one)) return;
  say(text);
  $('stage').setAttribute('aria-busy', 'true');
}

function failed(one, error) {
  one.error = error.message;
  if (!('code' in error)) console.error(error);
  if (error.status === 401) askForToken();
  if (error.code === 'page_required') [$('options').open] = [true];
  if (isCurrent(one)) drawError(one);
}

function drawError(one) {
  if (one.picture) $('answer').replaceChildren();
  else blank('No picture: the image could not be read.');
  trouble(`${one.name}: ${one.error}`);
  say(`${one.name} was not answered.`);
  $('after').hidden = true;
  $('stage').removeAttribute('aria-busy');
}

// Takes the case before away.
function blank(text) {
  trouble();
  viewer.close(text);
  $('answer').replaceChildren();
  $('after').hidden = true;
}

async function show(one) {
  trouble(one.error ? `${one.name}: ${one.error}` : '');
  await viewer.open(one, one.answer && kindOf(one).slices(one));
  $('stage').removeAttribute('aria-busy');
  if (one.answer) await settle(one);
  else $('after').hidden = true;
}

async function settle(one) {
  drawAnswer(one);
  say([`${one.name}: ${kindOf(one).headline(one)}`, farSaid(one.answer)].join(' ').trim(), { written: true });
  $('after').hidden = false;
  const why = kindOf(one).noHeat(one);
  $('heat-tool').hidden = Boolean(why);
  $('heat-why').hidden = !why;
  $('heat-why').textContent = why;
  drawDownloads(one);
  drawJudgement(one);
  if (one.view.heat) await heat(!why).catch(noted);
}

// Another slice is shown: what is said of it, and its heat map once nobody scrolls any more.
function moved() {
  const one = session.current;
  if (!one?.answer) return;
  drawAnswer(one);
  clearTimeout(session.still);
  if (viewer.view.heat && depthOf(one) > 1) session.still = setTimeout(() => heat(true).catch(noted), STILL_MS);
}

const depthOf = ({ picture }) => picture?.depth ?? 1;

function drawAnswer(one) {
  const slice = viewer.view.slice ?? 0;
  const headline = element('p', { class: 'headline' }, kindOf(one).headline(one));
  $('answer').replaceChildren(headline, ...cautions(one, slice), ...[kindOf(one).figures(one, slice)].flat(), facts(one, slice));
}

// Objects for an archive, which are made from DICOM images alone.
const DICOM = [['application/dicom; form=seg', '_seg.dcm', 'Segmentation (DICOM SEG)'], ['application/dicom; form=sr', '_sr.dcm', 'Report (DICOM SR)']];

function drawDownloads(one) {
  const offered = 'slices' in one.answer ? one.model.volume_answers : one.model.answers;
  const dicom = one.picture.format === 'dicom' ? DICOM.filter(([form]) => offered.includes(form)) : [];
  const buttons = [...kindOf(one).downloads(one), ...dicom].map(([form, suffix, text]) => element('button', { type: 'button', onclick: () => download(one, form, suffix) }, text));
  const report = element('button', { type: 'button', onclick: () => printReport(one, one.view) }, 'Case report (print or PDF)');
  const json = element('button', { type: 'button', onclick: () => save(new Blob([JSON.stringify(one.answer)], { type: 'application/json' }), `${stem(one.name)}.json`) }, 'Answer (JSON)');
  $('downloads').replaceChildren(...buttons, json, report);
}

async function download(one, form, suffix) {
  try {
    say(`Making ${stem(one.name)}${suffix} …`, { written: true });
    save(await (await one.ask(form)).blob(), `${stem(one.name)}${suffix}`);
    say(`${stem(one.name)}${suffix} was saved.`, { written: true });
  } catch (error) {
    trouble(error.message);
  }
}

async function heat(on) {
  const one = session.current;
  const { heat: before, opacity, slice } = viewer.view;
  if (!one.error) trouble();
  if (on) await heatUp(one, depthOf(one) > 1 ? slice : 0);
  if (!isCurrent(one)) return;
  if (on !== before) Object.assign(viewer.view, { heat: on, mask: !on, opacity: on ? Math.max(opacity, 0.6) : Math.min(opacity, 0.35) }); // one hides the other
  await viewer.lay(one);
}

// Asks for the heat map of a slice, once.
async function heatUp(one, slice) {
  one.heated ??= new Set();
  if (one.heated.has(slice) && one.layers.heat) return;
  if (!one.layers.heat) one.heated.clear();
  one.layers.heat = await kindOf(one).heat(one, slice);
  one.heated.add(slice);
}

// What cannot be shown is not said to be shown.
function unheated(error) {
  $('show-heat').checked = viewer.view.heat;
  trouble(error.message);
}

const noted = (error) => trouble(error.message);

// Goes back to a case of the list; what was forgotten of it is asked for again.
async function open(one) {
  session.current = one;
  redrawList();
  blank(`Reading ${one.name} …`);
  if (one.error && !one.picture) return drawError(one);
  try {
    if (!one.picture) {
      busy(one, `Reading ${one.name} …`);
      await fetchPicture(one);
      if (one.answer) readAnswer(one, await partsOf(await one.ask(kindOf(one).accept)));
    }
    if (isCurrent(one)) await show(one);
  } catch (error) {
    failed(one, error);
  }
}

function judge(verdict) {
  const one = session.current;
  if (!one?.answer) return;
  one.verdict = one.verdict === verdict ? '' : verdict;
  drawJudgement(one);
  redrawList();
  say(`${one.name}: ${one.verdict || 'no judgement'}.`, { written: true });
}

function drawJudgement(one) {
  $('accept').setAttribute('aria-pressed', String(one.verdict === 'accepted'));
  $('reject').setAttribute('aria-pressed', String(one.verdict === 'rejected'));
  $('comment').value = one.comment;
}

function redrawList() {
  drawList(session.cases, session.current, open);
}

function walk(by) {
  const next = session.cases[session.cases.indexOf(session.current) + by];
  if (next) open(next);
}

function key(event) {
  if (event.target !== $('stage') || event.ctrlKey || event.metaKey || event.altKey) return;
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const own = { a: () => judge('accepted'), r: () => judge('rejected'), n: () => walk(1), p: () => walk(-1) };
  if (own[pressed]) own[pressed]();
  else if (!viewer.key(pressed)) return;
  event.preventDefault();
}

function clear() {
  session.cases = [];
  session.current = null;
  redrawList();
  blank('Nothing is shown yet.');
  say('The list was cleared.');
  $('files').focus();
}

function listen() {
  $('model').addEventListener('change', chooseModel);
  $('token-part').addEventListener('submit', (event) => { event.preventDefault(); useToken($('token').value); start(); });
  $('files').addEventListener('change', () => { take([...$('files').files]); $('files').value = ''; });
  $('accept').addEventListener('click', () => judge('accepted'));
  $('reject').addEventListener('click', () => judge('rejected'));
  $('comment').addEventListener('input', () => { session.current.comment = $('comment').value; redrawList(); });
  $('export').addEventListener('click', () => exportList(session.cases));
  $('clear').addEventListener('click', clear);
  $('show-heat').addEventListener('change', () => session.current?.answer && heat($('show-heat').checked).catch(unheated));
  $('stage').addEventListener('keydown', key);
  document.addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) $('drop').classList.remove('over'); });
  document.addEventListener('drop', async (event) => { event.preventDefault(); $('drop').classList.remove('over'); take(await dropped(event.dataTransfer)); });
  document.addEventListener('paste', (event) => { if (event.clipboardData?.files.length) take([...event.clipboardData.files]); });
}

listen();
start();
