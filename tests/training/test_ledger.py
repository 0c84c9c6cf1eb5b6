from __future__ import annotations

import math

import pytest

from medloom.training.ledger import Ledger


def best_of(monitor: str, values: list[float], **options) -> Ledger:
    ledger = Ledger(monitor, **options)
    key = "val_loss" if monitor == "loss" else monitor
    for epoch, value in enumerate(values, start=1):
        ledger.record({"epoch": epoch, key: None if math.isnan(value) else value})
    return ledger


@pytest.mark.parametrize("monitor", ["dice_foreground", "dice_all", "dice_balanced"])
def test_the_largest_dice_is_best(monitor):
    assert best_of(monitor, [0.5, 0.9, 0.3]).best_epoch == 2


def test_the_smallest_loss_is_best():
    assert best_of("loss", [0.5, 0.9, 0.3]).best_epoch == 3


@pytest.mark.parametrize("monitor", ["dice_foreground", "loss"])
def test_of_equal_values_the_earlier_epoch_is_best(monitor):
    assert best_of(monitor, [0.5, 0.5, 0.5]).best_epoch == 1


@pytest.mark.parametrize("monitor", ["dice_foreground", "loss"])
def test_nan_is_never_best(monitor):
    ledger = best_of(monitor, [math.nan, 0.4, math.nan])
    assert (ledger.best_epoch, ledger.best_metric) == (2, 0.4)
    assert best_of(monitor, [math.nan]).best_epoch == 0


@pytest.mark.parametrize(
    ("values", "stops"),
    [([0.5, 0.4, 0.3], True), ([0.5, 0.4, 0.6], False), ([0.5, math.nan, math.nan], True), ([0.5, 0.4], False)],
)
def test_the_run_stops_after_so_many_epochs_without_improvement(values, stops):
    assert best_of("dice_all", values, patience=2).stops_early is stops


def test_the_patience_that_is_left_is_said_and_none_without_early_stopping():
    assert best_of("dice_all", [0.5, 0.4, 0.3], patience=5).patience_left == 3
    assert best_of("dice_all", [0.5, 0.4, 0.6], patience=5).patience_left == 5
    assert best_of("dice_all", [0.5, 0.4, 0.3], patience=1).patience_left == 0
    assert best_of("dice_all", [0.5]).patience_left is None


def test_improvements_below_min_delta_do_not_count_but_may_be_best():
    ledger = best_of("dice_all", [0.5, 0.55, 0.58], patience=2, min_delta=0.1)
    assert ledger.stops_early
    assert ledger.best_epoch == 3


def test_small_improvements_add_up():
    assert not best_of("dice_all", [0.5, 0.56, 0.62], patience=2, min_delta=0.1).stops_early


def test_the_state_comes_back_whole():
    ledger = best_of("loss", [0.5, math.nan, 0.3], patience=3)
    assert Ledger.from_state(ledger.state()) == ledger
