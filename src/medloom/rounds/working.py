"""What a worker does with an order, wherever it runs: it reads, computes, writes, and keeps nothing."""

from __future__ import annotations

from collections.abc import Callable

from medloom.errors import UserError
from medloom.rounds.arrays import Arrays, CorruptError, digest, unpack
from medloom.rounds.protocol import Contribution, Failure, Manifest, Order, Shard
from medloom.rounds.store import Store

__all__ = ["Compute", "Made", "carry_out"]

Made = tuple[Arrays, float, dict[str, object]]
"""What is to be averaged, how much it counts, and facts about it that JSON can hold."""

Compute = Callable[[Manifest, Shard, Arrays], Made]
"""From a round, a shard of it and the weights to what a worker makes of it."""


def carry_out(store: Store, order: Order, compute: Compute) -> bool:
    """Carry out an order and write the result, or why there is none.

    The same order may be carried out twice, as queues deliver messages twice: the first result stays.

    Args:
        store: Where the round is.
        order: What is asked for.
        compute: What is done. A ``UserError`` that it raises says that trying again is of no use.

    Returns:
        Whether a result was written.
    """
    try:
        made = _made(store, order, compute)
    except Exception as error:  # whatever it is, the coordinator decides what comes of it
        store.put(order.failure, Failure(_said(error), final=isinstance(error, UserError)).data)
        return False
    return store.put(order.result, made.data)


def _made(store: Store, order: Order, compute: Compute) -> Contribution:
    manifest = Manifest.of(store.get(order.manifest))
    shard = next(one for one in manifest.shards if one.number == order.shard)
    weights, _ = unpack(store.get(order.weights))
    sha256 = digest(weights)
    if sha256 != manifest.weights:
        raise CorruptError("the weights of the round are not those that its manifest names")
    arrays, weight, facts = compute(manifest, shard, weights)
    return Contribution(manifest.sha256, sha256, shard.number, order.attempt, shard.size, weight, arrays, facts)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
