"""Where files of weights are: on this machine's disks first (``disks``), then on a hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import hf_hub_download

from medloom.errors import RecipeError
from medloom.models.disks import MIRROR, mirrored
from medloom.registry import WEIGHTS

__all__ = ["HUB", "HubName", "fetched", "from_hub", "is_remote"]

T = TypeVar("T")

HUB = "hf-hub:"
"""How a name on Hugging Face begins."""

_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
_NAMED = re.compile(
    r"hf-hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})(?:/(?P<file>[\w.-]+))?"
    r"(?:#sha256=(?P<sha256>[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class HubName:
    """A place on Hugging Face.

    Args:
        repository: ``organisation/name``.
        revision: The commit; None for the newest, where the file is known by its SHA-256.
        files: File names to look for, in order.
        sha256: What the file must have; empty for no check.
    """

    repository: str
    revision: str | None
    files: Sequence[str] = _FILES
    sha256: str = ""

    @classmethod
    def of(cls, weights: str) -> HubName:
        """Read what a recipe says.

        Raises:
            RecipeError: If it names no commit, so that others would come another day.
        """
        found = _NAMED.fullmatch(weights)
        if found is None:
            raise RecipeError(
                f"model.weights: {weights!r} does not name a place on Hugging Face for good; expected "
                "hf-hub:organisation/name@COMMIT, or with /FILE or #sha256=DIGEST after it, where COMMIT is 40 digits "
                "and letters a to f"
            )
        return cls(
            found["repository"], found["revision"], (found["file"],) if found["file"] else _FILES, found["sha256"] or ""
        )


def is_remote(weights: str) -> bool:
    """Whether a recipe names weights that may have to be fetched."""
    return weights == "imagenet" or weights.startswith(HUB) or weights in WEIGHTS


def from_hub(place: HubName, name: str) -> Path:
    """Return a file of the mirror, else of the hub or its cache.

    Args:
        place: Where it is.
        name: Of the network, for the message.

    Raises:
        RecipeError: If it cannot be had.
    """
    here = (mirrored(*place.repository.split("/"), file) for file in place.files)
    found = next((file for file in here if file is not None), None)
    return found or fetched(name, lambda: _download(place))


def _download(place: HubName) -> Path:
    for file in place.files[:-1]:
        try:
            return Path(hf_hub_download(place.repository, file, revision=place.revision))
        except LookupError:
            continue
        except Exception as error:  # the hub's errors for a file that is not there share no base with one another
            if "EntryNotFound" not in type(error).__name__:
                raise
    return Path(hf_hub_download(place.repository, place.files[-1], revision=place.revision))


def fetched(name: str, load: Callable[[], T]) -> T:
    """Fetch pretrained weights from where their library keeps them, or from its cache.

    Raises:
        RecipeError: If they cannot be had, with the ways on.
    """
    try:
        return load()
    except Exception as error:  # the hub, the transport, the cache and the libraries share no base
        reason = " ".join(str(error).split()) or "no reason given"
        raise RecipeError(
            f"model.weights: the pretrained weights of {name!r} could not be loaded from the hub. Name a local "
            ".safetensors file in model.weights, or set it to none, or fetch them once where there is a network and "
            f"point HF_HOME (TORCH_HOME for alexnet) to that cache, or {MIRROR} to a folder with the file (see "
            f"docs/weights.md). What the library said: {type(error).__name__}: {reason}"
        ) from error
