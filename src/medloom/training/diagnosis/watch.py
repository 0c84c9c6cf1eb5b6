"""Watches a training: takes the samples, asks the rules, tells what they find, and writes ``diagnosis.json``.

One process watches, the first. Nothing that is learned depends on it: it draws no random numbers and changes no tensor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from medloom.errors import DiskFullError
from medloom.events import Listener, RuleFired, Stop, Warned
from medloom.files import write_json
from medloom.recipe import Recipe
from medloom.registry import METRICS
from medloom.signals import StopRequest
from medloom.training.answers import Answers
from medloom.training.data import StoreData
from medloom.training.diagnosis.findings import Finding, Findings, position
from medloom.training.diagnosis.histograms import GRADIENTS, OUTPUTS, Thinned
from medloom.training.diagnosis.hooks import load_hooks, own_rules
from medloom.training.diagnosis.records import Epoch, History, Sample, Setup
from medloom.training.diagnosis.rule import Sign
from medloom.training.diagnosis.rules import Watched, rules_of
from medloom.training.diagnosis.sampler import Sampler, Statistics
from medloom.training.diagnosis.suspects import Suspect, find_suspects, loss_of_others
from medloom.training.diagnosis.values import non_finite_step
from medloom.training.ledger import Line
from medloom.training.module import NonFiniteStep, TaskModule

__all__ = ["DIAGNOSIS", "Diagnosis", "build_diagnosis"]

DIAGNOSIS = "diagnosis.json"

_PIECES = 8
_AVERAGED = 3
"""Over so many epochs the mean of the probabilities says what the network thinks of a sample."""

_MOST_SUSPECTS = 50


def build_diagnosis(
    recipe: Recipe,
    run_dir: Path,
    module: TaskModule,
    data: StoreData,
    sample_ids: Sequence[str],
    stop: StopRequest,
    listener: Listener,
    *,
    seen: bool = True,
) -> Diagnosis | None:
    """Return what watches a training, or None where nobody is to.

    Args:
        recipe: The recipe; its section ``diagnose`` says what is looked for.
        run_dir: Where ``diagnosis.json`` goes.
        module: What is trained.
        data: What it is trained on.
        sample_ids: Sample of each row of the store.
        stop: Asked where a finding is to end the training.
        listener: Who is told of findings.
        seen: Whether activations can be looked at, as ``TaskModule.sees_activations`` says.

    Raises:
        UserError: If a hook cannot be loaded.
    """
    hooks = load_hooks()
    rules = [*rules_of(recipe), *own_rules(hooks)]
    if not rules:
        return None
    validated = [sample_ids[row] for row in data.validation_rows]
    sampler = Sampler(module.network, hooked=seen)
    return Diagnosis(recipe, run_dir, module, sampler, rules, hooks, validated, stop, listener)


class Diagnosis(Callback):
    """See the module. Stands before ``Keeper``, whose checkpoints hold what was seen.

    Args:
        recipe: The recipe.
        run_dir: The run directory.
        module: What is trained.
        sampler: Takes the statistics.
        rules: What is looked for.
        hooks: Of the user; those with ``fired`` are told of findings.
        validated: Samples of the validation, in its order.
        stop: Asked where a finding is to end the training.
        listener: Who is told of findings.
    """

    def __init__(
        self,
        recipe: Recipe,
        run_dir: Path,
        module: TaskModule,
        sampler: Sampler,
        rules: list[Watched],
        hooks: Sequence[Any],
        validated: Sequence[str],
        stop: StopRequest,
        listener: Listener,
    ) -> None:
        self.run_dir, self.module, self.sampler = run_dir, module, sampler
        self.rules, self.hooks, self.validated = rules, list(hooks), validated
        self.stop, self.listener = stop, listener
        self.ends = recipe.diagnose.action == "stop"
        self.stride = recipe.diagnose.stride(recipe.train.epochs * module.steps_per_epoch)
        self.history = History(_setup(recipe, module))
        self.findings = Findings()
        self.kept = Thinned()
        self._losses: list[float] = []
        self._new_losses: list[Tensor] = []
        self._probabilities: list[Tensor] = []
        self._samples = self._warned = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file as it was when the checkpoint was."""
        if trainer.is_global_zero:
            self._write()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Begin to look, if this step is one of those."""
        step = trainer.current_epoch * self.module.steps_per_epoch + batch_idx
        self._samples = trainer.is_global_zero and step % self.stride == 0
        if self._samples:
            self.sampler.begin()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Look at the gradients, before they are clipped."""
        if self._samples:
            self.sampler.before_step()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Look at what the step changed, and ask the rules."""
        if not trainer.is_global_zero:
            return
        self._new_losses.append(self.module.last_loss)
        if self._samples:
            statistics, epoch = self.sampler.after_step(), trainer.current_epoch + 1
            losses, step = self._fetched_losses(), self.module.step + 1
            rate = self.module.learning_rate
            self.history.add(Sample(step, epoch, losses[-1], rate, statistics.layers, statistics.activations))
            self.kept.add(_entry(self.history.samples[-1], statistics))
            self._ask()

    def end_epoch(self, line: Line) -> None:
        """Look at a finished epoch; called by the first process, before the epoch's checkpoint.

        Args:
            line: Its line of ``metrics.jsonl``.
        """
        answers = self._averaged(self.module.answers())
        number = int(line["epoch"] or 0)
        epoch = Epoch(
            number,
            number * self.module.steps_per_epoch,
            {**line, "seconds": None},
            tuple(_means(self._fetched_losses())),
            () if answers is None else tuple(answers.variety()),
            () if answers is None else tuple(find_suspects(answers)[:_MOST_SUSPECTS]),
            None if answers is None else loss_of_others(answers),
        )
        self.history.epochs = [replace(one, suspects=()) for one in self.history.epochs]  # one list is enough
        self.history.end_epoch(epoch)
        self._losses = []
        self._ask()
        self._write()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say where numbers were not finite, and keep what was found in an epoch that was not finished."""
        if not trainer.is_global_zero:
            return
        if isinstance(exception, NonFiniteStep):
            broken = [
                name
                for name, weight in self.sampler.layers.items()
                if weight.grad is not None and not bool(torch.isfinite(weight.grad).all())
            ]
            step, epoch = exception.step + 1, trainer.current_epoch + 1
            if finding := self.findings.note("non-finite", non_finite_step(step, epoch, broken), epoch, step):
                self._tell(finding, ends=False)
        self.sampler.end()
        self._write()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what was seen; one text, for what it is made of is thousands of small numbers."""
        state = {
            "history": self.history.state(),
            "findings": self.findings.state(),
            "kept": asdict(self.kept),
            "losses": self._fetched_losses() if trainer.is_global_zero else [],
        }
        checkpoint["diagnosis"] = {"state": json.dumps(state), "probabilities": list(self._probabilities)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take it back; a training that was not watched before is from here on."""
        if "diagnosis" not in checkpoint:
            return
        state = json.loads(checkpoint["diagnosis"]["state"])
        self.history = History.restored(self.history.setup, state["history"])
        self.findings = Findings.restored(state["findings"])
        self.kept = Thinned(**state["kept"])
        self._losses = list(state["losses"])
        self._probabilities = list(checkpoint["diagnosis"]["probabilities"])

    def _fetched_losses(self) -> list[float]:
        """Losses of the steps of this epoch so far; the device is waited for once."""
        if self._new_losses:
            self._losses += torch.stack(self._new_losses).float().tolist()
            self._new_losses = []
        return self._losses

    def _averaged(self, answers: Answers | None) -> Answers | None:
        """The answers of the latest validation, with the mean of the probabilities over the latest epochs."""
        if answers is None or answers.probabilities is None:
            return answers
        latest = torch.from_numpy(answers.probabilities.astype(np.float32))
        self._probabilities = [*self._probabilities, latest][-_AVERAGED:]
        return replace(answers, probabilities=torch.stack(self._probabilities).double().mean(0).numpy())

    def _ask(self) -> None:
        """Let each rule that looks at such a moment look."""
        epoch, step = position(self.history)
        for watched in list(self.rules):
            if self.history.moment in watched.moments:
                finding = self.findings.note(watched.name, self._sign(watched), epoch, step)
                if finding is not None:
                    self._tell(finding, ends=self.ends and watched.ends)

    def _sign(self, watched: Watched) -> Sign | None:
        """What a rule sees; one that fails is a user's own, is said once, and looks no more."""
        try:
            sign = watched.rule.look(self.history)
        except Exception as error:  # a rule's fault must not become the run's
            self.rules.remove(watched)
            self._warn(watched.name, error)
            return None
        return Sign(sign, "") if isinstance(sign, str) else sign

    def _warn(self, name: str, error: Exception) -> None:
        self._hear(Warned(f"the rule {name} failed and looks no more: {type(error).__name__}: {error}"))

    def _tell(self, finding: Finding, *, ends: bool) -> None:
        """Tell everyone of a finding, and ask for an end if that is wanted."""
        self._hear(
            RuleFired(finding.rule, finding.text, finding.advice, finding.epoch, finding.step, finding.layer, ends)
        )
        for hook in list(self.hooks):
            self._call(hook, finding)
        if ends:
            self.stop.ask(f"{finding.rule}: {finding.text}")

    def _call(self, hook: Any, finding: Finding) -> None:  # noqa: ANN401 - whatever the user wrote
        """Call a user's function with a finding; it may ask for an end."""
        if not callable(getattr(hook, "fired", None)):
            return
        try:
            wish = hook.fired(finding)
        except Exception as error:  # a hook's fault must not become the run's
            self.hooks.remove(hook)
            self._warn(type(hook).__name__, error)
            return
        if isinstance(wish, Stop):
            self.stop.ask(wish.reason)

    def _hear(self, event: RuleFired | Warned) -> None:
        wish = self.listener(event)
        if wish is not None:
            self.stop.ask(wish.reason)

    def _write(self) -> None:
        """Write what was found, for people and for the report."""
        rules = {
            watched.name: {
                "summary": watched.summary,
                "looks": self.findings.looks.get(watched.name, 0),
                "fired": self.findings.fired.get(watched.name, 0),
            }
            for watched in self.rules
        }
        last = self.history.epochs[-1].suspects if self.history.epochs else ()
        facts = {
            "every": self.stride,
            "action": "stop" if self.ends else "warn",
            "activations": self.sampler.hooked,
            "rules": rules,
            "findings": self.findings.plain(),
            "suspects": [{"sample_id": self.validated[one.place], **_without_place(one)} for one in last],
            "edges": {"gradients": GRADIENTS.edges, "outputs": OUTPUTS.edges},
            "samples": self.kept.entries,
        }
        try:
            write_json(self.run_dir / DIAGNOSIS, _finite(facts))
        except (OSError, DiskFullError) as error:  # what was seen is in the checkpoints as well
            if not self._warned:
                self._warned = True
                self._hear(Warned(f"{DIAGNOSIS} could not be written: {type(error).__name__}"))


def _setup(recipe: Recipe, module: TaskModule) -> Setup:
    metric, config = METRICS[recipe.train.monitor], recipe.train
    return Setup(
        config.epochs,
        module.steps_per_epoch,
        config.optimizer.lr,
        metric.column or config.monitor,
        metric.larger_is_better,
        scaled=module.precision == "fp16",
    )


def _entry(sample: Sample, statistics: Statistics) -> dict[str, Any]:
    """What the report shows of a sampled step."""
    return {
        "step": sample.step,
        "epoch": sample.epoch,
        "loss": sample.loss,
        "lr": sample.lr,
        "norm": sample.norm,
        "ratio": sample.ratio,
        "layers": {name: [sample.layers[name].gradient, sample.layers[name].ratio] for name in statistics.gradients},
        "gradients": statistics.gradients,
        "outputs": statistics.outputs,
    }


def _means(losses: Sequence[float]) -> list[float]:
    """The mean of up to eight equal pieces, in order."""
    pieces = np.array_split(np.asarray(losses, np.float64), min(_PIECES, len(losses))) if losses else []
    return [float(piece.mean()) for piece in pieces]


def _without_place(suspect: Suspect) -> dict[str, Any]:
    plain = asdict(suspect)
    del plain["place"]
    return plain


def _finite(value: Any) -> Any:  # noqa: ANN401 - plain types
    """The same with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value
