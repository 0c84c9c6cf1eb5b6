"""What ``bundle.json`` says, typed and strict."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medloom.errors import BundleError
from medloom.inference import NetworkSpec, OperatingPoint
from medloom.recipe import PreprocessConfig

__all__ = ["FORMAT", "Golden", "InputContract", "Manifest", "ModelEntry", "OperatingPointEntry", "TrainingData"]

FORMAT: Final = 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputContract(_Entry):
    """What an image must be."""

    content_types: tuple[str, ...]
    channels: tuple[str, ...]
    page: int | None = None


class ModelEntry(_Entry):
    """What it takes to build the network again."""

    name: str
    args: dict[str, Any]
    in_channels: Annotated[int, Field(ge=1)]
    out_channels: Annotated[int, Field(ge=1)]

    def spec(self, size: tuple[int, int]) -> NetworkSpec:
        """Return the network's description for the runtimes."""
        return NetworkSpec(self.name, self.in_channels, self.out_channels, size, self.args)


class OperatingPointEntry(_Entry):
    """Threshold and smallest lesion, fixed on the validation set."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    min_lesion_px: Annotated[int, Field(ge=0)]

    def point(self) -> OperatingPoint:
        """Return the same for the predictor."""
        return OperatingPoint(self.threshold, self.min_lesion_px)


class TrainingData(_Entry):
    """Which data the model learned from."""

    fingerprint: str
    counts: dict[str, Any] = {}


class Golden(_Entry):
    """An example that ``verify`` replays: files of the bundle, and how far the answer may be off."""

    input: str
    probabilities: str
    mask: str
    tolerance: Annotated[float, Field(gt=0)]


class Manifest(_Entry):
    """Everything about a bundle that is not weights."""

    format: Literal[1]
    medloom: str
    task: Literal["segmentation", "classification"]
    name: str
    phantom: bool
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    input: InputContract
    preprocess: PreprocessConfig
    model: ModelEntry
    operating_point: OperatingPointEntry
    flips: bool
    metrics: dict[str, Any]
    training_data: TrainingData
    runtime: str
    versions: dict[str, str]
    golden: Golden
    files: dict[str, Sha256]

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read ``bundle.json``.

        Raises:
            BundleError: If it is not JSON, of another format, or a value is wrong.
        """
        try:
            plain = json.loads(data, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"bundle.json is not JSON: {error}") from error
        found = plain.get("format") if isinstance(plain, dict) else None
        if found != FORMAT:
            raise BundleError(f"bundle.json has format {found!r}; this version of Medloom reads {FORMAT}")
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            lines = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise BundleError("bundle.json is wrong: " + "; ".join(lines)) from error


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")
