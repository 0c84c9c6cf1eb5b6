// Stands for the codecs of Zarr, which this page leaves out; see build.mjs.
export default undefined;
