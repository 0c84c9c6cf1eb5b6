"""Every exception that Medloom raises on purpose.

::

    MedloomError                 exit code 1: the work failed
    ├── TrainingError            training had to stop; what was good before is still there
    │   └── NonFiniteLossError   a loss was NaN or infinite; names the samples
    ├── DiskFullError            exit code 74: there is no room to write a file
    ├── ServerError              a server gave no answer, or failed
    ├── VerifyError              a bundle no longer gives the answers it was packaged with
    └── UserError                exit code 2: what came in was wrong
        ├── RecipeError          a recipe's key or value
        ├── DataError            files that do not fit together; lists every problem, not the first
        ├── DecodeError          bytes that are not an acceptable image
        ├── InputError           a sound image, but not what this model takes
        ├── BundleError          a bundle that is damaged, tampered with or of another format
        └── MissingExtraError    an optional dependency that is not installed

A command prints the message and exits with ``exit_code``; a user's mistake never shows a traceback.
Messages say what came, what was expected and what to do, and hold no pixel values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from medloom.wording import few, one_line

__all__ = [
    "BundleError",
    "DataError",
    "DecodeCode",
    "DecodeError",
    "DiskFullError",
    "InputError",
    "MedloomError",
    "MissingExtraError",
    "NoMemoryError",
    "NonFiniteLossError",
    "RecipeError",
    "ServerError",
    "TrainingError",
    "UserError",
    "VerifyError",
]

DecodeCode = Literal[
    "empty",
    "corrupt",
    "truncated",
    "too_large",
    "unsupported",
    "mismatch",
    "non_finite",
    "page_required",
    "too_slow",
    "decoder_failed",
]

_HTTP_OF_CODE: dict[str, int] = {"too_large": 413, "mismatch": 415, "unsupported": 415}


class MedloomError(Exception):
    """Base of every error that Medloom raises on purpose."""

    exit_code = 1


class TrainingError(MedloomError):
    """Training had to stop; the last good checkpoint is still there."""


class NoMemoryError(TrainingError):
    """Memory ran out, and fewer images at a time were of no help.

    Args:
        images: How many went through the network at a time; None where that is not known.
        of: ``training``, ``validation`` or what else was done.
        said: What the library said.
        advice: What is there to do beside closing other programs.
    """

    def __init__(self, images: int | None, of: str, said: str = "", advice: str | None = None) -> None:
        self.images = images
        tried = "" if images is None else f" with {images:,} image{'s' * (images != 1)} at a time"
        what = advice or (
            "take a smaller preprocess.size, train.batch_size or network, or train.micro_batch, which lets fewer "
            "images through the network at a time; the same command goes on from the last checkpoint"
        )
        quoted = f" ({one_line(said)})" if said else ""
        super().__init__(f"out of memory in {of}{tried}{quoted}; close other programs, or {what}")


class NonFiniteLossError(TrainingError):
    """The loss was NaN or infinite; the weights were not changed by it.

    Args:
        step: Optimiser step, counted from 0, at which it happened.
        sample_ids: The samples of that batch.
        checkpoint: The last good checkpoint, relative to the run directory, or None before the first.
    """

    def __init__(self, step: int, sample_ids: Sequence[str], checkpoint: str | None) -> None:
        self.step = step
        self.sample_ids = tuple(sample_ids)
        self.checkpoint = checkpoint
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
        super().__init__(
            f"the loss of step {step} is not finite; samples: {', '.join(sample_ids)}; the weights were not "
            f"changed and {kept}. Look at these samples in catalogue.csv, or lower train.optimizer.lr."
        )


class ServerError(MedloomError):
    """A server gave no answer, or failed."""


class VerifyError(MedloomError):
    """A bundle no longer gives the answers it was packaged with."""


class NotFiniteError(MedloomError):
    """The network answered with a number that is none."""


class DiskFullError(MedloomError, OSError):
    """A file could not be written for want of room; what was there under its name is untouched.

    Args:
        path: The file.
        needed: Bytes that it needs, or has had when there was no more room.
        free: Bytes that are free where it is written.
        reason: What the system said.
    """

    exit_code = 74  # EX_IOERR of sysexits.h

    def __init__(self, path: str, needed: int, free: int, reason: str) -> None:
        self.reason = reason
        super().__init__(path, needed, free, reason)
        self._text = (
            f"could not write {path}: {reason}. It needs {needed:,} bytes or more and {free:,} are free there; "
            "make room and give the same command again"
        )

    def __str__(self) -> str:
        return self._text


class UserError(MedloomError):
    """What the user passed in was wrong."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe's key or value is wrong; the message has one line for each field."""


class DataError(UserError):
    """Files do not fit together.

    Args:
        summary: One sentence.
        problems: Every problem found in the pass, one line each. The message shows a few of each kind.
    """

    def __init__(self, summary: str, problems: Sequence[str] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        self.listed_in: str | None = None
        """Where all problems are listed, if more than a few are of a kind."""
        super().__init__(summary, self.problems)

    def __str__(self) -> str:
        shown = few(self.problems)
        lines = [self.summary, *(f"  - {problem}" for problem in shown)]
        if self.left_out:
            lines.append(f"  - and {self.left_out:,} more" + (f", see {self.listed_in}" if self.listed_in else ""))
        return "\n".join(lines)

    @property
    def left_out(self) -> int:
        """How many problems the message does not show."""
        return len(self.problems) - len(few(self.problems))


class DecodeError(UserError):
    """Bytes are not an acceptable image.

    Args:
        code: What is wrong: ``empty``, ``corrupt``, ``truncated``, ``too_large``, ``unsupported``,
            ``mismatch`` (content differs from the declared type), ``non_finite``, ``page_required``; and where
            decoding is fenced (`medloom.imaging.fence`) ``too_slow`` and ``decoder_failed``.
        message: What came and what was expected.
        field: The header field concerned, such as ``ImageWidth``.
        hint: What to do about it.
    """

    def __init__(self, code: DecodeCode, message: str, *, field: str | None = None, hint: str | None = None) -> None:
        self.code: DecodeCode = code
        self.field = field
        self.hint = hint
        self.message = message
        super().__init__(f"{code}: {message}" + (f". {hint}" if hint else ""))

    @property
    def http(self) -> int:
        """HTTP status that a server answers with."""
        return _HTTP_OF_CODE.get(self.code, 400)


class InputError(UserError):
    """A sound image, but not what this model takes, such as a wrong number of channels."""


class BundleError(UserError):
    """A bundle is damaged, tampered with, or of another format."""


class MissingExtraError(UserError):
    """An optional dependency is not installed.

    Args:
        module: The module that could not be imported.
        extra: The extra of Medloom that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        self.module = module
        self.extra = extra
        super().__init__(f"{module} is not installed; install it with: pip install 'medloom[{extra}]'")
