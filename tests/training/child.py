"""Runs in a process of its own, which dies by SIGKILL or gets SIGTERM at a chosen call of a chosen function.

``job`` comes as a global: ``store``, ``catalogue``, ``run_dir``, ``recipe``, ``tables`` = a ``TableEncoding`` or None,
and ``fault`` = ``[where, function, call from 1, "before" or "after", signal name]`` or None. The result goes to
``run_dir/result``.
"""

import importlib
import os
import signal
from pathlib import Path

import torch

from medloom.data.store import PixelStore
from medloom.recipe.kinds import KINDS
from medloom.training import train


def plant(where, function, call, moment, name):
    module, _, owner = where.partition(":")
    target = importlib.import_module(module)
    target = getattr(target, owner) if owner else target
    original, seen = getattr(target, function), 0

    def strike(*args, **kwargs):
        nonlocal seen
        seen += 1
        if seen == call and moment == "before":
            os.kill(os.getpid(), getattr(signal, name))
        result = original(*args, **kwargs)
        if seen == call and moment == "after":
            os.kill(os.getpid(), getattr(signal, name))
        return result

    setattr(target, function, strike)


def main(job):
    torch.set_num_threads(1)
    if job["fault"]:
        plant(*job["fault"])
    store = PixelStore.open(Path(job["store"]))
    recipe = KINDS[job["recipe"]["target"]["kind"]].model_validate(job["recipe"])
    result = train(recipe, job["catalogue"], store, Path(job["run_dir"]), tables=job["tables"])
    (Path(job["run_dir"]) / "result").write_text(f"{result.finished} {result.best_epoch} {result.epochs_done}")


main(globals()["job"])
