// Draws slice by slice on a plain canvas, where there is no WebGL.

import { compose } from './pictures.js';

export class CanvasView {
  planes = [];

  voxels = 32 * 2 ** 20;

  constructor(canvas) {
    this.canvas = canvas;
    this.scale = 1;
  }

  async show(shown, view) {
    this.shown = shown;
    this.reset();
    this.draw(view);
  }

  async layers(shown, view) {
    this.shown = shown;
    this.draw(view);
  }

  draw(view) {
    this.view = view;
    compose(this.shown, view, this.canvas);
    this.canvas.classList.toggle('smooth', view.smooth);
  }

  place([, , slice]) {
    this.draw({ ...this.view, slice });
  }

  zoom(factor) {
    this.scale = Math.min(8, Math.max(0.5, this.scale * factor));
    this.canvas.style.width = `${100 * this.scale}%`;
  }

  reset() {
    this.scale = 1;
    this.canvas.style.width = '100%';
  }

  axisOf() {
    return 2;
  }

  get storedPlane() {
    return 'stored';
  }
}
