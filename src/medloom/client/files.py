"""Files of a user asked of a server and written as ``medloom predict`` writes them, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Unpack

from medloom.client.answers import Received
from medloom.client.client import Client
from medloom.client.payload import Options, Sendable, zipped
from medloom.errors import MedloomError, ServerError, UserError
from medloom.imaging import FILE_BUDGET, inspect, sniff
from medloom.inference.inputs import Entry, SeriesFolder
from medloom.inference.metadata import Metadata
from medloom.inference.writers import FOR_ONE_FILE, KINDS, Answered, FileResult, Outcome
from medloom.targets import Target

__all__ = ["AskedFile", "Asks", "Facts", "ask_files", "facts_of"]

_AT_ONCE = 8
_NIFTI = "nifti"
_OVERLAY = "overlay"
_ZIP = "application/zip"
_ONE_PAGE: tuple[int | None, ...] = (None,)


class Asks(Protocol):
    """Gives answers: a server, or the files in which those of a batch lie."""

    def received(
        self, image: Sendable, forms: Sequence[str] = (), optional: Sequence[str] = (), **options: Unpack[Options]
    ) -> Received:
        """Return the answer to an image; see ``Client.received``."""
        ...


@dataclass(frozen=True)
class Facts:
    """What is known of a model before it is asked.

    Args:
        target: What it predicts; None where nobody says so.
        phantom: Whether it learned from phantoms.
        columns: Metadata that it takes.
        page: Page of files that have several.
        context: Slices on each side that it sees.
    """

    target: Target | None = None
    phantom: bool = False
    columns: tuple[str, ...] = ()
    page: int | None = None
    context: int = 0


@dataclass(frozen=True)
class AskedFile:
    """One input.

    Args:
        entry: What reads it.
        metadata: Values by column.
        name: What its files are called, without an ending.
        problem: Why it cannot be asked, where that is known beforehand.
    """

    entry: Entry
    metadata: Metadata
    name: str
    problem: Exception | None = None


@dataclass(frozen=True)
class _Failed:
    """An input, or a page of it, that there is no answer for."""

    entry: Entry
    page: int | None
    error: Exception


_Found = FileResult | _Failed


def _sent(file: AskedFile) -> tuple[bytes, Options]:
    """The bytes of an input, and what is said of them: of a series the zip of its files."""
    if isinstance(file.entry, SeriesFolder):
        series = Options(metadata=file.metadata, content_type=_ZIP, series=file.entry.series)
        return zipped(file.entry.read()), series
    return file.entry.read(), Options(metadata=file.metadata)


def facts_of(client: Client, model: str | None) -> Facts:
    """Ask a server what its model takes and gives.

    Args:
        client: Of the server.
        model: Which of its models; None where it has only one.

    Raises:
        UserError: If it has no such model, or several and none was named, or does not let one in.
        ServerError: If it gives no answer, or one of another kind of server.
    """
    said = client.describe()
    try:
        models = {one["name"]: one for one in said.get("models", [said])}
        if "target" not in said or model not in (None, said["name"]):
            came = "several models and none was named" if model is None else f"no model {model}"
            raise UserError(f"the server has {came}; expected one of: {', '.join(models) or 'none'}")
        return Facts(
            Target.from_plain(said["target"]),
            said["model"]["phantom"],
            tuple(one["column"] for one in said["metadata"]),
            said["page"],
            said["context"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError("the server does not say what its model takes; is it a Medloom server?") from error


def ask_files(
    client: Asks,
    facts: Facts,
    files: Sequence[AskedFile],
    folder: Path,
    *,
    page: int | None = None,
    forms: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Ask a server about files, several at a time, and write what belongs to each answer as soon as it is there.

    Args:
        client: Of the server.
        facts: What is known of the model.
        files: What is asked.
        folder: Where to write.
        page: Page of files that have several; None takes the model's own, and for labels each page.
        forms: Further forms of each answer that are written.
        progress: Called with how many are done and how many there are.

    Raises:
        ServerError: If the server answered nothing at all.
        MedloomError: If it answered no image, and what its model predicts is not known: the first reason.
    """
    asking = _Asking(client, facts, folder, facts.page if page is None else page, tuple(forms))
    found: list[_Found] = []
    with ThreadPoolExecutor(_AT_ONCE, "ask") as crew:
        for done, part in enumerate(crew.map(asking.found, files), 1):
            found += part
            if progress:
                progress(done, len(files))
    target = asking.target or facts.target
    errors = [one.error for one in found if isinstance(one, _Failed)]
    missed = [error for error in errors if isinstance(error, ServerError)]
    if missed and not asking.answered:
        raise missed[0]
    if target is None:
        raise errors[0]
    failed = KINDS[target.kind].failed
    results = [failed(one.entry, one.page, one.error) if isinstance(one, _Failed) else one for one in found]
    return Outcome(results, target, asking.phantom or facts.phantom)


@dataclass
class _Asking:
    """Asks about one file after the other, from several threads, as long as there are answers."""

    client: Asks
    facts: Facts
    folder: Path
    page: int | None
    forms: tuple[str, ...]
    target: Target | None = None
    phantom: bool = False
    answered: bool = False
    _missed: list[ServerError] = field(default_factory=list)

    def found(self, file: AskedFile) -> list[_Found]:
        """Return what came of a file: a result for each image or page."""
        if file.problem is not None:
            return [_Failed(file.entry, self.page, file.problem)]
        try:
            content, options = _sent(file)
            pages = self._pages(file.entry, content)
        except FOR_ONE_FILE as error:
            return [_Failed(file.entry, self.page, error)]
        return [one for page in pages for one in self._of_page(file, content, options, page, several=len(pages) > 1)]

    def _pages(self, entry: Entry, content: bytes) -> Sequence[int | None]:
        """Pages that are asked about each by itself; None where the server is asked about the file as it is."""
        target = self.facts.target
        if isinstance(entry, SeriesFolder):
            return _ONE_PAGE
        if self.page is not None or target is None or self.facts.context:
            return [self.page]
        if not KINDS[target.kind].takes_pages_apart or sniff(content) == _NIFTI:
            return _ONE_PAGE
        count = inspect(content, budget=FILE_BUDGET).pages
        return range(count) if count > 1 else _ONE_PAGE

    def _of_page(
        self, file: AskedFile, content: bytes, options: Options, page: int | None, *, several: bool
    ) -> Sequence[_Found]:
        missed = list(self._missed)  # another thread may clear it
        if len(missed) >= _AT_ONCE:
            return [_Failed(file.entry, page, missed[0])]
        try:
            named: Options = {**options, "page": page}
            got = self.client.received(content, self.forms, (_OVERLAY,), **named)
        except ServerError as error:
            self._missed.append(error)
            return [_Failed(file.entry, page, error)]
        except MedloomError as error:
            self._has_answered()
            return [_Failed(file.entry, page, error)]
        self._has_answered()
        self.target, self.phantom = got.target, got.phantom
        forms = {name: got.parts[name] for name in self.forms}
        answered = Answered(file.entry.name, got.prediction, page, got.parts.get(_OVERLAY, b""), forms=forms)
        name = f"{file.name}-page{page}" if several else file.name
        return KINDS[got.target.kind].write(answered, self.folder, name)

    def _has_answered(self) -> None:
        self.answered = True
        self._missed.clear()
