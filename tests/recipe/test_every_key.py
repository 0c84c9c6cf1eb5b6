"""Every key of the recipe has an effect: with another value something that the recipe decides is another."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from medloom.data.building import _settings
from medloom.data.checks import UnfitError, check_quarantine, mask_classes
from medloom.data.kinds import truth_of
from medloom.data.layouts import build_layout
from medloom.data.orientation import asked_orientation
from medloom.data.phantom import PhantomPlan
from medloom.data.series import of_series
from medloom.data.splits import SplitRule, as_listed, split_as_published
from medloom.errors import UserError
from medloom.evaluation.kinds import KINDS as FAMILIES
from medloom.evaluation.masks.point import choose_point
from medloom.imaging import Image
from medloom.models.kinds import KINDS as MODELS
from medloom.packaging.writer import _manifest
from medloom.pipeline.places import resolve_images
from medloom.pipeline.runs import Run
from medloom.pipeline.seeds import seed_runs
from medloom.recipe import Recipe, parse_recipe, resolve_target
from medloom.recipe.kinds import KINDS
from medloom.recipe.sections.data import OriginConfig
from medloom.registry import TRACKERS, load
from medloom.targets import Target
from medloom.training.data import StoreData
from medloom.training.diagnosis.rules import rules_of
from medloom.training.fit import _averaging, _optimizer, _schedule
from medloom.training.kinds import KINDS as TRAININGS
from medloom.training.ledger import Ledger
from medloom.training.loop import plan_job
from medloom.training.samples import Samples
from medloom.transforms import Preprocess
from medloom.transforms.augment.mixing import mix_images
from medloom.tuning.plan import Study
from medloom.tuning.samplers import build_pruner, build_sampler
from medloom.tuning.worker import cost_of
from support.recipe_keys import CASES, exists, fields, text

TESTS = Path(__file__).parents[1]


def known(recipe: Recipe) -> Recipe:
    """The recipe after preparing, which finds out what the labels of ``auto`` are."""
    return resolve_target(recipe, Target("binary", ("a", "b"))) if recipe.target.kind == "auto" else recipe


STEMS = [f"p{number // 3}_{number}" for number in range(12)]
FILES = {
    "csv": [f"images/{stem}.png" for stem in STEMS] + ["labels.csv"],
    "folder-classes": [
        f"{part}/{label}/{label}{stem}.png" for part in ("train", "test") for label in "ab" for stem in STEMS
    ],
    "lgg-mri": [f"case{stem[1]}/{stem}{end}.tif" for stem in STEMS for end in ("", "_mask")],
}
FILES["dataset-json"] = ["dataset.json", *(f"{tree}Tr/{s}.png" for s in STEMS for tree in ("images", "labels"))]
OTHERS = {
    "dataset.json": b'{"modality": {"0": "a"}, "labels": {"0": "background", "255": "lesion"}, "file_ending": ".png"}'
}
PATTERNS = [f"{folder}/{stem}{end}" for stem in STEMS for folder in ("images", "pictures") for end in (".png",)]
PATTERNS += [
    f"{folder}/{stem}{end}" for stem in STEMS for folder in ("masks", "truth", "labels") for end in (".png", ".npy")
]
PATTERNS += ["p0_0/grey.png", "p0_1/b.png"]


def table() -> bytes:
    rows = ["image,file,level,grade,a,b,words,patient,person,age,site"]
    for number in range(12):
        label = "" if number == 5 else "-1" if number == 7 else str(number % 2)
        level = "" if number == 5 else "-1" if number == 7 else "ab"[number % 2]
        words = "" if number == 5 else "x;y" if number % 2 else "y"
        cells = (STEMS[number], STEMS[11 - number], level, "ab"[number % 2], label, str(number % 3 % 2), words)
        rows.append(",".join((*cells, f"P{number // 3}", f"Q{number // 2}", str(number), "leg")))
    return "\n".join(rows).encode()


def vector(name: str, count: int) -> bytes:
    odd = int(name[-5]) % 2
    file = io.BytesIO()
    np.save(file, np.full(count, odd if name.startswith("truth") else 1 - odd))
    return file.getvalue()


# What a recipe decides


def listed(recipe: Recipe) -> object:
    """The samples of a made-up set, with their patients, labels and what is said of them."""
    width = len(getattr(recipe.target, "columns", ()))
    found = build_layout(recipe).find(
        FILES.get(recipe.data.layout, PATTERNS),
        lambda name: vector(name, width) if name.endswith("npy") else OTHERS.get(name, table()),
    )
    return repr(found.items), found.problems, found.notes, found.target


def listed_twice(recipe: Recipe) -> object:
    """The samples of a table that has a row twice."""
    rows = table().splitlines()
    found = build_layout(recipe).find(FILES[recipe.data.layout], lambda name: b"\n".join([*rows, rows[1]]))
    return found.problems, found.notes


def published(recipe: Recipe) -> object:
    """The parts in which made-up lists have the samples."""
    lists = {"most.txt": "\n".join(STEMS[:9]).encode(), "rest.txt": "\n".join(STEMS[9:]).encode()}
    found = build_layout(recipe).find(FILES[recipe.data.layout], lambda name: table())
    return [item.published for item in as_listed(found, recipe.split.lists, list(lists), lists.__getitem__).items]


def stored(recipe: Recipe) -> object:
    """What the key of the pixel store is made of."""
    return json.dumps([_settings(recipe), build_layout(recipe).rules()])


def masked(recipe: Recipe) -> object:
    """The classes of a made-up mask."""
    classes = truth_of(recipe).class_map(recipe)
    assert classes is not None
    return mask_classes(Image(np.array([[[0], [255], [254]]], np.uint8), "png"), classes).tolist()


def seen(recipe: Recipe) -> object:
    """What the network sees of a made-up image."""
    pixels = np.random.default_rng(0).integers(0, 4000, (40, 56, 3)).astype(np.uint16)
    pixels[:9] = 0
    step = Preprocess.of(recipe.preprocess)
    names = {"grey": ("a",)}.get(recipe.preprocess.colour, ("a", "b", "c"))
    made = step(step.to_input(Image(pixels, "dicom", (0.5, 0.5), window=(900.0, 700.0)), names))
    return made.shape, made.tobytes()


def augmented(recipe: Recipe) -> object:
    """A made-up batch after the random changes."""
    augment = TRAININGS[recipe.target.kind].augment(recipe)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((16, 3, 32, 32), generator=generator) * 255
    params = augment.sample(16, 3, (32, 32), torch.Generator().manual_seed(1))
    changed = augment.apply_image(images, torch.zeros(16, 3), torch.ones(16, 3), params)
    mixed = changed if params.mixing is None else mix_images(changed, params.mixing)
    return mixed.numpy().tobytes()


def divided(recipe: Recipe) -> object:
    """The parts of made-up patients."""
    patients = np.repeat(np.arange(60), 3)
    frame = pd.DataFrame(
        {
            "sample_id": [f"s{number:03d}" for number in range(180)],
            "patient_id": [f"p{number:02d}" for number in patients],
            "foreground_px": (patients % 3 == 0) * 9,
            "image": "a",
            "published": "",
        }
    )
    if recipe.data.layout == "folder-classes":
        frame["published"] = np.where(patients < 20, "test", np.where(patients < 25, "validation", "train"))
    return split_as_published(frame, SplitRule.of(recipe.split))[0][["split", "fold"]].to_numpy().tolist()


def network(recipe: Recipe) -> object:
    """The network, what of it is trained in which epoch, and at which rates."""
    torch.manual_seed(0)
    recipe = known(recipe)
    made = MODELS[recipe.target.kind].build_network(recipe, recipe.data.input_channels, 3)
    trained = []
    for epoch in range(4):
        getattr(made, "set_epoch", lambda epoch: None)(epoch)
        trained.append([parameter.requires_grad for parameter in made.parameters()])
        trained.append([module.training for module in made.modules()])
    groups = [{**group, "params": len(list(group["params"]))} for group in made.parameter_groups(0.5)]
    return repr(made), {name: tuple(value.shape) for name, value in made.state_dict().items()}, trained, groups


def loss(recipe: Recipe) -> object:
    """The value of the loss on made-up logits."""
    recipe = known(recipe)
    target, generator = recipe.predicts(), torch.Generator().manual_seed(0)
    made = MODELS[target.kind].build_loss(recipe, LABELS[target.kind])
    if target.kind == "masks":
        logits = torch.randn((2, target.outputs, 8, 8), generator=generator)
        truth = torch.randint(0, 2, (2, 8, 8), generator=generator)
    else:
        truth = torch.from_numpy(LABELS[target.kind])
        logits = torch.randn((len(truth), target.outputs), generator=generator)
    return float(made(logits, truth))


LABELS: dict[str, Any] = {
    "masks": None,
    "binary": np.array([[0], [1], [0], [0]], np.float32),
    "multi-class": np.array([[0], [1], [2], [0]], np.float32),
    "multi-label": np.array([[0, 1], [1, 1], [0, 0], [0, 1]], np.float32),
    "regression": np.array([[0.5], [1.5], [9.0], [2.0]], np.float32),
}


class Rooms:
    """As much of a pixel store as a job asks for."""

    images = np.zeros((40, 2, 16, 16), np.uint8)

    def rows(self, ids: list[str]) -> Any:
        return np.array([int(one) for one in ids], np.int64)


def trained(recipe: Recipe) -> object:
    """Device, precision, optimiser, schedule, averaging, batches and the history that a training begins with."""
    recipe = known(recipe)
    config, store = recipe.train, Rooms()
    labels = [str([n % 2] * recipe.predicts().truth_width) for n in range(40)]
    split = ["train"] * 30 + ["validation"] * 10
    catalogue = pd.DataFrame({"sample_id": [str(n) for n in range(40)], "split": split, "labels": labels})
    job = plan_job(recipe, catalogue, store, Path("run"))  # type: ignore[arg-type]
    positive, flat = np.arange(40) % 4 == 0, np.zeros((40, 2), np.float32)
    data = StoreData(
        Samples(store.images, store.images, flat, flat, flat, positive),
        job.train_rows,
        job.validation_rows,
        batch_size=config.batch_size,
        validation_batch_size=config.validation_batch_size,
        seed=config.seed,
        positive_share=TRAININGS[recipe.target.kind].positive_share(recipe),
    )
    weights = torch.nn.Linear(2, 2)
    weights.parameter_groups = lambda lr: [{"params": list(weights.parameters()), "lr": lr}]  # type: ignore
    made = _optimizer(config, job.precision)(weights)  # type: ignore[arg-type]
    schedule, averaging = _schedule(config, data.steps_per_epoch), _averaging(config, weights)  # type: ignore[arg-type]
    groups = [{key: value for key, value in group.items() if key != "params"} for group in made.param_groups]
    plan = data._training_plan(0).tolist(), data.validation_batch_size, data.steps_per_epoch
    kept = {key: value for key, value in vars(averaging or data).items() if isinstance(value, int | float | None)}
    facts = job.device, job.devices, job.precision, job.compiled, config.epochs
    return facts, type(made), groups, type(schedule), vars(schedule), type(averaging), kept, plan, Ledger.of(config)


def decided(recipe: Recipe) -> object:
    """The operating point on made-up validation cases."""
    generator = np.random.default_rng(0)
    if recipe.target.kind == "masks":
        cases = []
        for number in range(24):
            truth = np.zeros((24, 24), np.uint8)
            truth[4:12, 4:12] = number % 2
            noise = generator.uniform(0, 0.75, (1, 24, 24)) + 0.2 * truth
            cases.append((truth, noise.astype(np.float32), f"p{number // 2}"))
        found = choose_point(cases, recipe.evaluate)  # type: ignore[arg-type]
        return found.point, found.thresholds, found.min_regions_px, found.within_limit
    recipe = known(recipe)
    family = FAMILIES[recipe.target.kind](recipe.predicts())
    truth = np.arange(40) % 4 == 0
    score = np.clip(0.35 * truth + generator.uniform(0, 0.6, 40), 0, 1)
    columns = zip(family.truth_columns, family.score_columns, strict=True)  # type: ignore[attr-defined]
    cases = pd.DataFrame(
        {name: value for pair in columns for name, value in zip(pair, (truth * 1, score), strict=True)}
    )
    return family.choose(cases, recipe)  # type: ignore[attr-defined]


def bundled(recipe: Recipe) -> object:
    """The manifest of the bundle."""
    recipe = known(recipe)
    thresholds = [0.5] * (recipe.predicts().outputs if recipe.target.kind in ("binary", "multi-label") else 0)
    return _manifest(
        recipe,
        [None],
        point={"threshold": 0.5, "min_region_px": 0} if recipe.target.kind == "masks" else {"thresholds": thresholds},
        metrics={},
        measured=None,
        training_data={"fingerprint": "0" * 64, "counts": {}},
        phantom=False,
        plane=None,
        calibration=None,
        appearance=None,
    ).model_dump_json()


def images(recipe: Recipe) -> object:
    """Where images are looked for."""
    return resolve_images(recipe)


def phantom(recipe: Recipe) -> object:
    """What phantoms are made."""
    return PhantomPlan.of(recipe.data.phantom)


def turned(recipe: Recipe) -> object:
    """In which plane images must be."""
    return asked_orientation(recipe.data.plane)


def tolerated(recipe: Recipe) -> object:
    """Whether one bad sample of ten is let pass."""
    return check_quarantine(["one"], 1, 10, recipe.data.policy, recipe.data.quarantine_limit)  # type: ignore[list-item]


def searched(recipe: Recipe) -> object:
    """What a study searches, who chooses the first settings and those after them, and who gives trials up."""
    study = Study(Path("study"), known(recipe))
    config, numbers = study.recipe.tune, []
    for number in (0, 4):
        sampler = build_sampler(config, number)
        numbers.append((type(sampler).__name__, getattr(sampler, "_n_startup_trials", None), sampler._rng.rng.random()))
    pruner = build_pruner(config, 20)
    grid = study.space.grid(config.grid_points) if config.sampler == "grid" else None
    return study.space.parameters, numbers, type(pruner).__name__, grid, cost_of(study, {"seconds": 1, "parameters": 2})


def series(recipe: Recipe) -> object:
    """The files of a folder without DICOM series."""
    return of_series(["a.png"], lambda name: b"", recipe.data.series)


def followed(recipe: Recipe) -> object:
    """The trackers of a run."""
    return [repr(vars(load(TRACKERS[name]).of(recipe.tracking, Path("run")))) for name in recipe.tracking.trackers]


def watched(recipe: Recipe) -> object:
    """What is looked for while a network learns, and how often."""
    return [rule.name for rule in rules_of(recipe)], recipe.diagnose.stride(4000)


def members(recipe: Recipe) -> object:
    """The seeds of the trainings of a run."""
    return [member.recipe.train.seed for member in seed_runs(Run(Path("run"), recipe))]


SMALL = {"preprocess.size": [32, 32], "preprocess.normalise.method": "zscore"}
TIMM = {**SMALL, "model.name": "test_resnet", "data.channels": ["a"]}
"""Settings that make networks small."""

STEPS = tuple(key.split(".")[1] for key, _ in fields(KINDS["binary"]) if re.fullmatch(r"augment\.\w+\.p", key))

Observer = Callable[[Recipe], object]
OBSERVERS: tuple[tuple[Observer, tuple[str, ...]], ...] = (
    (listed, ("target.columns", "target.classes", "target.blank", "target.uncertain", "target.separator")),
    (listed, ("data.layout", "data.image", "data.mask", "data.array", "data.channels", "data.missing_channel")),
    (listed, ("data.patient_pattern",)),
    (listed, tuple(f"data.labels.{key}" for key in ("file", "image", "patient", "patient_pattern", "groups"))),
    (listed_twice, ("data.labels.repeated",)),
    (published, ("split.lists",)),
    (listed, ("data.labels.metadata.numeric", "data.labels.metadata.categorical")),
    (masked, ("target.mask_values", "target.ignore", "target.mask_tolerance", "target.mask_colours")),
    (images, ("data.path",)),
    (phantom, tuple(f"data.phantom.{key}" for key in ("kind", "patients", "size", "slices", "prevalence", "seed"))),
    (stored, ("data.page", "data.align")),
    (turned, ("data.plane",)),
    (series, ("data.series",)),
    (tolerated, ("data.policy", "data.quarantine_limit")),
    (divided, tuple(f"split.{key}" for key in ("train", "validation", "test", "folds", "fold", "published", "file"))),
    (divided, ("split.hold_out", "split.by", "split.stratify", "split.seed")),
    (seen, tuple(f"preprocess.{key}" for key in ("size", "fit", "spacing", "window", "colour", "crop"))),
    (
        seen,
        tuple(
            f"preprocess.normalise.{key}" for key in ("method", "nonzero", "per_channel", "percentiles", "min_spread")
        ),
    ),
    (augmented, ("augment.preset", "augment.flip.vertical")),
    (augmented, tuple(f"augment.{step}.p" for step in STEPS)),
    (augmented, tuple(key for key in CASES if key.startswith("augment.") and not key.endswith(".p"))),
    (network, ("data.context",)),
    (
        network,
        tuple(
            f"model.{key}"
            for key in ("name", "encoder", "args", "weights", "tune", "blocks", "backbone_rate", "deep_supervision")
        ),
    ),
    (network, ("model.layer_decay", "model.head_epochs", "model.freeze_statistics")),
    (network, ("model.unfreeze_every", "model.dropout", "model.metadata", "model.table_width")),
    (loss, ("loss.name", "loss.args")),
    (trained, tuple(f"train.optimizer.{key}" for key in ("name", "lr", "weight_decay", "momentum"))),
    (trained, tuple(f"train.schedule.{key}" for key in ("name", "warmup", "factor", "patience"))),
    (trained, ("train.early_stopping.patience", "train.early_stopping.min_delta", "train.monitor")),
    (trained, ("train.epochs", "train.batch_size", "train.validation_batch_size", "train.averaging")),
    (trained, ("train.swa_start", "train.ema_decay", "train.precision", "train.device", "train.devices")),
    (trained, ("train.compile", "train.seed", "train.positive_share")),
    (members, ("train.seeds",)),
    (decided, tuple(f"evaluate.{key}" for key in ("threshold", "rule", "min_sensitivity", "cost_ratio"))),
    (decided, ("evaluate.min_region_px", "evaluate.max_false_positive_rate")),
    (bundled, ("name", "evaluate.views", "package.runtime")),
    (bundled, tuple(f"data.origin.{key}" for key in OriginConfig.model_fields)),
    (bundled, tuple(f"package.card.{key}" for key in ("intended_use", "out_of_scope", "licence", "contact"))),
    (searched, tuple(f"tune.{key}" for key in ("preset", "space", "sampler", "startup_trials", "grid_points", "cost"))),
    (searched, ("tune.pruner", "tune.seed")),
    (watched, ("diagnose.rules", "diagnose.every")),
    (followed, ("tracking.trackers", "tracking.mlflow.uri", "tracking.mlflow.experiment")),
    (followed, ("tracking.wandb.project", "tracking.wandb.mode")),
)
OBSERVER_OF = {key: observer for observer, keys in OBSERVERS for key in keys}

ELSEWHERE = {
    "description": "recipe/test_reference.py",
    "target.kind": "test_kinds.py",
    "data.kaggle": "data/test_kaggle.py",
    "data.labels.files": "data/test_part_tables.py",
    "split.keep": "pipeline/test_no_leak.py",
    "train.clip": "training/test_train.py",
    "train.micro_batch": "training/test_micro.py",
    "train.strategy": "training/test_average.py",
    **{
        f"train.average.{key}": "training/test_average.py"
        for key in ("workers", "of", "every", "quorum", "lease", "attempts")
    },
    "train.checkpoint_minutes": "training/test_resume.py",
    "tracking.pictures": "tracking/test_reading.py",
    "diagnose.action": "training/test_diagnosis_run.py",
    "train.channels_last": "training/test_channels_last.py",
    "train.profile": "training/test_profiled_training.py",
    "evaluate.batch_size": "evaluation/test_pages.py",
    "evaluate.calibration": "evaluation/test_calibrated_run.py",
    "evaluate.bootstrap": "evaluation/test_label_run.py",
    "package.serve": "pipeline/test_soup.py",
    "package.fingerprint": "evaluation/test_fingerprint.py",
    "package.precision": "pipeline/test_precision.py",
    "package.precision_limit": "pipeline/test_precision.py",
    "tune.price_per_hour": "tuning/test_report.py",
    **{f"distil.{key}": "pipeline/test_distilled.py" for key in ("model", "epochs", "temperature")},
}
"""Keys whose effect takes a run, or another test watches."""

IN = {network: TIMM, loss: SMALL, trained: {**SMALL, "train.device": "cpu", "train.precision": "32"}, bundled: SMALL}
CHANNELS = {"data.image": "{sample}/{channel}.png", "data.channels": ["grey", "b"]}
VALUES: dict[str, tuple[object, dict[str, object]]] = {
    "name": ("two", {}),
    "target.classes": (["b", "a"], {"target.columns": ["grade"]}),
    "target.blank": ("mask", {}),
    "target.uncertain": ("negative", {}),
    "target.separator": ("y", {"target.columns": ["words"]}),
    "target.mask_values": ({"background": 255, "lesion": 0}, {}),
    "target.ignore": (254, {}),
    "data.path": ("/nowhere", {"data.layout": "array"}),
    "data.layout": ("array", {}),
    "data.channels": (["grey"], {"data.layout": "array", **CHANNELS}),
    "data.page": (1, {}),
    "data.plane": ("coronal", {}),
    "data.align": ("resample", {}),
    "data.series": ("1", {}),
    **{f"data.origin.{key}": (2 if key == "readers" else "somebody", {}) for key in OriginConfig.model_fields},
    "data.policy": ("quarantine", {}),
    "data.phantom.kind": ("melanoma", {}),
    "data.phantom.patients": (5, {}),
    "data.phantom.size": (64, {}),
    "data.phantom.slices": ([5, 6], {}),
    "data.phantom.seed": (1, {}),
    "data.labels.metadata.numeric": (["age"], {}),
    "data.labels.metadata.categorical": (["site"], {}),
    "data.labels.groups": (["site"], {}),
    "split.folds": (5, {}),
    "split.fold": (1, {"split.folds": 5}),
    "split.file": ("split.csv", {}),
    "preprocess.size": ([32, 32], {}),
    "preprocess.fit": ("pad", {}),
    "preprocess.spacing": ([2.0, 2.0], {"preprocess.fit": "pad"}),
    "preprocess.window": ("file", {}),
    "preprocess.colour": ("grey", {}),
    "preprocess.crop": ([16, 16], {}),
    "preprocess.normalise.method": ("minmax", {}),
    **{f"augment.{step}.p": (0.9, {}) for step in STEPS if step != "colour"},
    "augment.preset": ("mri", {}),
    "augment.flip.vertical": (0.9, {}),
    "model.name": ("unetr", {}),
    "model.dropout": (0.5, {}),
    "model.weights": ("absent.safetensors", {}),
    "preprocess.normalise.min_spread": (5000.0, {}),
    "data.missing_channel": ("zeros", {"data.layout": "array", **CHANNELS}),
    "model.metadata": ("fused", {}),
    "loss.name": ("focal", {}),
    "loss.args": ({"wrong": 1}, {}),
    "train.epochs": (7, {}),
    "train.batch_size": (5, {}),
    "train.validation_batch_size": (3, {}),
    "train.optimizer.name": ("sgd", {}),
    "train.optimizer.lr": (0.5, {}),
    "train.optimizer.weight_decay": (0.5, {}),
    "train.schedule.name": ("none", {}),
    "train.early_stopping.patience": (3, {}),
    "target.mask_tolerance": (1, {}),
    "target.mask_colours": ({"background": [0, 0, 0], "lesion": [255, 255, 255], "ignore": [254, 254, 254]}, {}),
    "train.monitor": ("loss", {}),
    "train.averaging": ("ema", {}),
    "train.precision": ("bf16", {}),
    "train.device": ("cuda", {}),
    "train.devices": (2, {}),
    "train.compile": (True, {}),
    "train.seed": (3, {"train.positive_share": 0.5}),
    "train.positive_share": (0.5, {}),
    "evaluate.views": (2, {}),
    "evaluate.threshold": (0.123, {}),
    "evaluate.min_region_px": (7, {}),
    "package.runtime": ("torch", {}),
    **{f"package.card.{key}": ("some words", {}) for key in ("intended_use", "out_of_scope", "licence", "contact")},
    "tune.preset": ("chest-xray", {}),
    "tune.space": ({"train.epochs": {"integer": [2, 9]}}, {}),
    "tune.sampler": ("random", {}),
    "tune.seed": (3, {}),
    "diagnose.rules": (["plateau"], {}),
    "tracking.trackers": (["mlflow"], {}),
}
"""Another value than the default, and settings with which it has an effect, of the keys that depend on no other."""

BY_KIND: dict[tuple[str, str], tuple[object, dict[str, object]]] = {
    ("masks", "data.layout"): ("image-mask", {}),
    ("masks", "data.image"): ("pictures/{sample}.png", {"data.layout": "image-mask"}),
    ("masks", "data.channels"): (["grey"], {"data.layout": "image-mask", **CHANNELS}),
    ("masks", "data.missing_channel"): ("zeros", {"data.layout": "image-mask", **CHANNELS}),
    ("masks", "loss.name"): ("dice", {}),
    ("masks", "tune.preset"): ("brain-mri", {}),
    ("masks", "model.weights"): ("absent.safetensors", {"model.name": "smp-unet"}),
    **{
        ("masks", f"model.{key}"): (value, {"model.name": "smp-unet", "model.encoder": "test_resnet", **settings})
        for key, value, settings in (
            ("tune", "head", {}),
            ("blocks", 2, {"model.tune": "blocks"}),
            ("backbone_rate", 0.5, {}),
            ("layer_decay", 0.5, {}),
            ("unfreeze_every", 2, {}),
            ("head_epochs", 2, {}),
            ("freeze_statistics", True, {}),
        )
    },
}


ALONE = {("regression", "loss.name"), ("regression", "train.monitor")}
"""Keys that have one value only."""
# the classes of a vector are numbers: what is found where is the same code for several labels and for numbers
ALONE |= {(kind, f"data.{key}") for kind in ("binary", "multi-class", "auto") for key in ("image", "missing_channel")}


def value_of(kind: str, key: str) -> tuple[object, dict[str, object]]:
    return BY_KIND.get((kind, key)) or VALUES.get(key) or CASES[key][:2]


@cache
def observed(observer: Observer, recipe: str) -> object:
    """What an observer sees of a recipe, or the refusal."""
    try:
        return observer(parse_recipe(recipe))
    except (UserError, UnfitError) as error:
        return f"{type(error).__name__}: {error}"


ALL = [(kind, key) for kind, model in KINDS.items() for key, _ in fields(model) if key in OBSERVER_OF]


@pytest.mark.parametrize(("kind", "key"), ALL)
def test_another_value_of_a_key_is_seen_in_what_the_recipe_decides(kind, key, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path))
    value, settings = value_of(kind, key)
    observer = OBSERVER_OF[key]
    given = {**IN.get(observer, {}), **settings}
    if kind == "masks" and "model.name" not in settings:
        given.pop("model.name", None)
    if (kind, key) not in ALONE and exists(kind, key, given):
        assert observed(observer, text(kind, {**given, key: value})) != observed(observer, text(kind, given))


def test_every_key_of_the_schema_is_watched():
    keys = {key for model in KINDS.values() for key, _ in fields(model)}
    assert keys == OBSERVER_OF.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("key", ELSEWHERE)
def test_the_other_tests_name_their_key(key):
    assert key.rpartition(".")[2] in (TESTS / ELSEWHERE[key]).read_text("utf-8")
