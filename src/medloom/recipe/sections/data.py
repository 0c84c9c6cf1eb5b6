"""Where the images and labels come from, and who trains, validates and tests."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from medloom.recipe.sections.base import Bool, Config, Probability, Seed, low_first

__all__ = ["MOST_CONTEXT", "DataConfig", "MetadataConfig", "OriginConfig", "PhantomConfig", "SplitConfig"]

_FEWEST_SLICES = 4

MOST_CONTEXT = 8
"""Largest `data.context`."""


class PhantomConfig(Config):
    """Seeded synthetic images in the layout of the data set."""

    kind: Literal["brain-mri", "chest-xray", "melanoma"] = "brain-mri"
    """Whose files and folders: LGG brain MRI, chest X-rays in class folders, or skin photographs with a CSV."""
    patients: Annotated[int, Field(ge=3, le=10_000)] = 16
    """Number of patients."""
    size: Annotated[int, Field(ge=32, le=1024)] = 256
    """Height and width of a slice in pixels."""
    slices: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(le=200)]] = (20, 88)
    """Fewest and most slices of a patient; images of a patient for the other kinds."""
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """`chest-xray` and `melanoma` only: share of positive images; empty: that of the data set."""
    seed: Seed = 0
    """Seed of the generator."""

    @field_validator("slices")
    @classmethod
    def _ordered(cls, value: tuple[int, int], info: ValidationInfo) -> tuple[int, int]:
        if info.data.get("kind") == "brain-mri" and value[0] < _FEWEST_SLICES:
            raise ValueError(f"expected at least {_FEWEST_SLICES} slices of a head")
        return low_first(value)


class MetadataConfig(Config):
    """Columns of the label file that go into the network beside the image, or alone."""

    numeric: tuple[str, ...] = ()
    """Columns of numbers; blanks become the training patients' mean and set an indicator."""
    categorical: tuple[str, ...] = ()
    """Columns of words; blanks and words that training never saw are categories of their own."""


def _spoken(value: object) -> object:
    """Take a text as one line; characters that would be orders to a terminal are refused."""
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    if not line.isprintable():
        raise ValueError("expected text without control characters")
    return line


Said = Annotated[Annotated[str, Field(min_length=1, max_length=2000)] | None, BeforeValidator(_spoken)]
"""A text that somebody wrote, or nothing."""

_TITLES = {
    "labelled_by": "Drawn or labelled by",
    "readers": "Readers of each image",
    "checked_by": "Checked by",
    "when": "When",
    "labelled_from": "Drawn or read from",
    "software": "Software",
    "protocol": "Protocol",
    "reference_standard": "Reference standard",
    "agreement": "Agreement",
}
"""How reports and cards call the keys of `data.origin`."""


class OriginConfig(Config):
    """Where the labels or masks come from, for whoever judges the model: it goes into the data report, the bundle and
    the model card, and changes no result. Name roles, not persons."""

    labelled_by: Said = None
    """Who drew the masks or gave the labels, and with what experience: `two radiologists, 5 and 12 years`."""
    readers: Annotated[int, Field(ge=1)] | None = None
    """How many readers looked at each image, independently of each other."""
    checked_by: Said = None
    """Who checked or corrected what was drawn, and how disagreement was settled."""
    when: Said = None
    """When it was done: `2019 to 2021`."""
    labelled_from: Said = None
    """What it was drawn or read from, where that is more, or something else, than the images here: `radiology reports,
    by a language model`, `all sequences of the examination`."""
    software: Said = None
    """With which program, and which version of it."""
    protocol: Said = None
    """By which written protocol: its title, or an address."""
    reference_standard: Said = None
    """What counts as the truth: `histopathology of the resection`, `consensus of the readers`."""
    agreement: Said = None
    """How far readers agree, between them and with themselves: `Dice 0.84 ± 0.02 between two readers`."""

    def plain(self) -> dict[str, str | int]:
        """Return what is stated, as plain JSON types; empty where nothing is."""
        return self.model_dump(exclude_none=True)

    def rows(self) -> list[tuple[str, str]]:
        """Return what is stated for reading: a title and its text each."""
        return [(title, str(self.plain()[key])) for key, title in _TITLES.items() if key in self.plain()]


class DataConfig(Config):
    """Where the images are and how they are laid out."""

    path: str | None = None
    """Folder or zip with the images, or `s3://bucket/folder/`; `--data` overrides it. Empty: Kaggle when credentials
    exist, else phantoms."""
    kaggle: str | None = None
    """Kaggle data set as `owner/name`."""
    layout: str
    """How the files are arranged."""
    image: str = "images/{sample}.png"
    """Where samples are found by patterns (`image-mask`, `array`): pattern of an image's path. `{patient}`, `{sample}`
    and `{channel}` match one part each; `{patient}` alone where each patient has one image. `{split}` matches the name
    of a published part, such as `Train` or `test`, and `{folder}` anything that says nothing. A number says how
    many characters there are: `Image_{patient:2}{sample}.jpg`."""
    channels: Annotated[tuple[str, ...], Field(min_length=1)] = ("grey",)
    """Names of the image's channels in order. With `{channel}` in `image`, one file for each of these names."""
    missing_channel: Annotated[str, Field(pattern=r"^(refuse|zeros|copy:.+)$")] = "refuse"
    """What a missing channel file gets: `refuse`, `zeros`, or `copy:NAME` to copy another channel. Only where `image`
    has `{channel}`."""
    page: Annotated[int, Field(ge=0)] | Literal["all"] | None = None
    """Page to read of a file with several: slice of a NIfTI volume, frame of a DICOM, page of a TIFF. `all`: each of
    them is a sample of the file's patient, with the file's label or the same page of the mask. Empty: a file with
    several pages is an error."""
    plane: Literal["auto", "axial", "coronal", "sagittal", "stored"] = "auto"
    """How images that say how they are oriented (NIfTI, DICOM) are turned before a network sees them, in training and
    in every answer: as they are looked at (axial: columns to the left of the patient, rows to the back; coronal: left
    and feet; sagittal: back and feet). With `page: all` volumes are cut into slices of this plane, however they are
    stored; `auto` takes the plane that most of them are stored in. `stored`: images as they are in their files."""
    context: Annotated[int, Field(ge=0, le=MOST_CONTEXT)] = 0
    """2.5-D: how many neighbouring slices on either side a network sees with each, as further channels (the lowest
    first). Their order is that of their places in the patient (DICOM, NIfTI), of the pages of a file, or of the last
    number that differs in the names of a patient's files; beyond an end the end slice is repeated. Answers then need
    the slices beside an image, too: a whole volume or a set of slices."""
    align: Literal["refuse", "resample"] = "refuse"
    """Masks and channels are brought to the grid of their image by what NIfTI and DICOM files say about directions and
    positions, without changing a value. On another grid (a corner off by more than a tenth of a voxel): `refuse` them,
    or `resample` them to the image, linearly, masks by nearest neighbour."""
    series: Annotated[str, Field(min_length=1)] | None = None
    """Which DICOM series is taken of a folder that holds several: its index in the order of their UIDs, counted from 0
    in each folder, or its UID. Empty: all files."""
    policy: Literal["fail", "quarantine"] = "fail"
    """`fail` stops at bad files after naming all of them; `quarantine` sets them aside and goes on."""
    quarantine_limit: Probability = 0.01
    """Largest share of samples that `quarantine` may set aside."""
    phantom: PhantomConfig = PhantomConfig()
    """The images that are made when there are none."""
    origin: OriginConfig = OriginConfig()
    """Where the labels or masks come from: who gave them, from what, how far they agree."""

    @property
    def input_channels(self) -> int:
        """How many channels a network sees: those of a slice, and of the slices beside it."""
        return len(self.channels) * (2 * self.context + 1)

    @model_validator(mode="after")
    def _has_neighbours(self) -> Self:
        if self.context and isinstance(self.page, int):
            raise ValueError(
                f"context: page={self.page} takes one slice of each file, which has none beside it; take all"
            )
        return self

    @field_validator("missing_channel")
    @classmethod
    def _known_channel(cls, value: str, info: ValidationInfo) -> str:
        channels = info.data.get("channels")  # absent when channels itself is wrong
        source = value.partition(":")[2]
        if source and channels is not None and source not in channels:
            raise ValueError(f"no channel {source!r} to copy; channels are {', '.join(channels)}")
        return value


class SplitConfig(Config):
    """Which patients train, validate and test."""

    train: Probability = 0.7
    """Share of samples for training."""
    validation: Probability = 0.15
    """Share of samples for validation: best epoch, operating point. With `folds` a share of all samples too, drawn by
    patient from those that the fold does not test; the rest train."""
    test: Probability = 0.15
    """Share of samples that only the final metrics see."""
    folds: Annotated[int, Field(ge=2, le=50)] | None = None
    """Number of folds for cross-validation, in place of `train` and `test`, which are then left out. A fold is the test
    set once."""
    hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """With `folds`: share of samples, drawn by patient, that no fold sees. The ensemble that is packaged is measured on
    them; without them it is not measured as such. A published test part is held out by itself."""
    fold: Annotated[int, Field(ge=0)] | None = None
    """Which fold is the test set. Empty: every fold, and their ensemble."""
    published: Literal["respect", "repair", "ignore"] = "respect"
    """What a split that the files come in (`train`, `val`, `test` folders of `folder-classes`, `{split}` in
    `data.image`, `data.labels.files`, or `lists`) is worth. `respect` it, `repair` its validation part by drawing
    patients from train and none from test, or `ignore` it. With `folds` the test part is held out, and they divide the
    rest."""
    lists: dict[Literal["train", "validation", "test"], str] = Field(default={})
    """A split that is published in text files: by part, the path of its list inside the data, or its end. A line names
    an image, with or without folder and extension, or a patient. Lists of train and test alone, as of NIH ChestX-ray14,
    let validation be drawn from train."""
    file: str | None = None
    """A given split: CSV with the columns `patient` and `split` (train, validation, test). The other keys of this
    section are then left out."""
    by: Literal["patient", "sample"] = "patient"
    """`sample` only for data without a patient: the report warns that patients may be shared."""
    keep: Bool = True
    """A run that is prepared again leaves the patients that it knows in their parts, and divides the new ones alone."""
    stratify: Bool = True
    """Keep the share of samples with foreground, or of each class, alike in every part."""
    seed: Seed = 0
    """Seed of the split."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        total = self.train + self.validation + self.test
        if self.folds is None and abs(total - 1.0) > 1e-6:
            raise ValueError(f"train, validation and test must add up to 1; they make {total:.6g}")
        if min(self.train, self.validation, self.test) <= 0.0:
            raise ValueError("train, validation and test must each be more than 0")
        if self.folds is not None and self.validation >= 1 - 1 / self.folds:
            left = 1 - 1 / self.folds
            raise ValueError(
                f"validation is {self.validation:g} and a fold of {self.folds} leaves {left:.2f} for training"
            )
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold must be below folds={self.folds}, counted from 0")
        if self.folds is None and self.fold is not None:
            raise ValueError(
                "fold says which of the folds is the test set, and folds is empty; set folds or leave it out"
            )
        if self.folds is not None and self.file is not None:
            raise ValueError("file is one given split and folds are several of their own; leave one of them empty")
        return self
