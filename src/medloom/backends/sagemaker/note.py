"""What a run directory remembers of its job there, so that a laptop may be closed in between."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from medloom.errors import UserError
from medloom.files import read_json, write_json

__all__ = ["NOTE", "Note"]

NOTE = "sagemaker.json"
"""File of a run directory."""


@dataclass(frozen=True)
class Note:
    """Where the job of a run is. The rest is in the account.

    Args:
        job: Name of the job.
        region: Its region.
        bucket: The bucket.
        prefix: Key in it below which everything lies.
        run: Name of the run there.
        begun: When it was sent, in UTC.
        kind: ``training``, or ``tuning`` of a search.
    """

    job: str
    region: str
    bucket: str
    prefix: str
    run: str
    begun: str
    kind: str = "training"

    def save(self, folder: Path) -> None:
        """Write it into a run directory, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / NOTE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Note | None:
        """Return what a run directory remembers; None if it was not trained there.

        Raises:
            UserError: If the file was changed.
        """
        if not (folder / NOTE).is_file():
            return None
        try:
            return cls(**read_json(folder / NOTE))
        except (TypeError, ValueError) as error:
            raise UserError(f"{folder / NOTE} is damaged; remove it, then the job is looked for by its tags") from error
