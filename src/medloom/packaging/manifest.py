"""What ``bundle.json`` says, typed and strict."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medloom.data.metadata import TableEncoding
from medloom.errors import BundleError
from medloom.inference import NetworkSpec, OperatingPoint
from medloom.models.registry import LabelKind
from medloom.packaging.archive import PLAIN_NAME
from medloom.recipe import PreprocessConfig

__all__ = [
    "FORMAT",
    "Golden",
    "InputContract",
    "LabelsEntry",
    "Manifest",
    "ModelEntry",
    "OperatingPointEntry",
    "TrainingData",
]

FORMAT: Final = 1
FileName = Annotated[str, Field(pattern=rf"^{PLAIN_NAME}$", max_length=255)]
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
    options: dict[str, Any] = {}
    table_features: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)

    def spec(self, size: tuple[int, int], kind: LabelKind | None) -> NetworkSpec:
        """Return the network's description for the runtimes."""
        return NetworkSpec(
            name=self.name,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            size=size,
            args=self.args,
            kind=kind,
            options=self.options,
            table_features=self.table_features,
        )


class OperatingPointEntry(_Entry):
    """Threshold and smallest lesion, fixed on the validation set."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    min_lesion_px: Annotated[int, Field(ge=0)]

    def point(self) -> OperatingPoint:
        """Return the same for the predictor."""
        return OperatingPoint(self.threshold, self.min_lesion_px)


class LabelsEntry(_Entry):
    """How labels of the whole image are decided, and what metadata a request may carry."""

    kind: LabelKind
    targets: tuple[str, ...]
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    rounds: Annotated[int, Field(ge=1)] = 1
    tables: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="after")
    def _one_threshold_each(self) -> Self:
        wanted = {"binary": 1, "multi-label": len(self.targets)}.get(self.kind, 0)
        if len(self.thresholds) != wanted:
            raise ValueError(f"{len(self.thresholds)} thresholds for {self.kind}; expected {wanted}")
        return self

    def encodings(self) -> tuple[TableEncoding, ...]:
        """Return how metadata are encoded, one for each member of the model."""
        return tuple(TableEncoding.from_plain(plain) for plain in self.tables)


class TrainingData(_Entry):
    """Which data the model learned from."""

    fingerprint: str
    counts: dict[str, Any] = {}


class Golden(_Entry):
    """An example that ``verify`` replays: files of the bundle, and how far the answer may be off.

    There is a mask for segmentation only. Metadata, where the model takes some, are all blank.
    """

    input: str
    probabilities: str
    mask: str | None = None
    tolerance: Annotated[float, Field(gt=0)]


class Manifest(_Entry):
    """Everything about a bundle that is not weights."""

    format: Literal[1]
    medloom: str
    task: Literal["segmentation", "classification"]
    name: str
    phantom: bool
    classes: tuple[str, ...]
    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    input: InputContract
    preprocess: PreprocessConfig
    model: ModelEntry
    operating_point: OperatingPointEntry | None = None
    labels: LabelsEntry | None = None
    flips: bool
    metrics: dict[str, Any]
    training_data: TrainingData
    runtime: str
    versions: dict[str, str]
    golden: Golden
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if (self.task == "segmentation") == (self.operating_point is None):
            raise ValueError(f"operating_point does not fit the task {self.task}")
        if (self.task == "classification") == (self.labels is None):
            raise ValueError(f"labels does not fit the task {self.task}")
        return self

    @property
    def kind(self) -> LabelKind | None:
        """What a label of the whole image is; None for masks."""
        return None if self.labels is None else self.labels.kind

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
