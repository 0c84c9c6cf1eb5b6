"""What ``bundle.json`` says, typed and strict."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

import medloom
from medloom.data.metadata import TableEncoding
from medloom.errors import BundleError
from medloom.imaging.canonical import Orientation
from medloom.inference import NetworkSpec, Point, needs_weights, point_from_plain
from medloom.inference.answers import KINDS
from medloom.inference.appearance import Appearance
from medloom.inference.calibration import Calibration
from medloom.inference.forms import Algorithm
from medloom.inference.quality import Quality
from medloom.packaging.archive import PLAIN_NAME
from medloom.packaging.contract import different, steps
from medloom.recipe.sections.data import MOST_CONTEXT, OriginConfig
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess
from medloom.wording import counted, one_line

__all__ = [
    "FORMAT",
    "GOLDEN_FOLDER",
    "About",
    "Agreement",
    "Golden",
    "InputContract",
    "Manifest",
    "Measured",
    "ModelEntry",
    "Reduced",
    "TrainingData",
    "Validation",
]

FORMAT: Final = 4
"""4 may be computed in fewer bits (``precision``). 3 says every step to the answer (``steps``) and which values the
classes have in masks; 2 does not. Both are read.

A key that an older version does not know is refused by it, so a new key raises the format. ``docs/bundle.md`` lists
what each format holds."""
_READ: Final = (2, 3, 4)
_WITHOUT_STEPS: Final = 2
GOLDEN_FOLDER = "golden/"
_LARGEST_ARGUMENT = 2**16
_MOST_SHOWN = 10
_MOST_VALUES = 2**28
_MOST_WORDS = 400
_MOST_VIEWS = 64
_WEIGHTS = (".onnx", ".safetensors")
_SPACE = frozenset("\t\n\r")

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
FileName = Annotated[str, Field(pattern=rf"^{PLAIN_NAME}$", max_length=255)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "bf16", "fp16", "int8"]


def _target(plain: Any) -> Target:  # noqa: ANN401 - whatever the JSON holds
    target = Target.from_plain(plain)
    if target.plain() != plain:
        raise ValueError("expected a target with its kind, its names (and values) as lists, and nothing else")
    return target


TargetField = Annotated[Target, PlainValidator(_target), PlainSerializer(Target.plain)]


def _appearance(plain: Any) -> Appearance | None:  # noqa: ANN401 - whatever the JSON holds
    return None if plain is None else Appearance.from_plain(plain)


def _plain_appearance(found: Appearance | None) -> dict[str, Any] | None:
    return None if found is None else found.plain()


def _calibration(plain: Any) -> Calibration | None:  # noqa: ANN401 - whatever the JSON holds
    return None if plain is None else Calibration.from_plain(plain)


def _plain_calibration(found: Calibration | None) -> dict[str, Any] | None:
    return None if found is None else found.plain()


def _quality(plain: Any) -> Quality | None:  # noqa: ANN401 - whatever the JSON holds
    return None if plain is None else Quality.from_plain(plain)


def _plain_quality(found: Quality | None) -> dict[str, Any] | None:
    return None if found is None else found.plain()


CalibrationField = Annotated[Calibration | None, PlainValidator(_calibration), PlainSerializer(_plain_calibration)]
AppearanceField = Annotated[Appearance | None, PlainValidator(_appearance), PlainSerializer(_plain_appearance)]
QualityField = Annotated[Quality | None, PlainValidator(_quality), PlainSerializer(_plain_quality)]
PreprocessField = Annotated[Preprocess, PlainValidator(Preprocess.from_plain), PlainSerializer(Preprocess.plain)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class InputContract(_Entry):
    """What an image must be.

    ``plane`` is the plane of the images that the model learned from, ``any`` for several: an image that says how it is
    oriented is turned before the network sees it, and the answer is turned back (axial: columns to the patient's left,
    rows to the back; coronal: left and feet; sagittal: back and feet). None: images are taken as they are stored.
    ``context`` is how many slices on either side the network sees with each, as further channels.
    """

    content_types: tuple[str, ...]
    channels: tuple[str, ...]
    page: int | None = None
    plane: Orientation | None = None
    context: Annotated[int, Field(ge=0, le=MOST_CONTEXT)] = 0


class BegunWith(_Entry):
    """Whose weights the network began its training with, as ``models.pretrained.Origin`` says."""

    name: str
    source: str
    licence: str
    sha256: Literal[""] | Sha256


class ModelEntry(_Entry):
    """What it takes to build the network again, and which weights it began with, if they were not fresh ones."""

    name: str
    args: dict[str, Any]
    in_channels: Annotated[int, Field(ge=1)]
    options: dict[str, Any] = {}
    table_features: Annotated[tuple[Annotated[int, Field(ge=0, le=_LARGEST_ARGUMENT)], ...], Field(min_length=1)] = (0,)
    weights: BegunWith | None = None

    @field_validator("args", "options")
    @classmethod
    def _buildable(cls, plain: dict[str, Any]) -> dict[str, Any]:
        """Refuse numbers with which a network would never be built, or take all memory."""
        for value in _leaves(plain):
            if isinstance(value, (int, float)) and not abs(value) <= _LARGEST_ARGUMENT:
                raise ValueError(f"a number beyond {_LARGEST_ARGUMENT}")
        return plain


class TrainingData(_Entry):
    """Which data the model learned from."""

    fingerprint: str
    counts: dict[str, Any] = {}


class Measured(_Entry):
    """How the metrics came about.

    Args:
        part: On whom: ``test``; ``validation`` where the test set was held back; ``folds`` for the test parts of the
            folds, each measured by its own member.
        runtime: What ran the network.
        precision: In what it was computed.
        note: What a reader of the metrics should know.
    """

    part: Literal["test", "validation", "folds"]
    runtime: str
    precision: Precision = "fp32"
    note: str = ""


class Validation(_Entry):
    """What was measured on images of another source than those that the model learned from.

    Args:
        name: What the source was called by who did it.
        fingerprint: Of the catalogue of its images.
        counts: Its images and patients; patients are None where they are not known.
        metrics: Estimates by name, at the operating point of the bundle.
        runtime: What ran the network.
        precision: In what it was computed.
        medloom: Which version measured.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    fingerprint: Sha256
    counts: dict[str, int | None]
    metrics: dict[str, Any]
    runtime: str
    precision: Precision = "fp32"
    medloom: str


class InsteadOfEnsemble(_Entry):
    """One network in the place of several, and what that cost on patients whom none of them saw.

    Args:
        what: ``soup``, the mean of their weights, or ``distilled``, trained on their probabilities.
        members: How many networks the ensemble has.
        cases: On whom both were measured, in words.
        ensemble: The headlines of the ensemble.
        difference: The network's minus the ensemble's, on the same cases, with paired intervals.
    """

    what: Literal["soup", "distilled"]
    members: Annotated[int, Field(ge=2)]
    cases: Annotated[str, Field(min_length=1, max_length=200)]
    ensemble: dict[str, Any]
    difference: dict[str, Any]


class Reduced(_Entry):
    """In what the network is computed, if not in float32, and what that cost on validation patients.

    Args:
        name: The precision.
        computed: How the runtime computed it where it was packaged, in words.
        metric: The metric that was compared.
        label: What it is called.
        cases: On whom, in words.
        exact: The metric in float32, at the operating point that is chosen with it.
        reduced: The metric as it is packaged, at its own.
        difference: The second minus the first on the same cases, with a paired interval.
        loss: How much worse it is; of numbers with a unit, as a share of the first.
        limit: The largest loss that is packaged.
        calibrated_on: By how many validation images the ranges of 8 bits were found; 0 for other precisions.
    """

    name: Literal["bf16", "fp16", "int8"]
    computed: Annotated[str, Field(max_length=_MOST_WORDS)]
    metric: str
    label: str
    cases: Annotated[str, Field(max_length=_MOST_WORDS)]
    exact: dict[str, Any]
    reduced: dict[str, Any]
    difference: dict[str, Any]
    loss: float
    limit: Annotated[float, Field(ge=0)]
    calibrated_on: Annotated[int, Field(ge=0)] = 0


class Agreement(_Entry):
    """How far another runtime's answers were from those of the bundle's own, on images that the model was made of.

    Args:
        runtime: The other one; in float32 where it rebuilds the network, else with the bundle's graph.
        images: How many.
        largest_difference: In probability (of numbers, in the number itself), over all of them.
    """

    runtime: str
    images: Annotated[int, Field(ge=1)]
    largest_difference: Annotated[float, Field(ge=0)]


class About(_Entry):
    """What the model card says beside the rest of the manifest; no part of the answer, and nothing of one patient.

    Args:
        description: Of the recipe.
        intended_use: For what it is meant, as its makers say; empty where they do not.
        out_of_scope: What it must not be used for, as they say.
        licence: Of the weights that were learned.
        contact: Whom to ask.
        source: Where the images came from, in words.
        demographics: A line for each column of metadata: ``column``, ``over``, ``known``, ``text``.
        groups: As in the summary: ``column``, ``value``, ``images``, ``patients`` and ``metrics``; of groups that are
            too small there are none.
        limits: What a reader must know before relying on it, the gravest first.
    """

    description: str = ""
    intended_use: str = ""
    out_of_scope: str = ""
    licence: str = ""
    contact: str = ""
    source: str = ""
    demographics: tuple[dict[str, Any], ...] = ()
    groups: tuple[dict[str, Any], ...] = ()
    limits: tuple[str, ...] = ()


class Golden(_Entry):
    """An example that ``verify`` replays: files of the bundle, and how far the answer may be off.

    Metadata, where the model takes some, are all blank.
    """

    input: str
    answer: tuple[str, ...]
    tolerance: Annotated[float, Field(gt=0)]


class Manifest(_Entry):
    """Everything about a bundle that is not weights."""

    format: Literal[2, 3, 4]
    medloom: str
    name: Name
    phantom: bool
    target: TargetField
    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    input: InputContract
    preprocess: PreprocessField
    model: ModelEntry
    point: dict[str, Any]
    views: Annotated[int, Field(ge=1, le=_MOST_VIEWS)]
    tables: tuple[dict[str, Any], ...] = ()
    calibration: CalibrationField = None
    quality: QualityField = None
    appearance: AppearanceField = None
    steps: dict[str, Any] | None = None
    metrics: dict[str, Any]
    measured: Measured | None = None
    instead_of_ensemble: InsteadOfEnsemble | None = None
    layout: dict[str, Any] | None = None
    validations: tuple[Validation, ...] = ()
    about: About | None = None
    training_data: TrainingData
    origin: OriginConfig | None = None
    runtime: str
    precision: Reduced | None = None
    agreement: tuple[Agreement, ...] = ()
    versions: dict[str, str]
    golden: Golden
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _fits_its_target(self) -> Self:
        try:
            self.operating_point()
        except ValueError as error:
            raise ValueError(f"point: {error}") from error
        if self.calibration is not None:
            self.calibration.check_fits(self.target)
        if self.quality is not None:
            answers = KINDS[self.target.kind]
            self.quality.check_fits(answers.expects, answers.certain_by)
        seen = len(self.channels) * (2 * self.input.context + 1)
        if self.model.in_channels != seen or len(self.channels) != len(self.input.channels):
            raise ValueError(f"model.in_channels is {self.model.in_channels} for {seen} channels")
        height, width = self.preprocess.size
        if height * width * max(seen, self.target.outputs) > _MOST_VALUES:
            raise ValueError("an image of preprocess.size with so many channels or outputs takes too much memory")
        self._check_steps()
        if (expected := golden_files(self.target)) != self.golden.answer:
            raise ValueError(f"golden.answer names {', '.join(self.golden.answer)}; expected {', '.join(expected)}")
        return self

    def _check_steps(self) -> None:
        """Refuse a bundle that asks for other steps than this version takes: its answers would be other ones."""
        if (self.steps is None) != (self.format == _WITHOUT_STEPS):
            raise ValueError(f"steps: format {self.format} " + ("needs them" if self.steps is None else "has none"))
        place = None if self.steps is None else different(self.steps, self.computed_steps())
        if place is not None:
            raise ValueError(
                f"{place}: this version of Medloom computes otherwise, so its answers would be others than those that "
                "were measured; use the version that packaged the model"
            )

    def computed_steps(self) -> dict[str, Any]:
        """Return the steps that this version of Medloom takes for such a model."""
        features, point = self.model.table_features, self.operating_point()
        return steps(self.target, self.preprocess, self.views, features, point, self.input.context)

    def operating_point(self) -> Point:
        """Return what turns the network's answer into a decision."""
        return point_from_plain(self.point, self.target)

    def computed_in(self) -> Precision:
        """Return in what the network is computed."""
        return "fp32" if self.precision is None else self.precision.name

    def precision_with(self, runtime: str) -> Precision:
        """Return in what a runtime computes it: another than the named one in 8 bits if the graph is, else float32."""
        own = self.computed_in()
        return own if runtime == self.runtime or (own == "int8" and not needs_weights(runtime)) else "fp32"

    def runtime_warning(self, runtime: str | None) -> str:
        """Return what a user must know of answers by another runtime than the bundle names; empty for its own.

        Args:
            runtime: What computes the answers; None for the bundle's own choice.
        """
        if runtime in (None, self.runtime):
            return ""
        known = next((one for one in self.agreement if one.runtime == runtime), None)
        apart = (
            "how far its answers are from those is not in the bundle"
            if known is None
            else f"on {counted(known.images, 'image')} of its own its answers were off by at most "
            f"{known.largest_difference:.1g}"
        )
        return (
            f"{self.name} was measured with {self.runtime} in {self.computed_in()}, not with {runtime}: {apart}, and "
            "its figures are not of these answers"
        )

    def internal_metrics(self) -> dict[str, Any]:
        """Return the estimates on held-out patients of its own source; on validation where test was held back."""
        found: dict[str, Any] = self.metrics.get("test") or self.metrics.get("validation") or {}
        return found

    @cached_property
    def algorithm(self) -> Algorithm:
        """The model as forms of an answer name it: the same for every bundle that answers alike."""
        weights = {name: digest for name, digest in self.files.items() if name.endswith(_WEIGHTS)}
        calibration = _plain_calibration(self.calibration)
        said = json.dumps([self.name, weights, self.point, self.views, calibration], sort_keys=True)
        identity = hashlib.sha256(said.encode()).hexdigest()
        return Algorithm(self.name, identity, medloom.__version__, self.phantom)

    def encodings(self) -> tuple[TableEncoding, ...]:
        """Return how metadata are encoded, one for each member of the model; empty if it takes none.

        Raises:
            BundleError: If one of them is damaged.
        """
        return tuple(TableEncoding.from_plain(plain) for plain in self.tables)

    def network(self) -> NetworkSpec:
        """Return the network's description for the runtimes that build it again."""
        return NetworkSpec(
            size=self.preprocess.input_size, target=self.target, **self.model.model_dump(exclude={"weights"})
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read ``bundle.json``.

        Raises:
            BundleError: If it is not JSON, of another format, or a value is wrong.
        """
        try:
            plain = json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_once)
            _refuse_control(_leaves(plain))
        except (ValueError, RecursionError) as error:
            raise BundleError(f"bundle.json is not sound JSON: {one_line(str(error))}") from error
        found = plain.get("format") if isinstance(plain, dict) else None
        if found not in _READ:
            said = one_line(repr(found), 40)
            raise BundleError(
                f"bundle.json has format {said}; this version of Medloom reads {_READ[0]} to {_READ[-1]}: "
                "package the model again"
            )
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise BundleError("bundle.json is wrong: " + _lines(error.errors())) from error


def golden_files(target: Target) -> tuple[str, ...]:
    """Return which files hold the golden answer of such a model."""
    return tuple(GOLDEN_FOLDER + name for name in KINDS[target.kind].golden)


def _lines(errors: Sequence[Any]) -> str:
    """The first errors on one line, and how many more there are."""
    shown = "; ".join(one_line(_line(error)) for error in errors[:_MOST_SHOWN])
    return shown if len(errors) <= _MOST_SHOWN else f"{shown}; and {len(errors) - _MOST_SHOWN} more"


def _line(error: Any) -> str:  # noqa: ANN401 - pydantic's own dictionary
    """An error with its place; that of the whole manifest names its place itself."""
    place = ".".join(map(str, error["loc"]))
    message: str = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that comes twice: readers disagree about which of the values counts."""
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise ValueError("a key comes twice")
    return plain


def _leaves(plain: object) -> Iterable[object]:
    """Every key and value that holds no others."""
    if isinstance(plain, dict):
        yield from plain
        plain = list(plain.values())
    if isinstance(plain, list):
        for value in plain:
            yield from _leaves(value)
    else:
        yield plain


def _refuse_control(leaves: Iterable[object]) -> None:
    """Refuse characters that would be orders to the terminal on which a text of the manifest is shown."""
    for leaf in leaves:
        if isinstance(leaf, str) and any(unicodedata.category(one) == "Cc" and one not in _SPACE for one in leaf):
            raise ValueError("a text holds control characters")
