// The picture with its tools. What draws it is NiiVue, or a plain canvas where there is no WebGL.

import { CanvasView } from './canvas_view.js';
import { $, drawing, element, number } from './dom.js';
import { niivueView } from './niivue_view.js';
import { drawn, isColour } from './pictures.js';
import { presets } from './windows.js';

const PLANES = { stored: 'As stored', axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal', all: 'All three' };

export class Viewer {
  // Tells `moved` when another slice is shown.
  constructor(moved) {
    this.moved = moved;
    this.view = { mask: true, outline: true, heat: false, opacity: 0.35, smooth: false };
    this.turn = Promise.resolve();
    this.#listen();
  }

  // Gets everything ready that takes time and needs no picture.
  ready() {
    this.started ??= this.#start();
    return this.started;
  }

  async #start() {
    const canvas = element('canvas', { 'aria-hidden': 'true' });
    $('stage').append(canvas);
    const listener = { windowed: (window) => this.#window(window, false), placed: (place) => this.#placed(place) };
    this.back = (await niivueView(canvas, listener).catch(() => null)) ?? this.#plain(canvas);
    canvas.tabIndex = -1;
  }

  // How many voxels it draws without long waits.
  get voxels() {
    return this.back.voxels;
  }

  #plain(old) {
    const canvas = element('canvas', { 'aria-hidden': 'true' });
    old.replaceWith(canvas); // one that was asked for WebGL draws nothing else
    $('stage').classList.add('plain-canvas');
    return new CanvasView(canvas);
  }

  // Shows nothing, so that nobody takes the picture of one case for that of another.
  close(text) {
    this.shown = null;
    $('tools').hidden = $('under').hidden = true;
    $('stage').classList.add('empty');
    $('stage-empty').textContent = text;
    $('stage').setAttribute('aria-label', text);
  }

  // Shows a case, at the slice where most was found; one after another, as they were asked for.
  open(one, profile) {
    return this.#next(() => this.#open(one, profile));
  }

  #next(work) {
    this.turn = this.turn.catch(() => {}).then(work);
    return this.turn;
  }

  async #open(one, profile) {
    await this.ready();
    this.shown = { picture: one.picture, ...one.layers };
    this.name = one.name;
    const { picture } = one;
    const { depth, height, width } = drawn(picture);
    const channel = isColour(picture) ? 'colour' : '0';
    const slice = one.view?.slice ?? best(profile) ?? Math.floor(depth / 2);
    Object.assign(this.view, { plane: 'stored', channel, slice, place: [...middle(this.shown, slice, height, width), slice] }, one.view);
    this.#channels(picture, one.model.channels);
    this.#planes(picture);
    this.#presets(one.view === undefined);
    one.view = this.view = { ...this.view };
    $('tools').hidden = $('under').hidden = false;
    $('under').textContent = one.name;
    $('stage').classList.remove('empty');
    await this.back.show(this.shown, this.view);
    this.profile(profile);
    this.#show();
  }

  // Lays an answer on the picture that is open.
  lay(one) {
    return this.#next(async () => {
      this.shown = { picture: one.picture, ...one.layers };
      await this.back.layers(this.shown, this.view);
      this.#show();
    });
  }

  // How much there is in each slice, as bars under the slider.
  profile(found) {
    $('profile').replaceChildren();
    if (!found || found.counts.length < 2) return;
    const most = Math.max(...found.counts, 0);
    const bars = found.counts.map((count, at) => drawing('rect', { x: at + 0.1, width: 0.8, y: most ? 1 - count / most : 1, height: most ? Math.max(0, count / most) : 0 }));
    const chart = drawing('svg', { viewBox: `0 0 ${found.counts.length} 1`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, ...bars);
    const where = best(found);
    const button = where === null ? null : element('button', { type: 'button', class: 'link', onclick: () => this.go(where) }, `Most ${found.what}: slice ${where + 1}`);
    $('profile').append(chart, button ?? '');
  }

  // To another slice of the stored order.
  go(slice) {
    const axis = this.back.axisOf(this.view.plane);
    this.view.place = [...this.view.place];
    this.view.place[axis] = Math.min(this.#count(axis) - 1, Math.max(0, slice));
    this.view.slice = this.view.place[2];
    this.back.place(this.view.place);
    this.#show();
    this.moved(this.view.slice);
  }

  step(by) {
    this.go(this.#at + by);
  }

  key(key) {
    const view = this.view;
    const keys = {
      ArrowUp: () => this.step(-1), ArrowDown: () => this.step(1), ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
      PageUp: () => this.step(-10), PageDown: () => this.step(10), Home: () => this.go(0), End: () => this.go(Infinity),
      '+': () => this.back.zoom(1.25), '=': () => this.back.zoom(1.25), '-': () => this.back.zoom(0.8), 0: () => this.back.reset(),
      w: () => this.#nextPreset(), f: () => $('show-mask').click(), o: () => $('show-outline').click(), h: () => $('heat-tool').hidden || $('show-heat').click(),
      '[': () => this.#opacity(view.opacity - 0.1), ']': () => this.#opacity(view.opacity + 0.1),
    };
    if (!this.shown || !keys[key]) return false;
    keys[key]();
    return true;
  }

  get #at() {
    return this.view.place[this.back.axisOf(this.view.plane)];
  }

  #count(axis) {
    const { depth, height, width } = drawn(this.shown.picture);
    return [width, height, depth][axis];
  }

  #placed(place) {
    if (this.view.plane !== 'all') return;
    this.view.place = place.map((one, axis) => Math.min(this.#count(axis) - 1, Math.max(0, one)));
    this.view.slice = this.view.place[2];
    this.#show();
    this.moved(this.view.slice);
  }

  #draw() {
    this.back.draw(this.view);
    this.#show();
  }

  // Brings the tools in line with the view.
  #show() {
    const { view } = this;
    const count = this.#count(this.back.axisOf(view.plane));
    const said = `${this.#at + 1} of ${count}`;
    $('slice-tool').hidden = drawn(this.shown.picture).depth < 2;
    $('slice').max = count - 1;
    $('slice').value = this.#at;
    $('slice').setAttribute('aria-valuetext', said);
    $('slice-said').value = said;
    $('level').value = Number(view.level.toPrecision(6));
    $('width').value = Number(view.width.toPrecision(6));
    $('opacity').value = Math.round(view.opacity * 100);
    $('opacity-said').value = `${Math.round(view.opacity * 100)} %`;
    $('overlay-tool').hidden = !this.shown.mask && !this.shown.heat;
    $('show-mask').checked = view.mask;
    $('show-outline').checked = view.outline;
    $('show-heat').checked = view.heat;
    $('scale').hidden = !view.heat || !this.shown.heat;
    $('profile').hidden = view.plane !== 'stored' && view.plane !== 'all' && view.plane !== this.back.storedPlane;
    const slices = count > 1 && !$('slice-tool').hidden ? `, slice ${said}` : '';
    $('stage').setAttribute('aria-label', `Picture of ${this.name}${slices}`);
  }

  #channels(picture, names) {
    const known = names?.length === picture.channels ? names : [];
    const each = Array.from({ length: picture.channels }, (_, at) => option(String(at), known[at] ?? `channel ${at + 1}`));
    const colour = isColour(picture) ? [option('colour', picture.channels === known.length && known[0] !== 'red' ? 'All, as red, green and blue' : 'Colours')] : [];
    $('channel').replaceChildren(...colour, ...each);
    $('channel').value = this.view.channel;
    $('channel-tool').hidden = picture.channels < 2;
  }

  #planes(picture) {
    const offered = picture.kind === 'volume' && picture.oriented && this.back.planes.length ? Object.keys(PLANES) : ['stored'];
    $('plane').replaceChildren(...offered.map((name) => option(name, PLANES[name])));
    if (!offered.includes(this.view.plane)) this.view.plane = 'stored';
    $('plane').value = this.view.plane;
    $('plane-tool').hidden = offered.length < 2;
  }

  #presets(choose) {
    this.offered = presets(this.shown.picture, this.view.channel === 'colour' ? 0 : Number(this.view.channel));
    $('preset').replaceChildren(...this.offered.map((one, at) => option(String(at), one.name)), option('', 'My own'));
    if (choose) Object.assign(this.view, { level: this.offered[0].level, width: this.offered[0].width });
    const same = this.offered.findIndex((one) => one.level === this.view.level && one.width === this.view.width);
    $('preset').value = same < 0 ? '' : String(same);
  }

  #nextPreset() {
    const next = (Number($('preset').value || -1) + 1) % this.offered.length;
    $('preset').value = String(next);
    this.#window(this.offered[next], true);
  }

  #window({ level, width }, draw) {
    Object.assign(this.view, { level, width: Math.max(width, 1e-6) });
    const same = this.offered.findIndex((one) => one.level === level && one.width === width);
    $('preset').value = same < 0 ? '' : String(same);
    if (draw) this.#draw();
    else this.#show();
  }

  #opacity(value) {
    this.view.opacity = Math.min(1, Math.max(0, value));
    this.#draw();
  }

  #listen() {
    const on = (id, event, act) => $(id).addEventListener(event, () => this.shown && act($(id)));
    on('slice', 'input', ({ value }) => this.go(Number(value)));
    on('plane', 'change', ({ value }) => { this.view.plane = value; this.back.reset(); this.#draw(); });
    on('channel', 'change', ({ value }) => this.#channel(value));
    on('preset', 'change', ({ value }) => value && this.#window(this.offered[Number(value)], true));
    for (const id of ['level', 'width']) on(id, 'change', () => this.#typed());
    for (const name of ['mask', 'outline']) on(`show-${name}`, 'change', ({ checked }) => { this.view[name] = checked; this.#draw(); });
    on('opacity', 'input', ({ value }) => this.#opacity(Number(value) / 100));
    on('smooth', 'change', ({ checked }) => { this.view.smooth = checked; this.#draw(); });
    on('zoom-in', 'click', () => this.back.zoom(1.25));
    on('zoom-out', 'click', () => this.back.zoom(0.8));
    on('zoom-fit', 'click', () => this.back.reset());
    $('stage').addEventListener('wheel', (event) => this.#wheel(event), { capture: true, passive: false });
    // NiiVue has keys of its own, which would move other things
    for (const name of ['keydown', 'keyup']) $('stage').addEventListener(name, (event) => event.target !== $('stage') && event.stopPropagation(), { capture: true });
  }

  #typed() {
    const [level, width] = ['level', 'width'].map((id) => $(id).valueAsNumber);
    if (Number.isFinite(level) && width > 0) this.#window({ level, width }, true);
    else this.#show();
  }

  #channel(value) {
    return this.#next(async () => {
      this.view.channel = value;
      this.#presets(true);
      await this.back.show(this.shown, this.view);
      this.#show();
    });
  }

  #wheel(event) {
    if (!this.shown || (event.target === $('stage') && !event.ctrlKey)) return;
    const slices = drawn(this.shown.picture).depth > 1;
    if (!event.ctrlKey && !slices) return event.stopPropagation();
    event.preventDefault();
    event.stopPropagation();
    if (event.ctrlKey) this.back.zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
    else this.step(Math.sign(event.deltaY));
  }
}

const option = (value, text) => element('option', { value }, text);

// Column and row in the middle of what was found in a slice, or of the picture.
function middle({ mask }, slice, height, width) {
  const found = mask?.subarray(slice * height * width, (slice + 1) * height * width) ?? [];
  let [count, columns, rows] = [0, 0, 0];
  found.forEach((one, at) => { if (one) { count += 1; columns += at % width; rows += Math.floor(at / width); } });
  return count ? [Math.round(columns / count), Math.round(rows / count)] : [width >> 1, height >> 1];
}

// The slice of most; none where there is nothing in any.
function best(profile) {
  if (!profile) return null;
  const most = Math.max(...profile.counts);
  return most > 0 ? profile.counts.indexOf(most) : null;
}
