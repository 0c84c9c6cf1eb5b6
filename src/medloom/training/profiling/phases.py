"""The parts that the time of a training is divided into, and where each of them begins and ends.

Lightning tells its profiler of everything that it begins and ends, by name; ``phase_of`` says which part that is. So
the loop, the module and the tasks hold no marks at all.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["LOOP", "OF_A_STEP", "PHASES", "PROFILING", "START", "VALIDATION", "phase_of"]

PHASES = {
    "data": "waiting for a batch",
    "transfer": "to the device",
    "augment": "augmentation",
    "forward": "forward, with the loss",
    "backward": "backward",
    "optimizer": "optimiser, with clipping and averaging",
    "loop": "the loop around it",
    "callbacks": "diagnosis and other callbacks",
    "listeners": "progress and trackers",
    "profiling": "this account itself",
    "validation": "validation",
    "checkpoint": "checkpoints and best weights",
    "start": "the first step of a session, such as for compiling",
}
"""What each part is called; the order is that of every table and chart."""

OF_A_STEP = tuple(list(PHASES)[:9])
"""The parts of which a step consists."""

LOOP, VALIDATION, START, PROFILING = "loop", "validation", "start", "profiling"

_HOOKS = {
    "Strategy.batch_to_device": "transfer",
    "Strategy.training_step": "forward",
    "Strategy.backward": "backward",
    "LightningModule.optimizer_step": "optimizer",
    "LightningModule.optimizer_zero_grad": "optimizer",
}
_ACTIONS = {"save_checkpoint": "checkpoint"}
_NEXT = "train_dataloader_next"
_KEEPER = "Keeper"


def phase_of(action: str, callbacks: Collection[str] = ()) -> str | None:
    """Return the part of a training that one of Lightning's actions is; None for one that says nothing new.

    Args:
        action: As Lightning names it to its profiler.
        callbacks: Hooks of callbacks that do something, such as ``Diagnosis.on_after_backward``.

    Example:
        >>> phase_of("[Strategy]SingleDeviceStrategy.backward")
        'backward'
        >>> phase_of("[Callback]Keeper.on_train_epoch_end"), phase_of("run_training_epoch")
        ('checkpoint', None)
    """
    if action.endswith(_NEXT):
        return "data"
    kind, closed, rest = action.partition("]")
    if not closed:
        return _ACTIONS.get(action)
    owner, _, hook = rest.rpartition(".")
    if kind != "[Callback":
        return _HOOKS.get(f"{kind[1:]}.{hook}")
    if owner == _KEEPER:
        return "checkpoint" if hook == "on_train_epoch_end" else None
    if f"{owner}.{hook}" not in callbacks:
        return None
    return PROFILING if owner == "Profile" else "callbacks"
