"""The stages in order, each a function on a run directory: prepare, train, evaluate, package, report.

A stage reads the files that the one before it wrote and writes its own, so each can be run again alone or
on another machine. torch is imported by the stages that train and export, when they run.

::

    runs/<name>/
        run.json            where the images are, versions, machine
        recipe.yaml         the resolved recipe
        catalogue.csv       one row a sample
        table.json          how metadata become numbers, from the training rows
        prepare.json        facts of the preparation, and data_report/ with its pictures
        checkpoints/        last, previous and best
        metrics.jsonl       one line an epoch
        training.json       facts of the training, and progress/ with its pictures
        model.onnx          the best weights as a graph that gives probabilities
        evaluation/         cases.csv, patients.csv, summary.json, gallery/
        model.tar.gz        the bundle
        data_report.html    report.html
        fold-0/ ...         a run directory for each fold, where there are folds
"""

from __future__ import annotations

from medloom.pipeline.folds import finish_folds, fold_runs, is_measured, mark_measured
from medloom.pipeline.runs import Run, cache_dir, environment, resolve_data
from medloom.pipeline.side_by_side import Ending, Slot, end_with_parent, plan_slots, run_in_slots, sole
from medloom.pipeline.stages import check_network, evaluate, package, prepare, report, train

__all__ = [
    "Ending",
    "Run",
    "Slot",
    "cache_dir",
    "check_network",
    "end_with_parent",
    "environment",
    "evaluate",
    "finish_folds",
    "fold_runs",
    "is_measured",
    "mark_measured",
    "package",
    "plan_slots",
    "prepare",
    "report",
    "resolve_data",
    "run_in_slots",
    "sole",
    "train",
]
