"""What the network sees of a JPEG is the same in training, evaluation and serving, to the last bit."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from medloom.data import Alignment, PageReader, PixelStore, image_files, open_source, prepare, read_sample_image
from medloom.errors import DecodeError
from medloom.imaging import decode
from medloom.inference import Predictor, default_point
from medloom.inference.inputs import open_images
from medloom.recipe import parse_recipe
from medloom.serving.batch import predict_files
from medloom.transforms import Preprocess
from medloom.transforms.preprocess import centre_crop

SIZES = [(301, 397), (200, 200), (64, 90), (40, 48), (20, 30)]
"""Decoded at 1/4, 1/2 and whole; the sides are and are no multiples of the fraction."""


class Recorder:
    """Keeps what it is given."""

    name = "recorder"

    def __init__(self):
        self.seen = []

    def run(self, batch_nchw, table_nf=None):
        self.seen += list(batch_nchw)
        return np.full((len(batch_nchw), 1), 0.5, np.float32)


def jpeg(seed, size, mode):
    rough = np.random.default_rng(seed).integers(0, 255, (8, 9, 3)).astype(np.uint8)
    picture = Image.fromarray(rough).resize(size[::-1], Image.Resampling.BICUBIC).convert(mode)
    exif, stream = Image.Exif(), io.BytesIO()
    exif[274] = 1 + seed % 8
    picture.save(stream, "JPEG", quality=90, exif=exif)
    return stream.getvalue()


@pytest.fixture(scope="module", params=["grey-stretch", "rgb-pad"])
def prepared(request, tmp_path_factory):
    """A set of JPEGs in class folders, prepared: recipe, folder, catalogue and store."""
    colour, fit = request.param.split("-")
    folder = tmp_path_factory.mktemp(request.param)
    for number in range(30):
        path = folder / "set" / "AB"[number % 2] / f"p{number // 2}_{number}.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number, SIZES[number % len(SIZES)], ("L", "RGB", "CMYK")[number % 3]))
    values = {
        "name": "parity",
        "target": {"kind": "binary", "classes": ["A", "B"]},
        "data": {
            "layout": "folder-classes",
            "channels": ["grey"] if colour == "grey" else ["red", "green", "blue"],
            "labels": {"patient_pattern": r"(p\d+)_"},
        },
        "preprocess": {
            "size": [40, 48], "crop": [32, 40], "colour": colour, "fit": fit, "normalise": {"method": "zscore"},
        },
        "model": {"name": "resnet18"},
        "loss": {"name": "cross-entropy"},
        "train": {"monitor": "loss"},
    }  # fmt: skip
    recipe = parse_recipe(json.dumps(values))
    with open_source(folder / "set") as source:
        work = Preprocess.of(recipe.preprocess)
        made = prepare(recipe, source, folder / "run", folder / "cache", workers=1, preprocess=work)
    return recipe, folder / "set", made.catalogue, made.store


def predictor_of(recipe):
    target = recipe.predicts()
    return Predictor(
        Recorder(), Preprocess.of(recipe.preprocess), target, recipe.data.channels, point=default_point(target)
    )


def trained_on(store: PixelStore, sample_id, crop):
    """The pixels of the store as training normalises them."""
    row = store.rows([sample_id])[0]
    offset, scale = store.offset[row][:, None, None], store.scale[row][:, None, None]
    return centre_crop((store.images[row].astype(np.float32) - offset) * scale, crop)


def test_the_store_holds_what_bytes_files_and_evaluation_give(prepared, tmp_path):
    recipe, folder, catalogue, store = prepared
    predictor = predictor_of(recipe)
    assert len(catalogue) == 30
    with open_source(folder) as source, open_images([folder]) as images:
        by_name = {image.name: image for image in images}
        for sample_id, file in zip(catalogue["sample_id"], catalogue["image"], strict=True):
            expected = trained_on(store, sample_id, recipe.preprocess.crop)
            sent = predictor.prepare(source.read(file)).network_input
            reader, least = Alignment(PageReader(source.read)), predictor.at_least
            measured = read_sample_image(reader, image_files(file), predictor.channels, 0, least)
            predict_files(predictor, [by_name[file]], tmp_path)
            np.testing.assert_array_equal(sent, expected)
            np.testing.assert_array_equal(predictor.prepare(measured).network_input, expected)
            np.testing.assert_array_equal(predictor.runtime.seen[-1], expected)


def test_some_were_decoded_at_a_fraction_and_the_catalogue_has_their_own_size(prepared):
    recipe, folder, catalogue, _ = prepared
    fractions = set()
    for row in catalogue.to_dict("records"):
        data = (folder / row["image"]).read_bytes()
        whole, image = decode(data), decode(data, at_least=recipe.preprocess.size)
        assert (row["height"], row["width"]) == whole.pixels.shape[:2] == image.size
        fractions.add(round(whole.pixels.shape[0] / image.pixels.shape[0]))
    assert fractions == {1, 2, 4}


def test_the_store_differs_little_from_whole_images_shrunk(prepared):
    recipe, folder, catalogue, store = prepared
    preprocess = Preprocess.of(recipe.preprocess)
    means = []
    for row in catalogue.to_dict("records"):
        whole = preprocess.resize_image(
            preprocess.to_input(decode((folder / row["image"]).read_bytes()), recipe.data.channels)
        )
        means.append(np.abs(whole.astype(float) - store.images[store.rows([row["sample_id"]])[0]]).mean())
    assert max(means) < 0.7


def test_an_image_cut_off_is_refused_as_before(prepared):
    recipe, folder, catalogue, _ = prepared
    data = (folder / catalogue["image"].iloc[0]).read_bytes()
    for end in (b"", b"\xff\xd9"):
        with pytest.raises(DecodeError):
            predictor_of(recipe).prepare(data[: len(data) * 3 // 4] + end)


def test_a_mask_is_predicted_from_the_whole_image(make_predictor):
    """It is as large as the image, so nothing of the image is left out."""
    data = jpeg(0, (301, 397), "RGB")
    np.testing.assert_array_equal(make_predictor().prepare(data).pixels, decode(data).pixels)
