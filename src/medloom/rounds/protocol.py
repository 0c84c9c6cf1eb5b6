"""What coordinator and workers write to each other.

::

    round/00000012-3f9c1a…/
        manifest.json                           the round: batches, shards, weights, what is to be done
        weights.safetensors                     what the workers begin with
        shard_0003/attempt_01.safetensors       what a worker made of a shard; never written twice
        shard_0003/attempt_01.failed.json       why it made nothing

The folder's name holds the beginning of the manifest's checksum, so two rounds that differ in anything never share one.

Shapes: a batch is a row of indices of samples; a shard is a slice of each batch of the round.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

from medloom.rounds.arrays import Arrays, CorruptError, pack, unpack

__all__ = ["Contribution", "Failure", "Manifest", "Order", "Shard", "cut"]

_FORMAT = "medloom-round-1"
_DIGITS = 16


@dataclass(frozen=True)
class Shard:
    """A part of the batches of a round.

    Args:
        number: From 0.
        parts: First sample and the one behind the last, for each batch of the round; equal where it has none of it.
    """

    number: int
    parts: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Samples, over all batches."""
        return sum(last - first for first, last in self.parts)


def cut(sizes: Sequence[int], count: int) -> tuple[Shard, ...]:
    """Cut batches into shards of consecutive samples, whose sizes differ by one at most.

    Args:
        sizes: Samples of each batch.
        count: How many shards.

    Returns:
        Those that hold any sample.

    Example:
        >>> [shard.parts for shard in cut([5, 1], 2)]
        [((0, 3), (0, 1)), ((3, 5), (1, 1))]
    """
    edges = [_larger_first(size, count) for size in sizes]
    shards = (Shard(number, tuple((edge[number], edge[number + 1]) for edge in edges)) for number in range(count))
    return tuple(shard for shard in shards if shard.size)


def _larger_first(size: int, count: int) -> list[int]:
    each, over = divmod(size, count)
    return [number * each + min(number, over) for number in range(count + 1)]


@dataclass(frozen=True)
class Manifest:
    """A round.

    Args:
        number: Of the round in its training, from 0.
        weights: Checksum of the arrays that the workers begin with.
        batches: Samples of each batch, by their index.
        shards: What each worker takes of them.
        work: What is to be done, for whoever computes: what JSON can hold.
    """

    number: int
    weights: str
    batches: tuple[tuple[int, ...], ...]
    shards: tuple[Shard, ...]
    work: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Samples of the round."""
        return sum(len(batch) for batch in self.batches)

    @cached_property
    def data(self) -> bytes:
        """The file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, sort_keys=True, allow_nan=False).encode()

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def folder(self) -> str:
        """Prefix of the keys of the round, with a slash at the end."""
        return f"round/{self.number:08d}-{self.sha256[:_DIGITS]}/"

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Read the file.

        Raises:
            CorruptError: If it is none.
        """
        try:
            plain = json.loads(data)
            if plain["format"] != _FORMAT:
                raise ValueError(f"its format is {plain['format']!r}, expected {_FORMAT!r}")
            shards = tuple(
                Shard(one["number"], tuple((first, last) for first, last in one["parts"])) for one in plain["shards"]
            )
            batches = tuple(tuple(batch) for batch in plain["batches"])
            return cls(plain["number"], plain["weights"], batches, shards, plain["work"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"not the manifest of a round: {error}") from error


@dataclass(frozen=True)
class Order:
    """What a worker is asked for.

    Args:
        folder: Of the round.
        shard: Its number.
        attempt: From 1; a shard that did not come back is asked for again, with the next number.
    """

    folder: str
    shard: int
    attempt: int

    @property
    def manifest(self) -> str:
        """Key of the manifest."""
        return f"{self.folder}manifest.json"

    @property
    def weights(self) -> str:
        """Key of the weights."""
        return f"{self.folder}weights.safetensors"

    @property
    def result(self) -> str:
        """Key of what the worker makes of it."""
        return f"{self._stem}.safetensors"

    @property
    def failure(self) -> str:
        """Key of why it made nothing."""
        return f"{self._stem}.failed.json"

    @property
    def _stem(self) -> str:
        return f"{self.folder}shard_{self.shard:04d}/attempt_{self.attempt:02d}"


@dataclass(frozen=True)
class Contribution:
    """What a worker made of a shard.

    Args:
        manifest: Checksum of the round's manifest.
        weights: Checksum of what it began with.
        shard: Number of the shard.
        attempt: Of the order.
        size: Samples that it looked at.
        weight: How much it counts in the mean; for a loss that is a mean over samples, their number.
        arrays: What is to be averaged, by name.
        facts: What JSON can hold besides, such as the loss.
    """

    manifest: str
    weights: str
    shard: int
    attempt: int
    size: int
    weight: float
    arrays: Arrays
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The file."""
        names = ("manifest", "weights", "shard", "attempt", "size", "weight", "facts")
        return pack(self.arrays, {name: getattr(self, name) for name in names})

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Read the file.

        Raises:
            CorruptError: If it is none, or not as it was written.
        """
        arrays, facts = unpack(data)
        facts.pop("format")
        try:
            return cls(arrays=arrays, **facts)
        except TypeError as error:
            raise CorruptError("not what a worker makes of a shard") from error


@dataclass(frozen=True)
class Failure:
    """Why a worker made nothing of a shard.

    Args:
        reason: In a sentence; no names, paths or pixels of patients.
        final: Whether it would be the same for everyone who tries.
    """

    reason: str
    final: bool = False

    @property
    def data(self) -> bytes:
        """The file."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Read the file; one that cannot be read says so."""
        try:
            plain = json.loads(data)
            return cls(str(plain["reason"]), bool(plain["final"]))
        except (ValueError, KeyError, TypeError):
            return cls("it failed, and what it says of that cannot be read")
