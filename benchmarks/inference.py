"""Inference of a bundle: ONNX Runtime and OpenVINO beside torch, and how far their masks agree.

    python benchmarks/inference.py                                  the default network, trained for a moment
    python benchmarks/inference.py model.tar.gz --images FOLDER     a bundle of yours, on images of yours

Milliseconds an image are medians over rounds in which all candidates take turns, on one machine in one run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from machine import describe
from medloom.inference import MaskPoint, default_point, to_mask
from medloom.inference.runtimes.graph import read_graph
from medloom.inference.runtimes.openvino import OpenVinoRuntime
from medloom.models.kinds import build_network
from medloom.packaging import read_bundle, write_bundle
from medloom.packaging.export import export_onnx
from medloom.recipe import load_recipe

BATCHES = (1, 16)


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        path = options.bundle or momentary_bundle(Path(scratch))
        with read_bundle(path) as bundle:
            reference = bundle.predictor(runtime="torch", threads=options.threads)
            if not reference.target.truth_is_mask:
                raise SystemExit("the bundle is for labels; expected one for masks")
            candidates = {
                "torch f32": reference.runtime,
                "onnx f32": bundle.predictor(runtime="onnx", threads=options.threads).runtime,
                **_openvino(read_graph(bundle.folder / "model.onnx"), options.threads),
            }
    images = _inputs(reference, options.images)
    print(describe("torch", "onnxruntime", "openvino"))
    print(f"{'runtime':<16}{'batch':>6}{'ms/image':>10}{'x torch':>9}{'Dice':>8}{'max |dp|':>10}")
    for batch in BATCHES:
        _compare(candidates, images, batch, options.rounds, MaskPoint.of(reference.point).threshold)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--images", type=Path, help="folder or zip of images to agree on")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def _openvino(graph, threads):
    """OpenVINO in float32, and in bf16 where the processor has it."""
    import openvino

    found = {"openvino f32": OpenVinoRuntime(graph, threads=threads)}
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        found["openvino bf16"] = OpenVinoRuntime(graph, threads=threads, precision="bf16")
    else:
        print("openvino bf16: left out, this processor has no bf16 arithmetic")
    return found


def _inputs(predictor, location):
    if location is None:
        size, channels = predictor.preprocess.size, len(predictor.channels)
        pixels, _ = discs(max(BATCHES), channels, size, seed=7)
        return np.stack([predictor.preprocess(np.moveaxis(one, 0, -1)) for one in pixels])
    from medloom.inference.inputs import open_images

    with open_images([location], ["*_mask.*"]) as files:
        chosen = files[:: max(1, len(files) // max(BATCHES))][: max(BATCHES)]
        return np.stack([predictor.prepare(one.read()).network_input for one in chosen])


def _compare(candidates, images, batch, rounds, threshold):
    """Time every candidate on the same images, taking turns, and compare its masks with torch's."""
    pieces = [images[start : start + batch] for start in range(0, len(images) - batch + 1, batch)]
    answers = {name: np.concatenate([run.run(piece) for piece in pieces]) for name, run in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in range(rounds):
        piece = pieces[round_ % len(pieces)]
        for name, runtime in candidates.items():
            start = time.perf_counter()
            runtime.run(piece)
            times[name].append((time.perf_counter() - start) / batch * 1e3)
    expected = answers["torch f32"]
    base = statistics.median(times["torch f32"])
    for name, found in answers.items():
        ms = statistics.median(times[name])
        dice, difference = _dice(expected, found, threshold), np.abs(found - expected).max()
        print(f"{name:<16}{batch:>6}{ms:>10.2f}{base / ms:>9.2f}{dice:>8.4f}{difference:>10.1e}")


def _dice(expected, found, threshold):
    """Over all images at once."""
    one, two = (np.stack([to_mask(image, threshold) > 0 for image in images]) for images in (expected, found))
    return 2.0 * (one & two).sum() / max(1, one.sum() + two.sum())


def momentary_bundle(folder: Path, recipe=None) -> Path:
    """A recipe's network, of brain-mri by default, after a few steps on bright discs: its answers mean something."""
    recipe = recipe or load_recipe("brain-mri")
    size, channels = recipe.preprocess.input_size, len(recipe.data.channels)
    torch.manual_seed(0)
    network = build_network(recipe, channels, 0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step in range(30):
        images, masks = discs(8, channels, (128, 128), seed=100 + step)
        inputs = torch.from_numpy((images - images.mean()) / images.std()).float()
        truth = torch.from_numpy(masks if recipe.predicts().truth_is_mask else _large(masks))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(inputs)[:, 0], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    onnx = export_onnx(network.eval(), folder / "model.onnx", channels=channels, size=size, target=recipe.predicts())
    return write_bundle(
        folder / "model.tar.gz",
        onnx=onnx,
        weights=network.state_dict(),
        recipe=recipe,
        point=default_point(recipe.predicts()),
        metrics={},
        fingerprint="",
        phantom=True,
    )


def _large(masks):
    """Whether a disc is larger than most, as a label of the whole image."""
    return (masks.mean(axis=(1, 2)) > 0.035).astype(np.float32)


def discs(count, channels, size, seed):
    """Noise with a bright disc: ``(N, C, h, w)`` uint8 and its mask ``(N, h, w)`` float32."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    centres, radii = rng.uniform(0.25, 0.75, (count, 2)) * size, rng.uniform(0.06, 0.15, count) * size[0]
    masks = np.stack([(y - cy) ** 2 + (x - cx) ** 2 < r**2 for (cy, cx), r in zip(centres, radii, strict=True)])
    noisy = rng.normal(90.0, 25.0, (count, channels, *size)) + 70.0 * masks[:, None]
    return np.clip(noisy, 1, 255).astype(np.uint8), masks.astype(np.float32)


if __name__ == "__main__":
    main()
