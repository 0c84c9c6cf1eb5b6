"""Compare training choices by patient-wise cross-validation and print Markdown tables.

``python benchmarks/recipe_choice.py --data lgg-mri-segmentation.zip [--folds 4] [--only NAME...] [--set key=value...]``

Each variant changes the recipe that it names and nothing else. Fold k tests; a share of the other patients picks the
epoch and the operating point, the rest train (``split.validation``). The metrics are over the images of all test folds
together, with 95 % intervals over patients, and the difference of each variant from the first one is paired: taken
patient by patient on the same resamples. ``--choose 0 2`` prints the patients of these folds and those of the others
apart, so that a variant can be chosen on the first table and judged on the second. Runs that are done are not repeated,
so the comparison can be stopped and continued.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from machine import describe
from medloom import pipeline
from medloom.evaluation import KINDS
from medloom.evaluation.comparison import compare_cases
from medloom.evaluation.tables import read_cases
from medloom.files import read_json
from medloom.recipe import load_recipe
from medloom.reports.comparison import signed_text
from medloom.targets import Target
from medloom.wording import metric_text

USUAL = [
    "loss.name=dice-focal",
    "loss.args.batch=false",
    "model.args.norm=INSTANCE",
    "train.averaging=none",
    "train.schedule.name=none",
    "train.positive_share=null",
    "train.monitor=dice_foreground",
    "evaluate.threshold=0.5",
    "evaluate.min_region_px=0",
    "evaluate.views=1",
]
FOCAL_TVERSKY = ["loss.name=focal-tversky", "loss.args={batch: true}"]
LITE0 = [
    "model.name=smp-unet",
    "model.encoder=tf_efficientnet_lite0",
    "model.weights=efficientnet-lite0",
    "model.args={}",
    "train.optimizer.lr=0.001",
    "train.epochs=10",
]
TVERSKY = ["loss.name=tversky", "loss.args={alpha: 0.3, beta: 0.7, batch: true}"]
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "usual": USUAL,
    "as the data are": ["train.positive_share=null"],
    "instance norm, as the data are": ["train.positive_share=null", "model.args.norm=INSTANCE"],
    "instance norm": ["model.args.norm=INSTANCE"],
    "Dice per image": ["loss.args.batch=false"],
    "Dice + focal": ["loss.name=dice-focal"],
    "Dice alone": ["loss.name=dice"],
    "Tversky": TVERSKY,
    "without averaging": ["train.averaging=none"],
    "constant rate": ["train.schedule.name=none"],
    "low rate": ["train.optimizer.lr=0.001"],
    "percentile": ["preprocess.normalise.method=percentile"],
    "best by Dice on foreground": ["train.monitor=dice_foreground"],
    "one view": ["evaluate.views=1"],
    "context": ["data.context=1"],
    "augment mri": ["augment.preset=mri"],
    "lite0": LITE0,
    "lite0 fresh": [*LITE0, "model.weights=none"],
    "lite0 context": [*LITE0, "data.context=1"],
    "lite0 augment": [*LITE0, "augment.preset=mri"],
    "lite0 tversky": [*LITE0, *TVERSKY],
    "lite0 focal tversky": [*LITE0, *FOCAL_TVERSKY],
    "lite0 augment focal tversky": [*LITE0, "augment.preset=mri", *FOCAL_TVERSKY],
    "lite0 backbone rate": [*LITE0, "model.backbone_rate=0.3"],
    "lite0 layer decay": [*LITE0, "model.layer_decay=0.75"],
    "lite0 statistics": [*LITE0, "model.freeze_statistics=true"],
    "lite0 head first": [*LITE0, "model.head_epochs=1"],
    "lite0 20": [*LITE0, "train.epochs=20"],
    "lite0 192": [*LITE0, "preprocess.size=[192,192]"],
    "lite0 fpn": [*LITE0, "model.name=smp-fpn"],
    "lite0 unet++": [*LITE0, "model.name=smp-unet++"],
    "lite0 unet++ augment": [*LITE0, "model.name=smp-unet++", "augment.preset=mri"],
}
SHOWN = ("dice_foreground", "false_positive_rate", "patient_dice_foreground")


def main() -> None:
    """Train what is missing and print the tables."""
    options = _options()
    print(describe("torch", "monai", "lightning"), flush=True)
    for name in options.only:
        for fold in options.run:
            _folder(name, fold, options, train=True)
    parts = [options.run]
    if options.choose:
        parts = [options.choose, [fold for fold in options.run if fold not in options.choose], options.run]
    for folds in parts:
        if folds:
            _print_table(options.only, folds, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="brain-mri-small")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--run", type=int, nargs="+", help="only these folds, from 0")
    parser.add_argument("--choose", type=int, nargs="+", help="folds whose patients are printed apart from the others'")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs/recipe-choice"))
    parser.add_argument("--resamples", type=int, default=10_000)
    options = parser.parse_args()
    options.run = options.run if options.run is not None else list(range(options.folds))
    return options


def _folder(name: str, fold: int, options: argparse.Namespace, *, train: bool = False) -> Path:
    """The run of one fold, trained if it is asked for and not there."""
    folder: Path = options.runs / f"{name.replace(' ', '-')}-{fold}"
    if train and not (folder / "evaluation" / "summary.json").exists():
        split = [f"split.folds={options.folds}", f"split.fold={fold}"]
        recipe = load_recipe(options.recipe, [*options.set, *split, *VARIANTS[name]])
        run = pipeline.Run.start(recipe, folder)
        pipeline.prepare(run, pipeline.resolve_images(recipe, options.data))
        pipeline.train(run)
        pipeline.evaluate(run)
    return folder


def _print_table(names: Sequence[str], folds: Sequence[int], options: argparse.Namespace) -> None:
    target = Target.from_plain(read_json(_folder(names[0], folds[0], options) / "evaluation/summary.json")["target"])
    cases = {name: pd.concat([_cases(name, fold, options) for fold in folds]) for name in names}
    facts = compare_cases(KINDS[target.kind](target), cases, names[0], options.resamples)
    images = "{images} images of {patients} patients".format(**facts["counts"])
    print(f"\nFolds {', '.join(map(str, folds))}: {images}; differences from {names[0]}\n")
    labels = [facts["meanings"][name]["label"] for name in SHOWN]
    print("| variant | " + " | ".join([*labels, *(f"difference: {label}" for label in labels)]) + " |")
    print("|---" * (1 + 2 * len(SHOWN)) + "|")
    for name in names:
        metrics, found = facts["models"][name]["metrics"], facts["differences"].get(name, {})
        cells = [metric_text(metrics[key]) for key in SHOWN]
        cells += [_difference(found[key]) if key in found else "" for key in SHOWN]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _cases(name: str, fold: int, options: argparse.Namespace) -> pd.DataFrame:
    """The test cases of one fold."""
    cases = read_cases(_folder(name, fold, options) / "evaluation" / "cases.csv")
    return cases[cases["split"] == "test"]


def _difference(found: dict[str, float]) -> str:
    return f"{signed_text(found, 'share')}, p {found['p']:.3f} ({found['p_corrected']:.2f})"


if __name__ == "__main__":
    main()
