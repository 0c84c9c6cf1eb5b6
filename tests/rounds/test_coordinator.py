"""The barrier: it opens with the last result, and takes nothing that does not belong to the round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medloom.errors import TrainingError
from medloom.rounds.coordinator import Coordinator, Lost, NotFiniteError, RoundError, Rules
from medloom.rounds.mean import mean_of
from medloom.rounds.protocol import Contribution, Failure, Order
from medloom.rounds.store import FolderStore
from support.round_workers import Scripted, gradient, make_compute, manifest_of, samples

WEIGHTS = {"w": np.linspace(-1, 1, 5)}
BATCH = list(range(11))
INPUTS, TRUTH = samples()
ALL = gradient(WEIGHTS["w"], INPUTS[BATCH], TRUTH[BATCH])


class Round:
    """A round of four shards, with workers that follow a script."""

    def __init__(self, folder, **rules):
        self.store = FolderStore(folder)
        self.workers = Scripted(self.store)
        self.manifest = manifest_of(WEIGHTS, BATCH, 4)
        self.coordinator = Coordinator(self.store, self.workers, Rules(**rules), clock=self.workers.clock)

    def run(self):
        return self.coordinator.run(self.manifest, WEIGHTS)

    def at(self, shard, attempt, seconds, act=None):
        self.workers.script[shard, attempt] = (seconds, act)

    def writes(self, change):
        """An act: write what another worker might, in the place of the result."""
        return lambda order: self.store.put(order.result, change(self.right(order))) and None

    def right(self, order) -> Contribution:
        shard = self.manifest.shards[order.shard]
        arrays, weight, facts = make_compute()(self.manifest, shard, WEIGHTS)
        return Contribution(
            self.manifest.sha256, self.manifest.weights, order.shard, order.attempt, shard.size, weight, arrays, facts
        )

    @property
    def asked(self):
        return [(order.shard, order.attempt) for order in self.workers.orders]

    @property
    def account(self):
        return self.coordinator.account


@pytest.fixture
def make_round(tmp_path):
    return lambda **rules: Round(tmp_path / "store", **rules)


def test_the_mean_of_unequal_shards_is_the_gradient_of_the_whole_batch(make_round):
    one = make_round()
    outcome = one.run()
    assert [part.size for part in outcome.parts] == [3, 3, 3, 2]
    np.testing.assert_allclose(mean_of(outcome.parts)["w"], ALL, rtol=0, atol=1e-14)
    plain = np.mean([part.arrays["w"] for part in outcome.parts], axis=0)
    assert np.abs(plain - ALL).max() > 1e-3


def test_the_barrier_opens_with_the_last_arrival_and_not_before(make_round):
    one = make_round()
    for shard, seconds in enumerate((0.01, 3.0, 271.25, 0.5)):
        one.at(shard, 1, seconds)
    one.run()
    assert one.workers.now == 271.25
    assert one.account.again == 0


def test_of_workers_that_tell_nobody_the_last_result_is_seen_within_a_tenth_of_a_second(make_round):
    one = make_round()
    one.workers.tells = False
    one.at(2, 1, 12.3456)
    one.run()
    assert 12.3456 <= one.workers.now <= 12.3456 + 0.1


def test_a_late_shard_is_asked_for_again_and_the_first_result_counts(make_round):
    one = make_round(lease_s=60)
    one.at(1, 1, 70.0)
    one.at(1, 2, 20.0)
    outcome = one.run()
    assert one.asked == [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2)]
    assert one.workers.given_up == [Order(one.manifest.folder, 1, 1)]
    assert (one.workers.now, outcome.parts[1].attempt, one.account.again) == (70.0, 1, 1)


def test_the_second_result_of_a_shard_is_refused(make_round):
    one = make_round(lease_s=60)
    one.at(1, 1, 70.0)
    one.at(1, 2, 15.0)
    one.at(3, 1, 59.0)
    one.at(0, 1, 59.0)
    one.at(2, 1, 60.0, lambda order: Lost(order, "gone"))
    one.at(2, 2, 30.0)
    outcome = one.run()
    assert one.account.refused == {"double": 1}
    np.testing.assert_allclose(mean_of(outcome.parts)["w"], ALL, rtol=0, atol=1e-14)


def inverted(part):
    return {"w": -part.arrays["w"]}


REFUSED = {
    "stale": lambda part: replace(part, weights="0" * 64, arrays=inverted(part)).data,
    "corrupt": lambda part: part.data[:-9] + bytes(9),
    "misplaced": lambda part: replace(part, size=part.size + 1, arrays=inverted(part)).data,
    "not finite": lambda part: replace(part, arrays={"w": part.arrays["w"] * np.nan}).data,
}
MORE = {
    "of another round": ("stale", lambda part: replace(part, manifest="0" * 64, arrays=inverted(part)).data),
    "truncated": ("corrupt", lambda part: part.data[: len(part.data) // 2]),
    "empty": ("corrupt", lambda part: b""),
    "of another shard": ("misplaced", lambda part: replace(part, shard=3, arrays=inverted(part)).data),
    "of another shape": ("misplaced", lambda part: replace(part, arrays={"w": np.zeros(4)}).data),
    "with another name": ("misplaced", lambda part: replace(part, arrays={"v": part.arrays["w"]}).data),
    "with a weight that is no number": ("not finite", lambda part: replace(part, weight=-1.0).data),
}


@pytest.mark.parametrize(
    ("reason", "change"),
    [*REFUSED.items(), *MORE.values()],
    ids=[*REFUSED, *MORE],
)
def test_what_does_not_belong_to_the_round_is_refused_counted_and_asked_for_again(make_round, reason, change):
    one = make_round()
    one.at(1, 1, 1.0, one.writes(change))
    outcome = one.run()
    assert one.account.refused == {reason: 1}
    assert one.asked[-1] == (1, 2)
    np.testing.assert_allclose(mean_of(outcome.parts)["w"], ALL, rtol=0, atol=1e-14)


def test_a_result_in_a_place_that_no_shard_has_is_refused(make_round):
    one = make_round()

    def write(order):
        one.store.put(f"{order.folder}shard_0009/attempt_01.safetensors", one.right(order).data)
        one.store.put(f"{order.folder}shard_0001/notes.txt", b"")

    one.at(1, 1, 1.0, write)
    one.at(1, 2, 1.0)
    one.at(2, 1, 2.0, lambda order: one.workers.carry_out(order) or one.workers.carry_out(one.workers.orders[1]))
    one.run()
    assert one.account.refused == {"misplaced": 2}


def test_it_fails_after_so_many_attempts_with_the_reason_of_the_last_one(make_round):
    one = make_round(attempts=3)
    for attempt, reason in enumerate(("the first", "the second", "out of memory"), start=1):
        one.at(
            2, attempt, 1.0, lambda order, reason=reason: one.store.put(order.failure, Failure(reason).data) and None
        )
    with pytest.raises(RoundError, match=r"shard 2, 3 samples, in 3 attempts\. The last one: out of memory"):
        one.run()
    assert [order for order in one.asked if order[0] == 2] == [(2, 1), (2, 2), (2, 3)]


def test_what_would_fail_everywhere_is_not_tried_again(make_round):
    one = make_round(attempts=3)
    one.at(2, 1, 1.0, lambda order: one.store.put(order.failure, Failure("one value", final=True).data) and None)
    with pytest.raises(RoundError, match=r"in 1 attempt\. The last one: one value"):
        one.run()


def test_numbers_that_are_finite_for_nobody_are_told_from_a_broken_worker(make_round):
    one = make_round(attempts=2)
    for attempt in (1, 2):
        one.at(3, attempt, 1.0, one.writes(REFUSED["not finite"]))
    with pytest.raises(NotFiniteError) as caught:
        one.run()
    assert caught.value.shard == one.manifest.shards[3]
    assert one.account.refused == {"not finite": 2}


def test_a_shard_whose_workers_die_is_asked_for_at_once(make_round):
    one = make_round(lease_s=300)
    one.at(0, 1, 5.0, lambda order: Lost(order, "killed"))
    one.run()
    assert one.workers.now == 5.0
    assert one.asked[-1] == (0, 2)


def test_a_quorum_goes_on_without_the_late_and_is_recorded_and_is_exact_for_who_is_there(make_round):
    one = make_round(quorum=0.7, lease_s=60)
    one.at(1, 1, 1e9)
    outcome = one.run()
    present = [row for row in BATCH if row not in range(3, 6)]
    assert one.workers.now == 60.0
    assert [shard.number for shard in outcome.missing] == [1]
    assert one.account.short == [{"round": 0, "samples": 11, "present": 8}]
    np.testing.assert_allclose(
        mean_of(outcome.parts)["w"], gradient(WEIGHTS["w"], INPUTS[present], TRUTH[present]), rtol=0, atol=1e-14
    )


def test_a_quorum_waits_for_those_that_are_in_time(make_round):
    one = make_round(quorum=0.5, lease_s=60)
    one.at(1, 1, 59.0)
    assert one.run().missing == ()
    assert (one.workers.now, one.account.short) == (59.0, [])


def test_less_than_a_quorum_is_asked_for_again(make_round):
    one = make_round(quorum=0.8, lease_s=60)
    one.at(1, 1, 1e9)
    one.at(2, 1, 1e9)
    one.at(2, 2, 1.0)
    one.at(1, 2, 2.0)
    outcome = one.run()
    assert one.workers.now == 62.0
    assert outcome.missing == ()


def test_a_quorum_that_cannot_be_reached_fails(make_round):
    one = make_round(quorum=0.7, attempts=1)
    for shard in (1, 2):
        one.at(shard, 1, 1.0, lambda order: Lost(order, "killed"))
    with pytest.raises(RoundError, match="killed"):
        one.run()


def test_a_round_that_was_interrupted_goes_on_with_what_is_there(make_round):
    first = make_round(attempts=1)
    first.at(2, 1, 1.0, lambda order: Lost(order, "killed"))
    with pytest.raises(RoundError):
        first.run()
    second = make_round()
    outcome = second.run()
    assert second.asked == [(2, 1)]
    np.testing.assert_allclose(mean_of(outcome.parts)["w"], ALL, rtol=0, atol=1e-14)


def test_a_round_leaves_nothing_behind(make_round):
    one = make_round()
    one.run()
    assert one.store.list("round/") == []


def test_another_training_in_the_same_place_is_refused(make_round):
    one = make_round()
    one.store.put(f"{one.manifest.folder}weights.safetensors", b"of another")
    with pytest.raises(TrainingError, match="two trainings must not write into one place"):
        one.run()
