"""Weights to begin with: from what ``model.weights`` says to tensors that are known to be right."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import timm
from pydantic import BaseModel, ConfigDict, ValidationError

from medloom.errors import RecipeError
from medloom.files import sha256_file
from medloom.models.answers import proven
from medloom.models.disks import published_here
from medloom.models.published import Published
from medloom.models.sources import HUB, HubName, from_hub
from medloom.models.weights import State, read_weights
from medloom.registry import WEIGHTS, load

__all__ = ["Found", "Origin", "find_weights", "load_weights"]


_UNKNOWN = Published(architecture="", licence="", source="")


@dataclass(frozen=True)
class Origin:
    """What there is to say of weights that a network has begun with.

    Args:
        name: What the recipe says; of a path the name of the file.
        source: Where they are from.
        licence: As SPDX writes it; empty where it is not known.
        sha256: Of their file; empty where there is none of their own.
    """

    name: str
    source: str
    licence: str
    sha256: str

    def plain(self) -> dict[str, str]:
        """Return it as JSON has it."""
        return asdict(self)

    def text(self) -> str:
        """Return it in a sentence for people."""
        known = f"SHA-256 {self.sha256[:12]}…" if self.sha256 else "its file is not known"
        return f"begins with {self.name} from {self.source}, licence {self.licence or 'not known'}, {known}"


@dataclass(frozen=True)
class Found:
    """A file of weights.

    Args:
        file: Where it is here.
        card: What is known of it.
        origin: What is said of it.
    """

    file: Path
    card: Published | None
    origin: Origin


class Card(BaseModel):
    """What may lie beside a file of weights, under its name with ``.json`` after it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    architecture: str
    licence: str = ""
    source: str = ""
    sha256: str = ""
    answer: tuple[float, ...] = ()
    size: tuple[int, int] = (224, 224)


def find_weights(weights: str, name: str) -> Found:
    """Find the file that a recipe asks for; what the mirror has is not fetched.

    Args:
        weights: A name in ``medloom.registry.WEIGHTS``, ``hf-hub:organisation/name@COMMIT``, or the path of a file.
        name: The network that begins with them, as the recipe calls it.

    Raises:
        RecipeError: If it cannot be had.
    """
    if weights in WEIGHTS:
        published: Published = load(WEIGHTS[weights])
        file = _published_file(weights, published)
        return Found(file, published, Origin(weights, published.source, published.licence, sha256_file(file)))
    if not weights.startswith(HUB):
        return _described(Path(weights).expanduser(), Path(weights).name, "a file")
    place = HubName.of(weights)
    source = f"https://huggingface.co/{place.repository}/tree/{place.revision}"
    found = _described(from_hub(place, weights), weights.partition("#")[0], source)
    return found if not place.sha256 else replace(found, card=replace(found.card or _UNKNOWN, sha256=place.sha256))


def _described(file: Path, said: str, source: str) -> Found:
    card = _card_of(file)
    known = card or _UNKNOWN
    digest = sha256_file(file) if file.is_file() else ""
    return Found(file, card, Origin(said, known.source or source, known.licence, digest))


def load_weights(weights: str, name: str) -> State:
    """Return the tensors that a recipe asks for, by name.

    Args:
        weights: As for ``find_weights``.
        name: The network that begins with them, as the recipe calls it.

    Raises:
        RecipeError: If they cannot be had, are not what was published, are for another network, or do not give the
            answer that is known of them.
    """
    found = find_weights(weights, name)
    card = found.card
    if card is None:
        return read_weights(str(found.file))
    if card.architecture and name.partition(".")[0] != card.architecture:
        raise RecipeError(f"model.weights: {weights} are for the network {card.architecture!r}; got {name!r}")
    if card.sha256 and found.origin.sha256 != card.sha256:
        raise RecipeError(
            f"model.weights: {found.file.name} is not the file that was published as {weights}: its SHA-256 is "
            f"{found.origin.sha256}; expected {card.sha256}"
        )
    state = card.renamed(read_weights(str(found.file)))
    return proven(state, card.architecture, card.answer, card.size) if card.answer else state


def _published_file(weights: str, published: Published) -> Path:
    here = published_here(weights, published)
    file = None if here is None else here.file
    if file is None and published.repository and (published.revision or published.sha256):
        file = from_hub(HubName(published.repository, published.revision, (published.file,)), weights)
    if file is None:
        raise RecipeError(f"model.weights: {weights} are not here; {published.how}")
    return file


def _card_of(file: Path) -> Published | None:
    """Read what lies beside a file: a card, or what timm and Hugging Face keep beside weights."""
    beside, config = file.with_name(file.name + ".json"), file.with_name("config.json")
    try:
        if beside.is_file():
            return Published(**Card.model_validate_json(beside.read_text("utf-8")).model_dump())
        plain = json.loads(config.read_text("utf-8")) if config.is_file() else {}
    except (ValidationError, ValueError) as error:
        raise RecipeError(f"model.weights: what lies beside {file.name} is not sound: {error}") from error
    return _of_timm(plain) if isinstance(plain, dict) else None


def _of_timm(plain: Mapping[str, Any]) -> Published | None:
    architecture, cfg = plain.get("architecture"), plain.get("pretrained_cfg")
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        return None
    licence = cfg.get("license") if isinstance(cfg, dict) else None
    return Published(architecture=architecture, licence=str(licence or ""), source="")
