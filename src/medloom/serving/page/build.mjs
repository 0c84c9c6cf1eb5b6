// Makes built.html out of what lies beside this file: one page with its style, its modules and NiiVue inside.
//
//     cd src/medloom/serving/page && npm ci && npm run build
//
// A server needs none of this: built.html is in the repository and in the package, and a test says when it is older
// than its sources.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const at = (...names) => join(here, ...names);
const text = (...names) => readFileSync(at(...names), 'utf-8');

// The sources, in the order in which tests/serving/test_page.py reads them as well.
const modules = readdirSync(at('modules'), { recursive: true }).filter((name) => name.endsWith('.js')).sort();
const sources = [
  '../../pages.css', '../../palette.py', 'build.mjs', 'package-lock.json', 'page.html', 'style.css',
  ...modules.map((name) => `modules/${name}`),
];

function digest() {
  const hash = createHash('sha256');
  for (const name of sources) hash.update(`${name}\n`).update(text(name));
  return hash.digest('hex');
}

// Colours of the classes on an image: that of predicted outlines first, as in the reports.
function colours() {
  const palette = text('../../palette.py');
  const [, row] = palette.match(/^PREDICTED = \((\d+, \d+, \d+)\)$/m);
  const predicted = `#${row.split(', ').map((one) => Number(one).toString(16).padStart(2, '0')).join('')}`;
  const others = [...palette.match(/^PALETTE = \((.*)\)$/m)[1].matchAll(/#[0-9a-f]{6}/g)].map(([one]) => one);
  return [predicted, ...others.filter((one) => one !== predicted).reverse()];
}

// NiiVue makes a gradient of every volume, for views in three dimensions that this page has none of. Without a graphics
// card that takes most of the time until a volume is seen, and with one as much memory again.
const GRADIENT = /this\.volumeTexture = outTexture;\s+this\.gradientTexture = gradientGL\(\{.*?\}\);/s;

const flat = {
  name: 'flat',
  setup: ({ onLoad }) => onLoad({ filter: /@niivue\/niivue\/dist\/index\.js$/ }, ({ path }) => {
    const whole = readFileSync(path, 'utf-8');
    if (!GRADIENT.test(whole)) throw new Error('NiiVue makes its gradients elsewhere now; look for gradientGL in refreshLayers');
    return { contents: whole.replace(GRADIENT, 'this.volumeTexture = outTexture;') };
  }),
};

async function script() {
  const result = await build({
    entryPoints: [at('modules', 'main.js')],
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    write: false,
    metafile: true,
    plugins: [flat],
    define: { CLASS_COLOURS: JSON.stringify(colours()) },
    // NiiVue can stream Zarr, whose codecs are WebAssembly: 1.4 MB that this page has no use for, and that a strict
    // policy would not let run.
    alias: Object.fromEntries(['blosc', 'gzip', 'lz4', 'zlib', 'zstd'].map((name) => [`numcodecs/${name}`, at('modules', 'none.js')])),
  });
  return { code: result.outputFiles[0].text, inputs: Object.keys(result.metafile.inputs) };
}

// What is bundled comes with the licence that its makers gave it; NiiVue has none in its files, so the one
// of their repository lies beside this file.
function licences(inputs) {
  const names = new Set(inputs.map((name) => name.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean));
  return [...names].sort().map((name) => {
    const about = JSON.parse(text('node_modules', name, 'package.json'));
    const file = readdirSync(at('node_modules', name)).find((one) => /^licen[cs]e/i.test(one));
    const own = at('licences', `${name.replace('/', '-')}.txt`);
    if (!file && !existsSync(own)) throw new Error(`${name} has no licence file; put the one of its repository at ${own}`);
    const said = file ? text('node_modules', name, file) : readFileSync(own, 'utf-8');
    return `${name} ${about.version} (${about.license})\n\n${said.trim()}\n`;
  }).join(`\n${'-'.repeat(80)}\n\n`);
}

const { code, inputs } = await script();
const page = text('page.html')
  .replace('<!-- built -->', () => `<meta name="medloom-sources" content="${digest()}">`)
  .replace('<!-- style -->', () => `<style>${text('../../pages.css')}${text('style.css')}</style>`)
  .replace('<!-- script -->', () => `<script>${code.replaceAll('</script', '<\\/script')}</script>`);
writeFileSync(at('built.html'), page);
writeFileSync(at('LICENCES.txt'), licences(inputs));
console.log(`built.html: ${(page.length / 1e6).toFixed(2)} MB`);
