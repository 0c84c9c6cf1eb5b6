"""Augmented images/s: ours on a whole batch, beside MONAI, TorchIO and albumentations image by image.

    python benchmarks/augmentation.py [--size 256] [--channels 3] [--batch 16] [--rounds 9]

Every library makes the same steps with the same probabilities and magnitudes, as far as it has them; what it lacks is
said. Each begins with images in memory, float32 for the others as their readers give them, and ends with augmented,
normalised images and masks. The libraries take turns in each round; figures are medians over the rounds, the ratio
is the median of the rounds' ratios. A library that is not installed is skipped. One thread where OMP_NUM_THREADS=1.

The last lines are what augmentation costs a training: the time that a preset takes for a batch, beside that of a step
of ``brain-mri-small`` without any (network, loss, backward, optimiser).
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from monai import transforms as mt

from machine import describe
from medloom.models.losses import build_mask_loss
from medloom.models.networks import build_mask_network
from medloom.recipe import load_recipe
from medloom.recipe.sections.augment import AugmentConfig
from medloom.recipe.sections.augment_presets import AUGMENT_PRESETS
from medloom.training.allocator import keep_freed_memory
from medloom.transforms.augment import Augment

Run = Callable[[], object]
OFFSET, SCALE = 100.0, 0.02
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Measure and print."""
    options = _options()
    keep_freed_memory()
    warnings.filterwarnings("ignore", module="monai")
    print(describe("torch", "monai", "torchio", "albumentations"), f"{torch.get_num_threads()} threads", sep=", ")
    print(f"batches of {options.batch}, {options.channels} x {options.size} x {options.size}, with masks")
    images, masks = made_up(options)
    missing = [name for name in OTHERS if not importlib.util.find_spec(name)]
    if missing:
        print(f"not installed and skipped: {', '.join(missing)}")
    for preset in ("default", "mri"):
        section = AugmentConfig.model_validate({"preset": None if preset == "default" else preset})
        runs = {"medloom": ours(section, images, masks)}
        runs |= {name: build(section, images, masks) for name, build in OTHERS.items() if name not in missing}
        compare(f"augment.preset: {preset}", runs, options)
    costs(options)


def compare(title: str, runs: dict[str, Run], options: argparse.Namespace) -> None:
    """Let the libraries take turns and print images/s."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    clock = CLOCKS[options.clock]
    for _ in range(options.rounds + 1):
        for name, run in runs.items():
            seconds[name].append(timed(run, clock))
    print(title)
    for name, times in seconds.items():
        ratios = [other / own for other, own in zip(times[1:], seconds["medloom"][1:], strict=True)]
        rate = options.batch / statistics.median(times[1:])
        print(
            f"  {name:16}{rate:9.0f} images/s" + (f", ours {statistics.median(ratios):.1f} times" * (name != "medloom"))
        )


def timed(run: Run, clock: Callable[[], float]) -> float:
    """Seconds of one batch."""
    begin = clock()
    run()
    return clock() - begin


def made_up(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, for what it shows does not matter here."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, options.channels, options.size, options.size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return images, (images[:, 0] > 200).to(torch.uint8)


def ours(section: AugmentConfig, images: torch.Tensor, masks: torch.Tensor) -> Run:
    """Sample and apply, as a training step does."""
    augment, generator = Augment.of(section), torch.Generator().manual_seed(0)
    offset, scale = (torch.full(images.shape[:2], value) for value in (OFFSET, SCALE))
    count, channels, *size = images.shape

    def run() -> object:
        params = augment.sample(count, channels, (size[0], size[1]), generator)
        return augment.apply(images, masks, offset, scale, params)

    return run


def monai(section: AugmentConfig, images: torch.Tensor, masks: torch.Tensor) -> Run:
    """The dictionary transforms that MONAI's tutorials use, one image after another."""
    both, modes = ["image", "mask"], ["bilinear", "nearest"]
    side = images.shape[-1]
    spacing = max(round(section.elastic.spacing * side), 1)
    strength = (0.0, section.elastic.amount * side)
    steps = mt.Compose(
        [
            mt.RandFlipd(both, prob=section.flip.p, spatial_axis=1),
            mt.RandRotated(
                both,
                range_x=np.radians(section.rotate.degrees),
                prob=section.rotate.p,
                mode=modes,
                padding_mode="zeros",
            ),
            mt.RandZoomd(both, prob=section.crop.p, min_zoom=1.0, max_zoom=1 / section.crop.min_scale, mode=modes),
            mt.Rand2DElasticd(
                both, (spacing, spacing), strength, prob=section.elastic.p, mode=modes, padding_mode="zeros"
            ),
            mt.RandBiasFieldd("image", prob=section.bias_field.p, coeff_range=(0, section.bias_field.amount)),
            mt.RandAdjustContrastd("image", prob=section.gamma.p, gamma=(1 / (1 + section.gamma.amount), 1.4)),
            mt.RandGaussianSmoothd("image", (0.1, section.blur.sigma), (0.1, section.blur.sigma), prob=section.blur.p),
            mt.RandSimulateLowResolutiond(
                "image", prob=section.low_resolution.p, zoom_range=(0.5, 1.0), upsample_mode="bilinear"
            ),
            mt.NormalizeIntensityd("image", torch.tensor(OFFSET), torch.tensor(1 / SCALE)),
            mt.RandScaleIntensityd("image", section.scale.amount, prob=section.scale.p),
            mt.RandShiftIntensityd("image", section.shift.amount, prob=section.shift.p),
            mt.RandGaussianNoised("image", std=section.noise.std, prob=section.noise.p),
        ]
    )
    items = [{"image": image, "mask": mask} for image, mask in zip(images.float(), masks[:, None].float(), strict=True)]
    return lambda: [steps(item) for item in items]


def torchio(section: AugmentConfig, images: torch.Tensor, masks: torch.Tensor) -> Run:
    """TorchIO takes a slice for a volume that is one voxel deep."""
    import torchio as tio

    side = images.shape[-1]
    degrees, zoom = section.rotate.degrees, 1 / section.crop.min_scale
    steps = tio.Compose(
        [
            tio.RandomFlip(axes=(1,), flip_probability=section.flip.p),
            tio.RandomAffine(
                scales=(1, zoom, 1, zoom, 1, 1), degrees=(0, 0, 0, 0, -degrees, degrees), p=section.rotate.p
            ),
            tio.RandomElasticDeformation((7, 7, 4), (section.elastic.amount * side,) * 2 + (0,), p=section.elastic.p),
            tio.RandomBiasField(coefficients=section.bias_field.amount, p=section.bias_field.p),
            tio.RandomGamma(log_gamma=float(np.log1p(section.gamma.amount)), p=section.gamma.p),
            tio.RandomBlur(std=(0, section.blur.sigma, 0, section.blur.sigma, 0, 0), p=section.blur.p),
            tio.RandomNoise(std=(0, section.noise.std), p=section.noise.p),
        ]
    )
    subjects = [
        tio.Subject(image=tio.ScalarImage(tensor=image[..., None]), mask=tio.LabelMap(tensor=mask[None, ..., None]))
        for image, mask in zip((images.float() - OFFSET) * SCALE, masks, strict=True)
    ]
    return lambda: [steps(subject) for subject in subjects]


def albumentations(section: AugmentConfig, images: torch.Tensor, masks: torch.Tensor) -> Run:
    """Albumentations keeps uint8 until it normalises; it has no bias field."""
    import albumentations as alb

    side = images.shape[-1]
    steps = alb.Compose(
        [
            alb.HorizontalFlip(p=section.flip.p),
            alb.Affine(rotate=section.rotate.degrees, scale=(1, 1 / section.crop.min_scale), p=section.rotate.p),
            alb.ElasticTransform(
                alpha=section.elastic.amount * side, sigma=section.elastic.spacing * side, p=section.elastic.p
            ),
            alb.RandomGamma((70, 140), p=section.gamma.p),
            alb.GaussianBlur(sigma_limit=section.blur.sigma, p=section.blur.p),
            alb.Downscale((0.5, 0.99), p=section.low_resolution.p),
            alb.RandomBrightnessContrast(section.shift.amount, section.scale.amount, p=section.scale.p),
            alb.GaussNoise(p=section.noise.p),
            alb.Normalize((0.4,) * images.shape[1], (0.2,) * images.shape[1]),
        ]
    )
    items = [
        {"image": np.ascontiguousarray(image), "mask": mask}
        for image, mask in zip(images.permute(0, 2, 3, 1).numpy(), masks.numpy(), strict=True)
    ]
    return lambda: [steps(**item) for item in items]


OTHERS = {"monai": monai, "torchio": torchio, "albumentations": albumentations}


def costs(options: argparse.Namespace) -> None:
    """Print what each preset takes of a step of brain-mri-small."""
    recipe = load_recipe("brain-mri-small")
    shape = argparse.Namespace(batch=recipe.train.batch_size, channels=3, size=recipe.preprocess.size[0])
    images, masks = made_up(shape)
    step = plain_step(recipe, images, masks)
    runs = {"default": ours(AugmentConfig(), images, masks)}
    runs |= {name: ours(AugmentConfig.model_validate({"preset": name}), images, masks) for name in AUGMENT_PRESETS}
    seconds: dict[str, list[float]] = {name: [] for name in ("step", *runs)}
    clock = CLOCKS[options.clock]
    for _ in range(options.rounds + 1):
        seconds["step"].append(timed(step, clock))
        for name, run in runs.items():
            seconds[name].append(
                statistics.mean(timed(run, clock) for _ in range(4))
            )  # what is drawn differs from batch to batch
    print(f"a step of {recipe.name} without augmentation: {1000 * statistics.median(seconds['step'][1:]):.0f} ms")
    for name in runs:
        pairs = zip(seconds["step"][1:], seconds[name][1:], strict=True)
        share = statistics.median(step / (step + own) for step, own in pairs)
        print(f"  {name:16}{1000 * statistics.median(seconds[name][1:]):9.1f} ms, {share:.3f} of the speed without")


def plain_step(recipe, images: torch.Tensor, masks: torch.Tensor) -> Run:
    """Network, loss, backward and optimiser on one batch, not compiled, in float32."""
    network = build_mask_network(recipe.model.name, images.shape[1], 1, recipe.preprocess.size, recipe.model.args)
    loss = build_mask_loss(recipe.loss.name, 1, recipe.loss.args)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    normal = (images.float() - OFFSET) * SCALE

    def run() -> None:
        optimizer.zero_grad()
        loss(network(normal), masks).backward()
        optimizer.step()

    return run


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: on a machine that others use too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
