"""Recipes whose answer is a row of numbers for the whole image: classes, labels, or numbers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from medloom.recipe.kinds.label_targets import (
    AutoTarget,
    BinaryTarget,
    LabelsTarget,
    MultiClassTarget,
    MultiLabelTarget,
    RegressionTarget,
)
from medloom.recipe.recipe import Recipe
from medloom.recipe.sections.augment import ClassesAugmentConfig
from medloom.recipe.sections.base import Config, Named, Positive, Probability, Side, one_group
from medloom.recipe.sections.data import DataConfig, MetadataConfig
from medloom.recipe.sections.evaluation import ClassesDistilConfig, EvaluateConfig
from medloom.recipe.sections.images import PreprocessConfig
from medloom.recipe.sections.training import LossConfig, TrainConfig, TunedModelConfig, unfrozen_in_one_process
from medloom.registry import LAYOUTS, LOSSES, METRICS

__all__ = [
    "AutoRecipe",
    "AutoTarget",
    "BinaryRecipe",
    "BinaryTarget",
    "CalibratedEvaluate",
    "ClassesEvaluate",
    "ColumnsData",
    "LabelFileConfig",
    "LabelsData",
    "LabelsModel",
    "LabelsPreprocess",
    "LabelsRecipe",
    "LabelsTarget",
    "MultiClassRecipe",
    "MultiClassTarget",
    "MultiLabelRecipe",
    "MultiLabelTarget",
    "RegressionRecipe",
    "RegressionTarget",
]


class LabelFileConfig(Config):
    """What goes with the labels: the label file's columns, patients, metadata and groups."""

    file: str | None = None
    """`csv` only: path of the label file inside the data; empty: the only CSV there."""
    files: dict[Literal["train", "validation", "test"], str] = Field(default={})
    """`csv` only, in place of `file`: a label file for each published part, by part its path or the end of it:
    `{train: train.csv, test: valid.csv}`. They have the same columns, and an image is of the part in whose file its row
    stands; see `split.published`."""
    image: str = "image"
    """`csv` only: column with the image's name, with or without folder and extension."""
    patient: str | None = None
    """`csv` only: column with the patient."""
    patient_pattern: Annotated[str, AfterValidator(one_group)] | None = None
    """Regular expression that finds the patient in the image's file name, as its first group: `person(\\d+)_`; with a
    slash, in its path: `(patient\\d+)/`. For `folder-classes`, and for `csv` without `patient`."""
    repeated: Literal["refuse", "agree", "any"] = "refuse"
    """`csv` only: what several rows about one image mean, such as a row for each finding or each reader. `refuse`: they
    are mistakes. `agree`: rows with the same label, patient and metadata are one image, and rows that differ are
    mistakes. `any`: of several labels, one is there where a row says so, unknown where no row says so and one does not
    know, and else not there; of classes and measurements as `agree`."""
    metadata: MetadataConfig = MetadataConfig()
    groups: tuple[str, ...] = ()
    """Columns by which the metrics are also reported, such as sex or site."""

    @model_validator(mode="after")
    def _one_or_several_files(self) -> Self:
        if self.file is not None and self.files:
            raise ValueError("files: file names one label file and files one for each part; leave one of them out")
        return self


class LabelsData(DataConfig):
    """Where the images and labels are and how they are laid out."""

    layout: Annotated[str, Named(LAYOUTS, "binary")] = "csv"
    """How the files are arranged: `folder-classes` a folder for each class, `csv` a table with a row for each image,
    or `array`, an `.npy` vector for each image."""
    array: str = "labels/{sample}.npy"
    """`array` only: pattern of the vector's path, with the names that `image` uses."""
    labels: LabelFileConfig = LabelFileConfig()


class ColumnsData(LabelsData):
    """Where the images and labels are and how they are laid out."""

    layout: Annotated[str, Named(LAYOUTS, "regression")] = "csv"
    """How the files are arranged: `csv` a table with a row for each image, or `array`, an `.npy` vector for each
    image."""


class LabelsPreprocess(PreprocessConfig):
    """Deterministic steps, the same in training, evaluation and serving."""

    crop: tuple[Side, Side] | None = None
    """Height and width of the part that the network sees: the centre, in training anywhere. Empty: all."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop is not None and (self.crop[0] > self.size[0] or self.crop[1] > self.size[1]):
            raise ValueError("crop must not be larger than size")
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the network sees."""
        return self.crop or self.size


class LabelsModel(TunedModelConfig):
    """The network: a backbone by name, with its plain arguments, and a head."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "resnet18"
    """The backbone, such as `resnet18`, `efficientnet_b0`, `densenet121`, `alexnet` or any other of timm, or
    `perceptron`, a cheap baseline."""
    weights: str = "none"
    """What the backbone begins with: `none`, `imagenet` from its library's hub, published weights by name (`rad-dino`,
    `biomedclip`, `radimagenet-resnet50`, `efficientnet-lite0`), `hf-hub:organisation/name@COMMIT`, or a path of a
    `.safetensors`, `.pth` or `.bin` file. What the folder `MEDLOOM_WEIGHTS` has is not fetched."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the head."""
    metadata: Literal["none", "fused", "only"] = "none"
    """`fused` joins `data.labels.metadata` to the image before the head; `only` leaves the image and the backbone out.
    With `none` they only train the cheap model that the network is compared with."""
    table_width: Annotated[int, Field(ge=1)] = 32
    """Width of the branch for the metadata, where they go in, and of the hidden layer of `perceptron`."""


class _ClassesLoss(LossConfig):
    """The training loss; always computed in float32."""

    name: Annotated[str, Named(LOSSES, "binary")] = "cross-entropy"
    """The loss."""


class _RegressionLoss(LossConfig):
    """The training loss; always computed in float32."""

    name: Annotated[str, Named(LOSSES, "regression")] = "mse"
    """The loss."""


class _AutoLoss(LossConfig):
    """The training loss; always computed in float32."""

    name: Literal["auto"] | Annotated[str, Named(LOSSES, "binary")] | Annotated[str, Named(LOSSES, "regression")] = (
        "auto"
    )
    """The loss; `auto` takes `cross-entropy` for classes and labels and `mse` for numbers."""


class _ClassesTrain(TrainConfig):
    """The loop."""

    monitor: Annotated[str, Named(METRICS, "binary")] = "auc"
    """Validation metric that picks the best epoch; of several classes the mean."""
    positive_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Oversampling: share of the drawn samples that are not of the first class; empty: as the data are."""


class _RegressionTrain(TrainConfig):
    """The loop."""

    monitor: Annotated[str, Named(METRICS, "regression")] = "loss"
    """Validation metric that picks the best epoch."""


class _AutoTrain(TrainConfig):
    """The loop."""

    monitor: Literal["auto"] | Annotated[str, Named(METRICS, "binary")] = "auto"
    """Validation metric that picks the best epoch; `auto` takes `auc` for classes and labels and `loss` for numbers."""
    positive_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Oversampling: share of the drawn samples that are not of the first class; empty: as the data are."""


class CalibratedEvaluate(EvaluateConfig):
    """How the metrics are taken and the operating point is chosen."""

    calibration: Literal["none", "temperature", "platt", "isotonic"] = "none"
    """What is fitted on the validation set to make probabilities mean what they say, before `threshold` is chosen, and
    goes into the bundle. `temperature`: one number, which changes no order of cases; for a network that is too sure, or
    not sure enough. `platt`: a temperature and a shift of each class or label, which also mends what
    `train.positive_share` and class weights do to probabilities. `isotonic`: any never falling map, from 100 cases on.
    Where validation holds too few cases, probabilities stay as they are and a note says so."""


class ClassesEvaluate(CalibratedEvaluate):
    """How the metrics are taken and the operating point is chosen."""

    threshold: Probability | Literal["auto"] = "auto"
    """Probability from which a case is positive; `auto` chooses it on the validation set."""
    rule: Literal["youden", "sensitivity", "cost"] = "youden"
    """How `threshold: auto` is chosen: most sensitivity plus specificity, a fixed sensitivity, or the least cost."""
    min_sensitivity: Annotated[float, Field(gt=0, le=1)] = 0.95
    """`rule: sensitivity` only: the sensitivity to reach."""
    cost_ratio: Positive = 1.0
    """`rule: cost` only: what a missed positive costs, in false positives."""


class LabelsRecipe(Recipe):
    """Everything about a run that predicts something for the whole image."""

    target: LabelsTarget
    data: LabelsData = LabelsData()
    preprocess: LabelsPreprocess = LabelsPreprocess()
    model: LabelsModel = LabelsModel()

    @model_validator(mode="after")
    def _parts_are_said_once(self) -> Self:
        if self.data.labels.files and self.split.lists:
            raise ValueError("split.lists and data.labels.files both say who is in which part; leave one of them out")
        return self

    @model_validator(mode="after")
    def _unfreezes_in_one_process(self) -> Self:
        unfrozen_in_one_process(self.model, self.train)
        return self

    @model_validator(mode="after")
    def _weights_have_a_mean(self) -> Self:
        if self.package.serve == "soup" and self.model.metadata != "none":
            raise ValueError(
                "package.serve: expected ensemble or distilled where metadata go in: each fold turns them into numbers "
                "by its own patients, so the mean of the weights fits none of them"
            )
        return self


class ClassesRecipe(LabelsRecipe):
    """Everything about a run that predicts classes or labels."""

    augment: ClassesAugmentConfig = ClassesAugmentConfig()
    loss: _ClassesLoss = _ClassesLoss()
    train: _ClassesTrain = _ClassesTrain()
    distil: ClassesDistilConfig = ClassesDistilConfig()


class BinaryRecipe(ClassesRecipe):
    """Everything about a run that predicts one of two classes."""

    target: BinaryTarget = BinaryTarget()
    evaluate: ClassesEvaluate = ClassesEvaluate()


class MultiClassRecipe(ClassesRecipe):
    """Everything about a run that predicts one of several classes."""

    target: MultiClassTarget = MultiClassTarget()
    evaluate: CalibratedEvaluate = CalibratedEvaluate()


class MultiLabelRecipe(ClassesRecipe):
    """Everything about a run that predicts any of several labels."""

    target: MultiLabelTarget = MultiLabelTarget()
    data: ColumnsData = ColumnsData()
    evaluate: ClassesEvaluate = ClassesEvaluate()


class RegressionRecipe(LabelsRecipe):
    """Everything about a run that predicts numbers."""

    target: RegressionTarget = RegressionTarget()
    data: ColumnsData = ColumnsData()
    loss: _RegressionLoss = _RegressionLoss()
    train: _RegressionTrain = _RegressionTrain()


class AutoRecipe(LabelsRecipe):
    """Everything about a run whose labels are found out while preparing."""

    target: AutoTarget = AutoTarget()
    augment: ClassesAugmentConfig = ClassesAugmentConfig()
    loss: _AutoLoss = _AutoLoss()
    train: _AutoTrain = _AutoTrain()
    evaluate: ClassesEvaluate = ClassesEvaluate()
    distil: ClassesDistilConfig = ClassesDistilConfig()
