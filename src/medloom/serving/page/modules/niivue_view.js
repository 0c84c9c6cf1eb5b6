// Draws with NiiVue, in WebGL.

import { DRAG_MODE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue';
import { LEAST_HEAT, affineOf, channelOf, classColour, drawn, windowed } from './pictures.js';
import { most } from './masks.js';
import { writeNifti } from './nifti.js';

const PLANES = { sagittal: SLICE_TYPE.SAGITTAL, coronal: SLICE_TYPE.CORONAL, axial: SLICE_TYPE.AXIAL, all: SLICE_TYPE.MULTIPLANAR };
const NORMALS = ['sagittal', 'coronal', 'axial'];
const PANS = { leftButton: { primary: DRAG_MODE.pan, withShift: DRAG_MODE.windowing }, rightButton: DRAG_MODE.windowing, centerButton: DRAG_MODE.pan };
const PLACES = { ...PANS, leftButton: { primary: DRAG_MODE.crosshair, withShift: DRAG_MODE.windowing } };
const OPTIONS = {
  backColor: [0, 0, 0, 1],
  crosshairColor: [0.49, 0.7, 0.92, 0.8],
  crosshairGap: 6,
  crosshairWidth: 0,
  crosshairWidthUnit: 'percent',
  dragAndDropEnabled: false,
  isColorbar: false,
  isNearestInterpolation: true,
  isOrientCube: false,
  isRuler: false,
  loadingText: '',
  logLevel: 'error',
  multiplanarShowRender: SHOW_RENDER.NEVER,
  show3Dcrosshair: false,
  touchEventConfig: { singleTouch: DRAG_MODE.pan, doubleTouch: DRAG_MODE.windowing },
};
const CLEAR = [0, 0, 0, 0];

// Every image here says which values are black and white, so nobody need look for them among all of its voxels.
NVImage.prototype.calMinMax = function given() {
  const { cal_min: low, cal_max: high } = this.hdr;
  Object.assign(this, { cal_min: low, cal_max: high, robust_min: low, robust_max: high, global_min: low, global_max: high });
  return [low, high, low, high];
};
const WHOLE = [0, 0, 0, 1]; // nothing moved, nothing enlarged

// Returns a view, or null where there is no WebGL 2.
export async function niivueView(canvas, listener) {
  if (!document.createElement('canvas').getContext('webgl2')) return null;
  const nv = new Niivue(OPTIONS);
  await nv.attachToCanvas(canvas);
  return new NiivueView(nv, listener);
}

class NiivueView {
  planes = Object.keys(PLANES);

  constructor(nv, listener) {
    this.nv = nv;
    this.voxels = isSoftware(nv.gl) ? 2 ** 23 : 2 ** 25;
    nv.onIntensityChange = (volume) => this.#windowed(volume, listener);
    nv.onLocationChange = ({ mm }) => this.shown && listener.placed(this.#voxel(mm));
  }

  // Shows a case; the view says how.
  async show(shown, view) {
    const same = this.shown?.picture === shown.picture && this.channel === view.channel;
    this.shown = shown;
    if (!same) {
      this.affine = affineOf(shown.picture);
      this.channel = view.channel;
      this.base = await this.#image(view);
      this.nv.scene.pan2Dxyzmm = [...WHOLE];
      [this.overlays, this.sources] = [{}, {}];
    }
    await this.layers(shown, view);
  }

  // Lays the answer on the image, or takes it away.
  async layers({ mask, outline, heat }, view) {
    const { overlays: before, sources } = this;
    [this.overlays, this.sources] = [{}, { heat, mask, outline }];
    for (const [name, values] of Object.entries(this.sources)) {
      if (values) this.overlays[name] = values === sources[name] ? before[name] : await this.#overlay(values, name);
    }
    this.draw(view);
  }

  // What has changed, all at once: each of NiiVue's own setters would draw again.
  draw(view) {
    const { base, nv } = this;
    if (!base) return;
    Object.assign(nv.opts, {
      crosshairWidth: view.plane === 'all' ? 0.3 : 0,
      isNearestInterpolation: !view.smooth,
      isOrientationTextVisible: this.#oriented,
      isRadiologicalConvention: this.#oriented,
      sliceType: PLANES[view.plane === 'stored' ? this.storedPlane : view.plane],
    });
    nv.setMouseEventConfig(view.plane === 'all' ? PLACES : PANS);
    this.#paint(base, view);
    nv.setInterpolation(!view.smooth);
    this.place(view.place);
  }

  // Brings the textures in line with the view. A large volume takes long, so only what differs is made again.
  #paint(base, view) {
    const { nv } = this;
    const opacities = Object.keys(this.overlays).map((name) => (view[name] ? (name === 'outline' ? 1 : view.opacity) : 0));
    const overlays = Object.values(this.overlays);
    overlays.forEach((one, at) => { one.opacity = opacities[at]; });
    const last = this.painted;
    const other = last?.base !== base || last.overlays.length > overlays.length;
    const window = other || last.level !== view.level || last.width !== view.width;
    const laid = other || overlays.some((one, at) => one !== last.overlays[at] || one.opacity !== last.opacities[at]);
    this.painted = { base, overlays, opacities, level: view.level, width: view.width };
    nv.volumes = [base, ...overlays];
    nv.back = base;
    nv.overlays = overlays;
    if (window && view.channel === 'colour') this.#recolour(base, view);
    else if (window) [base.cal_min, base.cal_max] = [view.level - view.width / 2, view.level + view.width / 2];
    if (other) return nv.updateGLVolume();
    if (window) nv.refreshLayers(base, 0);
    if (laid) overlays.forEach((one, at) => nv.refreshLayers(one, at + 1));
  }

  // Moves to a voxel: column, row, slice.
  place(place) {
    this.nv.scene.crosshairPos = this.nv.mm2frac(this.#millimetres(place));
    this.nv.drawScene();
  }

  zoom(factor) {
    const [x, y, z, now] = this.nv.scene.pan2Dxyzmm;
    this.nv.setPan2Dxyzmm([x, y, z, Math.min(40, Math.max(0.5, now * factor))]);
  }

  reset() {
    this.nv.setPan2Dxyzmm([...WHOLE]);
  }

  // Along which axis of the stored array a plane is scrolled: 0 columns, 1 rows, 2 slices.
  axisOf(plane) {
    if (plane === 'stored' || plane === 'all') return 2;
    const normal = NORMALS.indexOf(plane);
    return [0, 1, 2].find((axis) => this.#normal(axis) === normal) ?? 2;
  }

  get storedPlane() {
    return NORMALS[this.#normal(2)];
  }

  get #oriented() {
    return Boolean(this.shown.picture.kind === 'volume' && this.shown.picture.oriented);
  }

  #normal(axis) {
    const along = this.affine.slice(0, 3).map((row) => Math.abs(row[axis]));
    return along.indexOf(Math.max(...along));
  }

  #millimetres([column, row, slice]) {
    return this.affine.slice(0, 3).map(([x, y, z, w]) => x * column + y * row + z * slice + w);
  }

  #voxel(mm) {
    const away = [0, 1, 2].map((at) => mm[at] - this.affine[at][3]);
    return solve(this.affine.slice(0, 3).map((row) => row.slice(0, 3)), away).map(Math.round);
  }

  #windowed(volume, listener) {
    if (volume !== this.nv.volumes[0] || this.channel === 'colour') return;
    const { cal_min: low, cal_max: high } = volume;
    listener.windowed({ level: (low + high) / 2, width: high - low });
  }

  async #image(view) {
    const { picture } = this.shown;
    const colour = view.channel === 'colour';
    const data = colour ? windowed(picture.data, view) : channelOf(picture, Number(view.channel));
    return this.#volume(data, { colour, cal_min: view.level - view.width / 2, cal_max: view.level + view.width / 2 });
  }

  // Colours have no window in NiiVue, so their bytes are changed.
  #recolour(base, { level, width }) {
    base.img.set(windowed(this.shown.picture.data, { level, width }));
  }

  async #overlay(data, name) {
    if (name === 'heat') return this.#volume(data, { colormap: 'inferno', cal_min: LEAST_HEAT, cal_max: 255 });
    const volume = await this.#volume(data, { cal_min: 0, cal_max: 1 });
    volume.setColormapLabel(labels(data));
    return volume;
  }

  async #volume(data, { colour, ...options }) {
    const buffer = writeNifti({ ...drawn(this.shown.picture), data, colour, affine: this.affine });
    return NVImage.loadFromUrl({ url: buffer, name: `${crypto.randomUUID?.() ?? Math.random()}.nii`, colorbarVisible: false, ...options });
  }
}

// Whether WebGL is drawn by the processor, which takes some hundred times as long as a graphics card.
function isSoftware(gl) {
  const known = gl.getExtension('WEBGL_debug_renderer_info');
  const name = gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

// A colour for each class number that may be there.
function labels(mask) {
  const colours = [CLEAR, ...Array.from({ length: most(mask) }, (_, at) => [...classColour(at + 1), 255])];
  const [R, G, B, A] = [0, 1, 2, 3].map((at) => colours.map((one) => one[at]));
  return { R, G, B, A, I: colours.map((_, at) => at), labels: colours.map((_, at) => (at ? `class ${at}` : '')) };
}

// The three numbers that a matrix of three rows takes to the given ones.
function solve(matrix, given) {
  const determinant = (rows) => rows[0][0] * (rows[1][1] * rows[2][2] - rows[1][2] * rows[2][1])
    - rows[0][1] * (rows[1][0] * rows[2][2] - rows[1][2] * rows[2][0]) + rows[0][2] * (rows[1][0] * rows[2][1] - rows[1][1] * rows[2][0]);
  const whole = determinant(matrix);
  return [0, 1, 2].map((at) => determinant(matrix.map((row, line) => row.map((one, column) => (column === at ? given[line] : one)))) / whole);
}
