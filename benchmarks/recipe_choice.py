"""Compare training choices by patient-wise cross-validation and print a Markdown table.

``python benchmarks/recipe_choice.py --data lgg-mri-segmentation.zip [--folds 4] [--only NAME...] [--set key=value...]``

Each variant changes the recipe that it names and nothing else. Fold k tests, fold k + 1 picks the epoch and the
operating point, the rest train. The figures are over the slices of all test folds together, with 95 % intervals
over patients; "plain" is threshold 0.5 without a smallest lesion, from the same predictions. Runs that are done
are not repeated, so the comparison can be stopped and continued.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from machine import describe
from medloom import pipeline
from medloom.evaluation import summarise
from medloom.recipe import load_recipe

USUAL = [
    "loss.name=dice-focal",
    "loss.args.batch=false",
    "model.args.norm=INSTANCE",
    "train.averaging=none",
    "train.schedule.name=none",
    "train.lesion_share=null",
    "train.monitor=dice_lesion",
    "evaluate.threshold=0.5",
    "evaluate.min_lesion_px=0",
    "evaluate.flips=false",
]
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "usual": USUAL,
    "as the data are": ["train.lesion_share=null"],
    "instance norm, as the data are": ["train.lesion_share=null", "model.args.norm=INSTANCE"],
    "instance norm": ["model.args.norm=INSTANCE"],
    "Dice per image": ["loss.args.batch=false"],
    "Dice + focal": ["loss.name=dice-focal"],
    "Dice alone": ["loss.name=dice"],
    "Tversky": ["loss.name=tversky", "loss.args={alpha: 0.3, beta: 0.7, batch: true}"],
    "without averaging": ["train.averaging=none"],
    "constant rate": ["train.schedule.name=none"],
    "low rate": ["train.optimizer.lr=0.001"],
    "percentile": ["preprocess.normalise.method=percentile"],
    "best by Dice on lesions": ["train.monitor=dice_lesion"],
    "without flips": ["evaluate.flips=false"],
}


def main() -> None:
    """Train what is missing and print the table."""
    options = _options()
    print(describe("torch", "monai", "lightning"), flush=True)
    chosen = options.only or list(VARIANTS)
    print("\n| variant | Dice, lesion | false alarms | Dice per patient | plain Dice | plain false alarms |")
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
        pipeline.prepare(run, pipeline.resolve_data(recipe, options.data))
        pipeline.train(run, progress=False)
        pipeline.evaluate(run)
    cases = pd.read_csv(folder / "evaluation" / "cases.csv", dtype={"sample_id": str, "patient_id": str})
    return cases[cases["split"] == "test"]


def _row(name: str, found: dict) -> str:
    figures, plain = found["figures"], found["plain"]
    cells = [_cell(figures[key]) for key in ("dice_lesion", "false_alarm_rate", "patient_dice_lesion")]
    cells += [f"{plain[key]['value']:.3f}" for key in ("dice_lesion", "false_alarm_rate")]
    return f"| {name} | {' | '.join(cells)} |"


def _cell(figure: dict) -> str:
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


if __name__ == "__main__":
    main()
