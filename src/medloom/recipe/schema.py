"""What a recipe may say: every key, its type, its default and what it means.

One YAML file says everything about a run. It is typed, frozen, and refuses keys that it does not know.
Booleans accept true/false/1/0/yes/no and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from medloom.recipe.library import nearest

__all__ = [
    "SEGMENTATION_NETWORKS",
    "AugmentConfig",
    "Bool",
    "CropConfig",
    "DataConfig",
    "EarlyStoppingConfig",
    "EvaluateConfig",
    "FlipConfig",
    "LabelsConfig",
    "LossConfig",
    "MetadataConfig",
    "ModelConfig",
    "NoiseConfig",
    "NormaliseConfig",
    "OptimizerConfig",
    "PackageConfig",
    "PhantomConfig",
    "PreprocessConfig",
    "Recipe",
    "RotateConfig",
    "ScaleConfig",
    "ScheduleConfig",
    "ShiftConfig",
    "SplitConfig",
    "Switch",
    "TrainConfig",
]

_Pair = TypeVar("_Pair", tuple[int, int], tuple[float, float])

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _boolean(value: object) -> bool:
    """Accept true/false/1/0/yes/no in any case, and nothing else."""
    word = str(value).strip().lower()
    if isinstance(value, (bool, int, str)) and word in _WORDS:
        return _WORDS[word]
    raise ValueError("expected true, false, yes, no, 1 or 0")


def _switch(value: object) -> object:
    """Accept ``auto`` beside what a boolean accepts."""
    if value == "auto":
        return value
    try:
        return _boolean(value)
    except ValueError as error:
        raise ValueError("expected auto, true, false, yes, no, 1 or 0") from error


def _low_first(value: _Pair) -> _Pair:
    if value[0] > value[1]:
        raise ValueError("the first number must not be above the second")
    return value


def _word(value: object) -> object:
    """``precision: 32`` is a number to YAML."""
    return str(value) if isinstance(value, int) else value


SEGMENTATION_NETWORKS = ("unet", "attention-unet", "unetr", "swin-unetr", "segresnet", "dynunet", "flexible-unet")
"""Networks for segmentation; the names of those for classification are timm's."""

Bool = Annotated[bool, BeforeValidator(_boolean)]
Switch = Annotated[bool | Literal["auto"], BeforeValidator(_switch)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class _Config(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_yaml_meant_it(cls, value: object, info: ValidationInfo) -> object:
        """A group without keys means its defaults; ``yes`` is a boolean in YAML and never a number or a word."""
        expected = cls.model_fields[info.field_name or ""].annotation
        if value is None and isinstance(expected, type) and issubclass(expected, _Config):
            return {}
        if isinstance(value, bool) and bool not in (expected, *get_args(expected)):
            raise ValueError("YAML reads true, false, yes and no as booleans; this key takes none, so quote a word")
        return value


_FEWEST_SLICES = 4


class PhantomConfig(_Config):
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
    """Share of positive images; empty: that of the data set. Brain MRI has its own."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the generator."""

    @field_validator("slices")
    @classmethod
    def _ordered(cls, value: tuple[int, int], info: ValidationInfo) -> tuple[int, int]:
        if info.data.get("kind") == "brain-mri" and value[0] < _FEWEST_SLICES:
            raise ValueError(f"expected at least {_FEWEST_SLICES} slices of a head")
        return _low_first(value)


class MetadataConfig(_Config):
    """Columns of the label file that go into the network beside the image, or alone."""

    numeric: tuple[str, ...] = ()
    """Columns of numbers; blanks become the training patients' mean and set an indicator."""
    categorical: tuple[str, ...] = ()
    """Columns of words; blanks and words that training never saw are categories of their own."""


class LabelsConfig(_Config):
    """Labels of whole images, for classification and regression."""

    kind: Literal["auto", "binary", "multi-class", "multi-label", "real"] = "auto"
    """What a label is; `auto` finds out while preparing and writes it into the run's recipe."""
    classes: tuple[str, ...] = ()
    """Classes in order, as the label column or the folders name them; of two, the second is the positive one.
    Empty: as found, sorted."""
    file: str | None = None
    """`csv` only: path of the label file inside the data; empty: the only CSV there."""
    image: str = "image"
    """`csv` only: column with the image's name, with or without folder and extension."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("level",)
    """`csv` only: one column with a class or a number, or several with 0 and 1 or with numbers. `array`: names of
    the vector's entries."""
    patient: str | None = None
    """`csv` only: column with the patient."""
    patient_pattern: str | None = None
    """Regular expression that finds the patient in the image's file name, as its first group: `person(\\d+)_`."""
    metadata: MetadataConfig = MetadataConfig()
    groups: tuple[str, ...] = ()
    """Columns by which the figures are also reported, such as sex or site."""

    @field_validator("patient_pattern")
    @classmethod
    def _has_a_group(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if groups != 1:
                raise ValueError("expected a regular expression with one group, around the patient")
        return value


class DataConfig(_Config):
    """Where the images are and how they are laid out."""

    path: str | None = None
    """Folder or zip with the images; `--data` overrides it. Empty: Kaggle when credentials exist, else phantoms."""
    kaggle: str | None = None
    """Kaggle data set as `owner/name`."""
    layout: Literal["lgg-mri", "image-mask", "folder-classes", "csv", "array"] = "image-mask"
    """How the files are arranged: masks beside slices, by patterns, a folder for each class, a CSV with labels, or
    an array for each image."""
    image: str = "images/{sample}.png"
    """`image-mask` and `array`: pattern of an image's path. `{patient}`, `{sample}` and `{channel}` match one part
    each."""
    mask: str = "masks/{sample}.png"
    """`image-mask` and `array`: pattern of the mask's or array's path, with the names that `image` uses. An array is
    a map of classes for segmentation, a vector for classification."""
    labels: LabelsConfig = LabelsConfig()
    channels: Annotated[tuple[str, ...], Field(min_length=1)] = ("grey",)
    """Names of the image's channels in order. With `{channel}` in `image`, one file for each of these names."""
    missing_channel: Annotated[str, Field(pattern=r"^(refuse|zeros|copy:.+)$")] = "refuse"
    """What a missing channel file gets: `refuse`, `zeros`, or `copy:NAME` to copy another channel."""
    mask_values: Annotated[dict[str, Annotated[int, Field(ge=0, le=65535)]], Field(min_length=2)] = {
        "background": 0,
        "lesion": 255,
    }
    """Pixel value of each class in the mask; the first class is the background."""
    page: Annotated[int, Field(ge=0)] | Literal["all"] | None = None
    """Page to read of a file with several: slice of a NIfTI volume, frame of a DICOM, page of a TIFF. `all`: each of
    them is a sample of the file's patient, with the file's label or the same page of the mask. Empty: a file with
    several pages is an error."""
    policy: Literal["fail", "quarantine"] = "fail"
    """`fail` stops at bad files after naming all of them; `quarantine` sets them aside and goes on."""
    quarantine_limit: Probability = 0.01
    """Largest share of samples that `quarantine` may set aside."""
    phantom: PhantomConfig = PhantomConfig()
    """The images that are made when there are none."""

    @field_validator("mask_values")
    @classmethod
    def _distinct(cls, value: dict[str, int]) -> dict[str, int]:
        if len(set(value.values())) != len(value):
            raise ValueError("two classes have the same pixel value")
        return value

    @field_validator("missing_channel")
    @classmethod
    def _known_channel(cls, value: str, info: ValidationInfo) -> str:
        channels = info.data.get("channels")  # absent when channels itself is wrong
        source = value.partition(":")[2]
        if source and channels is not None and source not in channels:
            raise ValueError(f"no channel {source!r} to copy; channels are {', '.join(channels)}")
        return value

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, the background first."""
        return tuple(self.mask_values)


class SplitConfig(_Config):
    """Which patients train, validate and test."""

    train: Probability = 0.7
    """Share of samples for training."""
    validation: Probability = 0.15
    """Share of samples for validation: best epoch, operating point."""
    test: Probability = 0.15
    """Share of samples that only the final figures see."""
    folds: Annotated[int, Field(ge=2, le=50)] | None = None
    """Number of folds for cross-validation; replaces the shares. A fold is the test set once."""
    fold: Annotated[int, Field(ge=0)] | None = None
    """Which fold is the test set; the next one validates. Empty: every fold in turn, and their ensemble."""
    published: Literal["respect", "repair", "ignore"] = "respect"
    """What a split that the files come in (`train`, `val`, `test` folders) is worth: `respect` it, `repair` its
    validation part by drawing patients from train and none from test, or `ignore` it."""
    file: str | None = None
    """A given split: CSV with the columns `patient` and `split` (train, validation, test)."""
    by: Literal["patient", "sample"] = "patient"
    """`sample` only for data without a patient: the report warns that patients may be shared."""
    stratify: Bool = True
    """Keep the share of samples with a lesion alike in every part."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the split."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if abs(self.train + self.validation + self.test - 1.0) > 1e-6:
            raise ValueError("train, validation and test must add up to 1")
        if min(self.train, self.validation, self.test) <= 0.0:
            raise ValueError("train, validation and test must each be more than 0")
        if self.folds is not None and self.folds < 3:
            raise ValueError("folds must be at least 3: one tests, one validates, the rest train")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold must be below folds={self.folds}, counted from 0")
        return self


class NormaliseConfig(_Config):
    """From stored pixels to what the network sees, image by image."""

    method: Literal["zscore", "percentile", "minmax", "imagenet", "none"] = "zscore"
    """`zscore` mean 0 and deviation 1; `percentile` the two percentiles to 0 and 1; `minmax`; `imagenet` the fixed
    mean and deviation that pretrained networks expect, of the dtype's full range; `none`."""
    nonzero: Bool = True
    """Take the statistics over pixels above zero only, where the head is."""
    per_channel: Bool = True
    """Each channel by itself; otherwise all channels together."""
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] = (
        1.0,
        99.0,
    )
    """The two percentiles of `percentile`."""
    min_spread: Annotated[float, Field(ge=0)] = 0.0
    """Smallest deviation or range, in grey levels of the file, to divide by: keeps the noise of a nearly blank image
    from being blown up into structure."""

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _low_first(value)


class PreprocessConfig(_Config):
    """Deterministic steps, the same in training, evaluation and serving."""

    size: tuple[Annotated[int, Field(ge=16, le=4096)], Annotated[int, Field(ge=16, le=4096)]] = (256, 256)
    """Height and width in pixels that the network sees."""
    fit: Literal["stretch", "pad"] = "stretch"
    """`stretch` changes the aspect ratio, `pad` keeps it and fills with zeros."""
    window: tuple[float, Annotated[float, Field(ge=1)]] | Literal["file"] | None = None
    """Cut values to a window, as radiologists do: its centre and width (HU for CT), or `file` for what each DICOM
    suggests. Empty: the whole range."""
    colour: Literal["as-is", "grey", "rgb"] = "as-is"
    """Bring every image to one grey channel, or to three: grey is repeated, colours are weighed as in luma."""
    crop: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] | None = None
    """Classification only: height and width of the part that the network sees: the centre, in training anywhere."""
    normalise: NormaliseConfig = NormaliseConfig()
    """Intensity normalisation."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop is not None and (self.crop[0] > self.size[0] or self.crop[1] > self.size[1]):
            raise ValueError("crop must not be larger than size")
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the network sees."""
        return self.crop or self.size


class FlipConfig(_Config):
    """Mirror left and right."""

    p: Probability = 0.5
    """Probability for each image."""


class RotateConfig(_Config):
    """Rotate about the centre."""

    p: Probability = 0.5
    """Probability for each image."""
    degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest angle either way."""


class CropConfig(_Config):
    """Cut a random window and scale it back to full size."""

    p: Probability = 0.5
    """Probability for each image."""
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Smallest side of the window as a share of the image's side."""


class ScaleConfig(_Config):
    """Multiply normalised intensities of each channel by 1 ± `amount`."""

    p: Probability = 0.3
    """Probability for each image."""
    amount: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Largest relative change."""


class ShiftConfig(_Config):
    """Add ± `amount` to normalised intensities of each channel."""

    p: Probability = 0.3
    """Probability for each image."""
    amount: Annotated[float, Field(ge=0)] = 0.2
    """Largest shift, in units of the normalised image."""


class NoiseConfig(_Config):
    """Add Gaussian noise to normalised intensities."""

    p: Probability = 0.15
    """Probability for each image."""
    std: Annotated[float, Field(ge=0)] = 0.1
    """Largest standard deviation; each image draws its own below it."""


class AugmentConfig(_Config):
    """Random changes to the training batch, made on the device."""

    flip: FlipConfig = FlipConfig()
    rotate: RotateConfig = RotateConfig()
    crop: CropConfig = CropConfig()
    scale: ScaleConfig = ScaleConfig()
    shift: ShiftConfig = ShiftConfig()
    noise: NoiseConfig = NoiseConfig()


class ModelConfig(_Config):
    """The network, by name, with its plain arguments."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "unet"
    """The network. For segmentation `unet`, `attention-unet`, `unetr`, `swin-unetr`, `segresnet`, `dynunet` or
    `flexible-unet`; for classification a backbone, such as `resnet18`, `efficientnet_b0`, `densenet121`, `alexnet` or
    any other of timm, or `perceptron`, a cheap baseline."""
    args: dict[str, JsonValue] = {}
    """Arguments of the network that replace its defaults, such as `channels: [16, 32, 64, 128]`."""
    weights: str = "none"
    """Classification only: what the backbone begins with: `none`, `imagenet` from the hub, or a path of a
    `.safetensors` file."""
    tune: Literal["all", "head", "blocks"] = "all"
    """Classification only: what is trained: everything, the new head only, or the last `blocks` blocks and the head."""
    blocks: Annotated[int, Field(ge=1)] = 1
    """`tune: blocks` only: how many blocks from the end."""
    backbone_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Classification only: learning rate of the backbone as a share of the head's."""
    unfreeze_every: Annotated[int, Field(ge=1)] | None = None
    """Classification only: gradual unfreezing: begin with the head and add a block after so many epochs."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Classification only: dropout before the head."""
    metadata: Literal["none", "fused", "only"] = "none"
    """Classification only: `fused` joins `data.labels.metadata` to the image before the head; `only` leaves the image
    out."""
    table_width: Annotated[int, Field(ge=1)] = 32
    """Width of the metadata branch, and of the perceptron's hidden layer."""


class LossConfig(_Config):
    """The training loss; always computed in float32."""

    name: Literal["dice", "dice-ce", "dice-focal", "tversky", "cross-entropy", "focal", "mse"] = "dice-ce"
    """The loss. For segmentation the first four; for classification `cross-entropy` (binary for one class or several
    labels) or `focal`; for numbers `mse`."""
    args: dict[str, JsonValue] = {}
    """Arguments of the loss that replace its defaults, such as `batch: true`."""


class OptimizerConfig(_Config):
    """The optimiser."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """The method; `sgd` is with Nesterov momentum."""
    lr: Positive = 1e-3
    """Largest learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Decoupled for `adamw`, an L2 penalty for the others."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """`sgd` only: the momentum."""


class ScheduleConfig(_Config):
    """How the learning rate changes."""

    name: Literal["cosine", "plateau", "none"] = "cosine"
    """`cosine` falls to zero over the run, step by step; `plateau` lowers it when the monitored metric stalls."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """`cosine` only: share of the steps over which the rate rises from zero."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """`plateau` only: what the rate is multiplied by."""
    patience: Annotated[int, Field(ge=0)] = 5
    """`plateau` only: epochs without improvement before it."""


class EarlyStoppingConfig(_Config):
    """Stop when the monitored metric has not improved for a while."""

    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without improvement; empty: never stop early."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest change that counts as improvement."""


class TrainConfig(_Config):
    """The loop."""

    epochs: Annotated[int, Field(ge=1)] = 50
    """Passes over the training images. A finished run can be given more."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Images in a step, shared by the devices."""
    validation_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Images in a batch of validation; empty: `batch_size`."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of the gradient; empty: no clipping."""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    averaging: Literal["none", "swa", "ema"] = "none"
    """Weights that are validated and saved: the last, the mean over the final epochs (SWA), or an
    exponential moving average (EMA)."""
    swa_start: Probability = 0.75
    """`swa` only: share of the epochs after which averaging begins."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """`ema` only: how much of the average a step keeps."""
    lesion_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Oversampling: share of the drawn samples that hold a lesion, or are not of the first class; empty: as the data
    are."""
    precision: Annotated[Literal["auto", "32", "bf16", "fp16"], BeforeValidator(_word)] = "auto"
    """`auto` takes bf16 where the hardware multiplies it natively, else 32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Number of GPUs, or of processes on the CPU."""
    compile: Switch = "auto"
    """Compile the network with `torch.compile`. `auto` does on a CPU where there is a C++ compiler and the run is long
    enough to win back the minute that compiling takes."""
    monitor: Literal["dice_balanced", "dice_lesion", "dice_all", "auc", "average_precision", "loss"] = "dice_balanced"
    """Validation metric that picks the best epoch. `dice_balanced` is the mean of the Dice over samples with a
    lesion and the share of empty samples left empty; `dice_all` counts an empty sample left empty as 1. `auc` and
    `average_precision` are for classification, means over the classes where there are several; `loss` is for all."""
    checkpoint_minutes: Positive | None = 10.0
    """Also write a checkpoint inside an epoch after this many minutes; empty: only between epochs."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order and the augmentation."""


class EvaluateConfig(_Config):
    """How the figures are taken and the operating point is chosen."""

    threshold: Probability | Literal["auto"] = "auto"
    """Probability from which a pixel is lesion; `auto` chooses it on the validation set."""
    min_lesion_px: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Smallest lesion in pixels of the network's image; smaller ones are removed. `auto` as above."""
    max_false_alarms: Probability = 0.05
    """`auto` looks for the best balance of Dice and false alarms with at most this share of false alarms on empty
    validation samples."""
    flips: Bool = False
    """Average the prediction over the image and its mirror image, in evaluation and in the bundle."""
    rounds: Annotated[int, Field(ge=1, le=64)] = 1
    """Classification only: average over so many views (the centre, its mirror image, and crops around it), in
    evaluation and in the bundle."""
    rule: Literal["youden", "sensitivity", "cost"] = "youden"
    """Classification only: how `threshold: auto` is chosen on validation: most sensitivity plus specificity, a fixed
    sensitivity, or the least cost."""
    min_sensitivity: Annotated[float, Field(gt=0, le=1)] = 0.95
    """`rule: sensitivity` only: the sensitivity to reach."""
    cost_ratio: Positive = 1.0
    """`rule: cost` only: what a missed positive costs, in false alarms."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Images in a batch of the evaluation."""
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Resamples of the patients for the 95 % intervals."""


class PackageConfig(_Config):
    """What goes into the bundle."""

    runtime: Literal["onnx", "openvino", "torch"] = "onnx"
    """Runtime that serves by default."""


class Recipe(_Config):
    """Everything about a run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """Name of the recipe, in lower-case letters, digits and hyphens."""
    description: str = ""
    """One sentence for `medloom recipes`."""
    task: Literal["segmentation", "classification"] = "segmentation"
    """What the network answers: a class for each pixel, or classes or numbers for the image."""
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    package: PackageConfig = PackageConfig()

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        for key, value, valid in _TASK_CHOICES[self.task](self):
            if value not in valid:
                allowed = f"one of {', '.join(valid)} for task {self.task}" if len(valid) > 1 else f"{valid[0]}"
                raise ValueError(f"{key}: expected {allowed}; got {value!r}{nearest(value, valid)}")
        if self.task == "segmentation" and self.preprocess.crop is not None:
            raise ValueError("preprocess.crop: expected empty for task segmentation")
        if self.model.unfreeze_every is not None and self.train.devices > 1:
            # Processes agree on what they share when they start, so a block thawed later would drift apart.
            raise ValueError("model.unfreeze_every: expected empty with several train.devices")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in order: the mask's, the background first, or the labels'."""
        return self.data.classes if self.task == "segmentation" else self.data.labels.classes

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types."""
        return self.model_dump(mode="json")


_Choices = list[tuple[str, str, tuple[str, ...]]]


def _for_segmentation(recipe: Recipe) -> _Choices:
    return [
        ("model.name", recipe.model.name, SEGMENTATION_NETWORKS),
        ("loss.name", recipe.loss.name, ("dice", "dice-ce", "dice-focal", "tversky")),
        ("train.monitor", recipe.train.monitor, ("dice_balanced", "dice_lesion", "dice_all", "loss")),
        ("data.layout", recipe.data.layout, ("lgg-mri", "image-mask", "array")),
    ]


_IMAGE_LOSSES = {"real": ("mse",), "auto": ("cross-entropy", "focal", "mse")}


def _for_classification(recipe: Recipe) -> _Choices:
    real = recipe.data.labels.kind == "real"
    return [
        ("loss.name", recipe.loss.name, _IMAGE_LOSSES.get(recipe.data.labels.kind, ("cross-entropy", "focal"))),
        ("train.monitor", recipe.train.monitor, ("loss",) if real else ("auc", "average_precision", "loss")),
        ("data.layout", recipe.data.layout, ("folder-classes", "csv", "array")),
    ]


_TASK_CHOICES: dict[str, Callable[[Recipe], _Choices]] = {
    "segmentation": _for_segmentation,
    "classification": _for_classification,
}
