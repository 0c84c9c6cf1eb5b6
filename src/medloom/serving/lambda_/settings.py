"""What the environment variables of a function say, read once and checked before the first event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from medloom.data.buckets import Place, place_of
from medloom.errors import DataError, UserError
from medloom.registry import FORMS, check_name
from medloom.serving.admission import Limits

__all__ = ["BUNDLE", "FORMS_WRITTEN", "INPUT", "MAX_OBJECT", "OUTPUT", "VARIABLES", "Settings"]

BUNDLE = "MEDLOOM_BUNDLE"
OUTPUT = "MEDLOOM_OUTPUT"
INPUT = "MEDLOOM_INPUT"
FORMS_WRITTEN = "MEDLOOM_OUTPUT_FORMS"
MAX_OBJECT = "MEDLOOM_MAX_OBJECT_MIB"

VARIABLES: Mapping[str, str] = {
    BUNDLE: "the bundle: a model.tar.gz or the folder that it was extracted to",
    OUTPUT: "where answers to objects of a bucket are written, s3://BUCKET/PREFIX/; needed for events of storage",
    INPUT: "which objects the function is told of, s3://BUCKET/PREFIX/; checked to lie apart from the output",
    FORMS_WRITTEN: "forms of an answer that are written beside its JSON, such as png?,seg; ? means where there is one",
    MAX_OBJECT: "largest object that is read, in MiB",
}
"""Every variable that a function looks at, and what it says."""

_USUAL_FORMS = "png?,nifti-gz?"
"""What ``medloom batch`` writes of an answer: the mask of an image or of a volume, where there is one."""

_JSON = "json"
_MIB = 2**20
_MOST_MIB = 2**12


@dataclass(frozen=True)
class Settings:
    """How a function works.

    Args:
        bundle: The bundle; None where it lies at one of the usual places.
        output: Where answers to objects are written, its key empty or ending with a slash; None if that is not said.
        input: Where the objects lie that the function is told of, as far as that is said.
        forms: Forms of an answer that are written, JSON first; an image that has no such form is refused.
        optional: Further ones, written where an answer has them.
        max_object_bytes: Largest object that is read.
    """

    bundle: Path | None = None
    output: Place | None = None
    input: Place | None = None
    forms: tuple[str, ...] = (_JSON,)
    optional: tuple[str, ...] = ()
    max_object_bytes: int = Limits.max_body_bytes

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read them; a variable that is empty is not set.

        Args:
            environment: The environment variables.

        Raises:
            UserError: If one of them cannot be meant; names it, what came and what was expected.

        Example:
            >>> Settings.read({"MEDLOOM_OUTPUT": "s3://answers/chest"}).output
            Place(bucket='answers', key='chest/')
        """
        bundle = environment.get(BUNDLE)
        output, source = _place(environment, OUTPUT), _place(environment, INPUT)
        if output is not None and output.key and not output.key.endswith("/"):
            output = output._replace(key=f"{output.key}/")
        forms, optional = _forms(environment.get(FORMS_WRITTEN) or _USUAL_FORMS)
        settings = cls(Path(bundle) if bundle else None, output, source, forms, optional, _max_bytes(environment))
        settings.check_apart()
        return settings

    def check_apart(self) -> None:
        """Refuse an output within the input, whose every answer would be an event, or the other way round.

        Raises:
            UserError: Names both.
        """
        output, source = self.output, self.input
        if output is None or source is None or output.bucket != source.bucket:
            return
        if output.key.startswith(source.key) or source.key.startswith(output.key):
            raise UserError(
                f"{OUTPUT} {output} and {INPUT} {source} lie within each other, so that answers would be predicted in "
                "their turn; name a prefix of its own for each, or another bucket"
            )


def _place(environment: Mapping[str, str], name: str) -> Place | None:
    said = environment.get(name)
    if not said:
        return None
    try:
        return place_of(said)
    except DataError as error:
        raise UserError(f"{name}: {error.summary}") from error


def _forms(said: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The forms that are wanted, JSON first, and those that are wanted where there are some."""
    words = [word.strip().lower() for word in said.split(",") if word.strip()]
    try:
        for word in words:
            check_name("form", word.removesuffix("?"), FORMS)
    except UserError as error:
        raise UserError(f"{FORMS_WRITTEN}: {error}") from error
    wanted = dict.fromkeys([_JSON, *(word for word in words if not word.endswith("?"))])
    optional = dict.fromkeys(word.removesuffix("?") for word in words if word.endswith("?"))
    return tuple(wanted), tuple(name for name in optional if name not in wanted)


def _max_bytes(environment: Mapping[str, str]) -> int:
    said = environment.get(MAX_OBJECT)
    if not said:
        return Limits.max_body_bytes
    if not (said.isascii() and said.isdecimal() and 0 < int(said[:9]) <= _MOST_MIB and len(said) < 9):
        raise UserError(f"{MAX_OBJECT}: expected a whole number of MiB from 1 to {_MOST_MIB}; got {said[:40]!r}")
    return int(said) * _MIB
