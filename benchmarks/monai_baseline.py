"""The same training the usual way (MONAI CacheDataset, dictionary transforms, DataLoader, Lightning) beside ours.

    python benchmarks/monai_baseline.py [--data FOLDER_OR_ZIP] [--epochs 12] [--workers 2]

Both get the same files, split, size, network, loss, optimiser, schedule and number of epochs. Each computes as it
does when nobody says otherwise: the usual way in Lightning's float32, ours in the precision that the processor is
best at, compiled where there is a compiler. The usual way caches what its deterministic transforms return and
makes the random ones in DataLoader workers. Images/s are those of the training steps, medians over the epochs;
filling the cache, preparing the store and the first epoch, in which ours is compiled, are printed beside. Dice is
that of the last epoch over validation images with foreground.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import argparse
import json
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningModule, Trainer
from monai import transforms as mt
from monai.data import CacheDataset, DataLoader

from machine import describe
from medloom.data import prepare
from medloom.data.opening import open_source
from medloom.data.phantom import PhantomPlan, make_phantom
from medloom.events import BatchEnded, EpochEnded, Event, Events
from medloom.extras import find_compiler
from medloom.files import read_json
from medloom.models.losses import build_mask_loss
from medloom.models.networks import build_mask_network
from medloom.recipe import Recipe, load_recipe
from medloom.training import train
from medloom.training.mask_scores import MaskScores
from medloom.training.precision import choose_device
from medloom.training.quiet import quiet_lightning
from medloom.training.schedule import cosine_factor
from medloom.transforms import Preprocess


def main() -> None:
    """Measure both and print."""
    options = _options()
    recipe = _recipe(options)
    with tempfile.TemporaryDirectory() as scratch, quiet_lightning():
        folder = Path(scratch)
        root = options.data or make_phantom(PhantomPlan(patients=options.patients, slices=(20, 24)), folder / "data")
        start = time.perf_counter()
        with open_source(root) as source:
            prepared = prepare(
                recipe, source, folder, folder, workers=options.workers, preprocess=Preprocess.of(recipe.preprocess)
            )
        prepare_s = time.perf_counter() - start
        usual = usual_way(recipe, prepared.catalogue, Path(root), options.workers)
        ours = our_way(recipe, prepared, folder / "run")
        precision = read_json(folder / "run" / "training.json")["precision"]
    counts = prepared.catalogue["split"].value_counts()
    print(describe("torch", "lightning", "monai"))
    images = f"{counts['train']} training and {counts['validation']} validation images"
    print(f"{recipe.name}, {images}, {options.epochs} epochs")
    print(f"usual way  {usual.line()}, cache filled in {usual.ready_s:.1f} s, float32")
    print(f"medloom    {ours.line()}, store made in {prepare_s:.1f} s, {precision}, compiled: {options.compile}")
    print(f"ratio      {ours.images_per_s / usual.images_per_s:8.2f}")


@dataclass(frozen=True)
class Way:
    """What one way of training did."""

    images: int
    epoch_s: list[float]
    dice: float
    ready_s: float = 0.0

    @property
    def images_per_s(self) -> float:
        """Training images per second of the median epoch."""
        return self.images / statistics.median(self.epoch_s)

    def line(self) -> str:
        """Return the metrics in words."""
        return f"{self.images_per_s:8.1f} images/s, Dice {self.dice:.3f}, first epoch {self.epoch_s[0]:.1f} s"


def our_way(recipe: Recipe, prepared, run_dir: Path) -> Way:
    """Train as users do, with a clock at the epochs' ends."""
    began, ended = [time.perf_counter()], []

    def listen(event: Event) -> None:
        if isinstance(event, EpochEnded):
            began.append(time.perf_counter())
        elif isinstance(event, BatchEnded) and event.step == event.steps:
            ended.append(time.perf_counter())

    train(recipe, prepared.catalogue, prepared.store, run_dir, events=Events([listen]))
    dice = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])["dice_foreground"]
    images = int((prepared.catalogue["split"] == "train").sum())
    return Way(images, [end - begin for begin, end in zip(began, ended, strict=False)], dice)


def usual_way(recipe: Recipe, catalogue: pd.DataFrame, root: Path, workers: int) -> Way:
    """Train as tutorials do."""
    start = time.perf_counter()
    fixed, random = _fixed(recipe), _random(recipe)
    items = {
        split: [{"image": root / str(row.image), "mask": root / str(row.mask)} for row in rows.itertuples()]
        for split, rows in catalogue.groupby("split")
    }
    training = CacheDataset(items["train"], mt.Compose([*fixed, *random]), progress=False)
    validation = CacheDataset(items["validation"], mt.Compose(fixed), progress=False)
    filled_s = time.perf_counter() - start
    batch = recipe.train.batch_size
    loader = DataLoader(training, batch_size=batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    module = UsualModule(recipe, steps=len(loader) * recipe.train.epochs)
    device = choose_device("auto")
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=recipe.train.epochs,
        gradient_clip_val=recipe.train.clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, loader, DataLoader(validation, batch_size=batch))
    return Way(len(training), module.epoch_s, module.dice, filled_s)


class UsualModule(LightningModule):
    """What a tutorial would write."""

    def __init__(self, recipe: Recipe, steps: int) -> None:
        super().__init__()
        torch.manual_seed(recipe.train.seed)
        self.recipe = recipe
        model = recipe.model
        self.network = build_mask_network(model.name, len(recipe.data.channels), 1, recipe.preprocess.size, model.args)
        self.loss = build_mask_loss(recipe.loss.name, 1, recipe.loss.args)
        self.steps = steps
        self.epoch_s: list[float] = []
        self.dice = float("nan")

    def configure_optimizers(self):
        config = self.recipe.train
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=config.optimizer.lr, weight_decay=config.optimizer.weight_decay
        )
        factor = lambda step: cosine_factor(step, self.steps, config.schedule.warmup)  # noqa: E731
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        self.start = time.perf_counter()

    def training_step(self, batch, batch_idx: int):
        return self.loss(self.network(batch["image"].as_tensor()), batch["mask"].as_tensor()[:, 0])

    def on_validation_epoch_start(self) -> None:
        self.epoch_s.append(time.perf_counter() - self.start)
        self.scores = MaskScores(self.device)

    def validation_step(self, batch, batch_idx: int) -> None:
        masks = batch["mask"].as_tensor()[:, 0]
        logits = self.network(batch["image"].as_tensor()).float()
        self.scores.add(self.loss(logits, masks), logits, masks)

    def on_validation_epoch_end(self) -> None:
        self.dice = self.scores.metrics()["dice_foreground"]


def _fixed(recipe: Recipe) -> list[mt.Transform]:
    both = ["image", "mask"]
    return [
        mt.LoadImaged(both, reader="PILReader", ensure_channel_first=True, image_only=True),
        mt.Resized(both, recipe.preprocess.size, mode=["bilinear", "nearest"]),
        mt.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        mt.ThresholdIntensityd("mask", threshold=1, above=False, cval=1),
        mt.CastToTyped("mask", np.uint8),
    ]


def _random(recipe: Recipe) -> list[mt.Transform]:
    both, config = ["image", "mask"], recipe.augment
    modes = ["bilinear", "nearest"]
    angle = np.radians(config.rotate.degrees)
    return [
        mt.RandFlipd(both, prob=config.flip.p, spatial_axis=0),
        mt.RandRotated(both, range_x=angle, prob=config.rotate.p, mode=modes, padding_mode="zeros"),
        mt.RandZoomd(both, prob=config.crop.p, min_zoom=1.0, max_zoom=1 / config.crop.min_scale, mode=modes),
        mt.RandScaleIntensityd("image", config.scale.amount, prob=config.scale.p),
        mt.RandShiftIntensityd("image", config.shift.amount, prob=config.shift.p),
        mt.RandGaussianNoised("image", std=config.noise.std, prob=config.noise.p),
    ]


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe with the same last weights on both sides: no averaging."""
    recipe = load_recipe(options.recipe)
    plain = recipe.plain()
    plain["train"] |= {"epochs": options.epochs, "averaging": "none", "device": "auto", "precision": "auto"}
    plain["train"]["compile"] = options.compile
    return recipe.model_validate(plain)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="brain-mri-small")
    parser.add_argument("--data", type=Path, help="folder in the layout of the LGG set; phantoms by default")
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    there = find_compiler() is not None
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=there, help="compile ours")
    return parser.parse_args()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="monai")
    main()
