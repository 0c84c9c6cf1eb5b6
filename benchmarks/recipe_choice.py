"""Compare training choices by patient-wise cross-validation and print a Markdown table.

``python benchmarks/recipe_choice.py --data lgg-mri-segmentation.zip [--folds 4] [--only NAME...] [--set key=value...]``

Each variant changes the recipe that it names and nothing else. Fold k tests, fold k + 1 picks the epoch and the
operating point, the rest train. The metrics are over the images of all test folds together, with 95 % intervals
over patients; "plain" is threshold 0.5 without a smallest region, from the same predictions. Runs that are done
are not repeated, so the comparison can be stopped and continued.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from machine import describe
from medloom import pipeline
from medloom.evaluation.masks.summary import summarise
from medloom.recipe import load_recipe
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
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "usual": USUAL,
    "as the data are": ["train.positive_share=null"],
    "instance norm, as the data are": ["train.positive_share=null", "model.args.norm=INSTANCE"],
    "instance norm": ["model.args.norm=INSTANCE"],
    "Dice per image": ["loss.args.batch=false"],
    "Dice + focal": ["loss.name=dice-focal"],
    "Dice alone": ["loss.name=dice"],
    "Tversky": ["loss.name=tversky", "loss.args={alpha: 0.3, beta: 0.7, batch: true}"],
    "without averaging": ["train.averaging=none"],
    "constant rate": ["train.schedule.name=none"],
    "low rate": ["train.optimizer.lr=0.001"],
    "percentile": ["preprocess.normalise.method=percentile"],
    "best by Dice on foreground": ["train.monitor=dice_foreground"],
    "one view": ["evaluate.views=1"],
}


def main() -> None:
    """Train what is missing and print the table."""
    options = _options()
    print(describe("torch", "monai", "lightning"), flush=True)
    chosen = options.only or list(VARIANTS)
    print("\n| variant | Dice, foreground | false positives | Dice per patient | plain Dice | plain false positives |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in chosen:
        tables = [_cases(name, fold, options) for fold in range(options.folds) if fold in options.run]
        print(_row(name, summarise(pd.concat(tables), options.resamples)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="brain-mri-small")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--run", type=int, nargs="+", help="only these folds, from 0")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs/recipe-choice"))
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    options.run = options.run if options.run is not None else list(range(options.folds))
    return options


def _cases(name: str, fold: int, options: argparse.Namespace) -> pd.DataFrame:
    """The test cases of one fold, trained if they are not there."""
    folder = options.runs / f"{name.replace(' ', '-')}-{fold}"
    split = [f"split.folds={options.folds}", f"split.fold={fold}"]
    recipe = load_recipe(options.recipe, [*options.set, *split, *VARIANTS[name]])
    if not (folder / "evaluation" / "summary.json").exists():
        run = pipeline.Run.start(recipe, folder)
        pipeline.prepare(run, pipeline.resolve_images(recipe, options.data))
        pipeline.train(run)
        pipeline.evaluate(run)
    cases = pd.read_csv(folder / "evaluation" / "cases.csv", dtype={"sample_id": str, "patient_id": str})
    return cases[cases["split"] == "test"]


def _row(name: str, found: dict) -> str:
    metrics, plain = found["metrics"], found["baselines"]["plain"]["metrics"]
    cells = [metric_text(metrics[key]) for key in ("dice_foreground", "false_positive_rate", "patient_dice_foreground")]
    cells += [f"{plain[key]['value']:.3f}" for key in ("dice_foreground", "false_positive_rate")]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
