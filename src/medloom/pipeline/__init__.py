"""The stages in order, each a function on a run directory: prepare, train, evaluate, package, report.

A stage reads the files that the one before it wrote and writes its own, so each can be run again alone or
on another machine. torch is imported by the stages that train and export, when they run.

::

    runs/<name>/
        run.json            versions, machine, and where the images are if they lie beside the run
        recipe.yaml         the resolved recipe
        catalogue.csv       one row a sample
        table.json          how metadata become numbers, from the training rows
        problems.txt        every file that does not fit, where there are more than a message can show
        prepare.json        facts of the preparation, and data_report/ with its pictures
        trained_on.csv      each sample with its part, and identity.json: what training began with
        checkpoints/        last, previous and best
        metrics.jsonl       one line an epoch
        training.json       facts of the training, and progress/ with its pictures
        profile.json        where the training's time went, and in profile/ a trace of a few steps, if asked for
        system.jsonl        the machine's use, where the run is tracked, and tracking.json: who it is to trackers
        baselines.csv       what cheap models that were trained beside it say of the validation and test samples
        model.onnx          the best weights as a graph that gives probabilities
        evaluation/         cases.csv, summary.json, gallery/; in validation/ the same of validation alone
        test_openings.json  each time that the test set was opened, and by which model
        explanation/        what speaks for answers to some validation images, where `medloom explain` was asked
        model.tar.gz        the bundle
        data_report.html    report.html
        finished.json       what the run stands on and what it made, as hashes, when all of it is done
        fold-0/ ...         a run directory for each fold, where there are folds
        seed-0/ ...         a run directory for each seed, where there are several

No file of it holds an absolute path: it can be copied or moved between any two stages. The pixel store is in the cache
and found by its key; see ``places``.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
