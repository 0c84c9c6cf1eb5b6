"""``medloom batch``: any number of inputs in bounded memory, and a batch that was stopped goes on."""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

from medloom.errors import DataError, MedloomError
from medloom.inference.inputs import Entry
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor
from medloom.inference.siblings import with_siblings
from medloom.inference.writers import KINDS, TABLE, Asked, FormFiles, Tally, Writer, check_uncertainty
from medloom.serving.batch.folder import JOURNAL, Manifest, opened_folder
from medloom.serving.batch.journal import Journal, Told, identity
from medloom.serving.batch.small import inputs_of
from medloom.serving.batch.tables import PARQUET, widen, write_parquet, write_table
from medloom.serving.batch.work import BATCH_SIZE, Done, Input, each_piece
from medloom.serving.fencing import behind, new_fence

__all__ = ["Batch", "Listing", "Outcome", "Pace", "run_batch"]

_LIMIT_S, _GROWTH_BYTES = 60.0, 4 * 2**30
"""Of a worker that decodes one file: files that a user named are larger than what a server takes from anybody."""

_NOWHERE = 2**64 - 1


@dataclass(frozen=True)
class Listing:
    """What names the inputs of a batch: a protocol between it and wherever they come from.

    Args:
        entries: Names them one by one with their metadata, the same each time that it is asked.
        again: Whether it can be asked a second time, to count them while the first are worked on.
    """

    entries: Callable[[], Iterator[tuple[Entry, Metadata]]]
    again: bool = True


@dataclass(frozen=True)
class Batch:
    """What is asked of every input.

    Args:
        page: Page of files that have several; None for all of a volume.
        uncertainty: Measure of each pixel of a mask; empty for none.
        batch_size: Images in one call of the network.
        workers: Processes that decode; 0 decodes in this one.
        calls: Calls of the network at a time; see ``medloom.serving.batch.rounds.shared_out``.
        parquet: Whether the table is also written as Parquet.
        forms: Further forms of each answer that are written; None for none.
        overlays: Whether the outline of each mask is drawn on its image.
    """

    page: int | None = None
    uncertainty: str = ""
    batch_size: int = BATCH_SIZE
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    calls: int = 1
    parquet: bool = False
    forms: FormFiles | None = None
    overlays: bool = True

    def plain(self) -> dict[str, Any]:
        """What of it decides an answer."""
        forms = {} if self.forms is None else {"forms": list(self.forms.names)}
        drawn = {} if self.overlays else {"overlays": False}
        return {"page": self.page, "uncertainty": self.uncertainty, "batch_size": self.batch_size, **forms, **drawn}


@dataclass(frozen=True)
class Pace:
    """How far a batch is.

    Args:
        done: Inputs that are done.
        before: Those of them that were done by an earlier run.
        failed: Of those of this run, which have no prediction.
        total: How many there are; None while that is not known.
    """

    done: int
    before: int
    failed: int
    total: int | None


@dataclass(frozen=True)
class Outcome:
    """What a batch has made.

    Args:
        result: As in ``batch.json``; of a batch that was stopped, counts alone.
        finished: Whether every input is done.
        done: Inputs that are done.
        now: Those that were done by this run.
        seconds: Seconds of this run.
    """

    result: Mapping[str, Any]
    finished: bool
    done: int
    now: int
    seconds: float


def run_batch(
    predictor: Predictor,
    listing: Listing,
    folder: Path,
    batch: Batch,
    of: Mapping[str, Any],
    *,
    overwrite: bool = False,
    retry: bool = False,
    is_wanted: Callable[[], bool] = lambda: True,
    watch: Callable[[Pace], object] = lambda _: None,
) -> Outcome:
    """Predict every input that is not done yet, and write the table when all are.

    Args:
        predictor: The model.
        listing: The inputs.
        folder: Where to write; new, or of the same batch.
        batch: What is asked of them.
        of: What else decides the answers, such as the bundle's digest; in words that a user understands.
        overwrite: Whether another batch in the folder is removed.
        retry: Whether inputs without a prediction are tried again.
        is_wanted: Asked from time to time whether to go on.
        watch: Told how far it is.

    Raises:
        UserError: If the folder is not one to write to, or nothing is listed.
        DiskFullError: If there is no room; what was finished before is kept.
    """
    check_uncertainty(batch.uncertainty, predictor.target)
    if batch.forms is not None:
        batch.forms.check(predictor.target)
    begun_s = time.monotonic()
    listing = _together(predictor, listing, batch.page)
    given = listing.entries()
    if (first := next(given, None)) is None:
        raise DataError("there are no images in what was named")
    with opened_folder(folder, {**of, **batch.plain()}, overwrite=overwrite) as manifest, ExitStack() as stack:
        journal = stack.enter_context(Journal(folder / JOURNAL))
        run = _Run(predictor, folder, batch, journal, watch, retry=retry)
        try:
            run.go(chain([first], given), listing, is_wanted)
        except BaseException:
            with suppress(OSError, MedloomError):
                journal.sync()
            raise
        journal.sync()
        return _finished(run, manifest, time.monotonic() - begun_s)


def _finished(run: _Run, manifest: Manifest, seconds: float) -> Outcome:
    """Write the table and the manifest, unless they are there as they would be."""
    if not run.is_whole:
        manifest.finished = False
        manifest.worked(seconds)
        manifest.write(run.folder)
        kept = len(run.journal) + run.now
        return Outcome({"inputs": kept}, False, kept, run.now, seconds)
    inputs = run.digest.hexdigest()
    tables = [TABLE, *([PARQUET] if run.batch.parquet else [])]
    there = all((run.folder / name).is_file() for name in tables)
    if run.now or not (manifest.finished and manifest.inputs == inputs and there):
        manifest.result = _write_tables(run)
        manifest.finished, manifest.inputs = True, inputs
        manifest.ended(seconds)
        manifest.write(run.folder)
    return Outcome(manifest.result, True, run.done, run.now, seconds)


class _Run:
    """One run of a batch; of each input it holds eight bytes."""

    def __init__(
        self,
        predictor: Predictor,
        folder: Path,
        batch: Batch,
        journal: Journal,
        watch: Callable[[Pace], object],
        *,
        retry: bool,
    ) -> None:
        self._retry = retry
        self.predictor, self.folder, self.batch, self.journal = predictor, folder, batch, journal
        self.writer: Writer = KINDS[predictor.target.kind]
        self.places = array("Q")
        """Where in the journal each input lies, in the order of the listing."""
        self.digest = blake2b(digest_size=16)
        self.done = self.now = self._failed = 0
        self._all_listed = False
        self._total: int | None = None
        self._watch = watch

    @property
    def is_whole(self) -> bool:
        """Whether every input is done."""
        return self._all_listed and self.done == len(self.places)

    def go(self, given: Iterator[tuple[Entry, Metadata]], listing: Listing, is_wanted: Callable[[], bool]) -> None:
        """Predict what is not done yet of what is given, and when there is a first result begin to count the rest."""
        counting = threading.Thread(target=self._count, args=(listing,), daemon=True) if listing.again else None
        with _fenced(self.predictor, self.batch.workers) as predictor:
            batch = self.batch
            asked = Asked(predictor, self.folder, batch.page, batch.uncertainty, batch.forms, batch.overlays)
            for piece in each_piece(
                asked,
                self._inputs(given),
                batch_size=batch.batch_size,
                calls=batch.calls,
                is_done=self._is_done,
                is_wanted=is_wanted,
            ):
                self._keep(piece)
                if counting is not None:
                    counting.start()
                    counting = None
        self._tell()

    def results(self) -> Iterator[Told]:
        """Yield every result in the order of the listing."""
        for place in self.places:
            yield from self.journal.results(place)

    def _inputs(self, given: Iterator[tuple[Entry, Metadata]]) -> Iterator[Input]:
        named = self.writer.writes_files or self.batch.forms is not None
        for one in inputs_of(given, named=named):
            self.places.append(_NOWHERE)
            self.digest.update(identity(one).to_bytes(8))
            yield one
        self._all_listed = True
        self._total = len(self.places)

    def _is_done(self, one: Input) -> bool:
        place = self.journal.find(identity(one))
        if place is None or (self._retry and any(told.error for told in self.journal.results(place))):
            return False
        self.places[one.number] = place
        self.done += 1
        return True

    def _keep(self, piece: Sequence[Done]) -> None:
        places = self.journal.append(piece, self.writer, self.predictor.target)
        for done, place in zip(piece, places, strict=True):
            self.places[done.input.number] = place
            self._failed += any(result.error for result in done.results)
        self.done += len(piece)
        self.now += len(piece)
        self._tell()

    def _tell(self) -> None:
        self._watch(Pace(self.done, self.done - self.now, self._failed, self._total))

    def _count(self, listing: Listing) -> None:
        """Count the inputs while the first are worked on."""
        with suppress(OSError, MedloomError, ValueError):  # said where they are worked on; or what is open was closed
            total = 0
            for _ in listing.entries():
                total += 1
                if self._total is not None:
                    return
            self._total = total


def _together(predictor: Predictor, listing: Listing, page: int | None) -> Listing:
    """The listing as it is; for a model that sees slices with those beside them all of it is held in memory."""
    if not predictor.context or page is not None:
        return listing
    given = list(listing.entries())
    rows = [row for _, row in given]
    known = with_siblings(predictor, [entry for entry, _ in given], rows)
    return Listing(lambda: zip(known, rows, strict=True))


@contextmanager
def _fenced(predictor: Predictor, workers: int) -> Iterator[Predictor]:
    """The predictor with decoders in processes of their own, so that no file can end or hang the batch."""
    if not workers:
        yield predictor
        return
    with new_fence(workers, limit_s=_LIMIT_S, growth_bytes=_GROWTH_BYTES) as fence:
        yield behind(predictor, fence)


def _write_tables(run: _Run) -> dict[str, Any]:
    """Write the table in the order of the listing, and return what was found."""
    tally, kinds, target = Tally(), dict[str, type](), run.predictor.target
    for told in run.results():
        tally.add(told)
        widen(kinds, told.row)
    columns = run.writer.columns(target, kinds.keys())
    write_table(run.folder / TABLE, columns, (told.row for told in run.results()))
    if run.batch.parquet:
        typed = {name: kinds.get(name, str) for name in columns}
        write_parquet(run.folder / PARQUET, typed, (told.row for told in run.results()))
    found = run.writer.summary(target, tally)
    return {
        "inputs": len(run.places),
        "results": tally.results,
        "failed": tally.failed,
        "codes": dict(sorted(tally.codes.items())),
        **found.counts,
        "text": found.text,
        "warnings": list(found.warnings),
    }
