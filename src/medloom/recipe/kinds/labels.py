"""Recipes whose answer is a row of numbers for the whole image: classes, labels, or numbers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from medloom.errors import RecipeError
from medloom.recipe.recipe import Recipe
from medloom.recipe.sections.augment import ClassesAugmentConfig
from medloom.recipe.sections.base import Config, Named, Positive, Probability, Side, one_group
from medloom.recipe.sections.data import DataConfig, MetadataConfig
from medloom.recipe.sections.evaluation import ClassesDistilConfig, EvaluateConfig
from medloom.recipe.sections.images import PreprocessConfig
from medloom.recipe.sections.target import TargetSection
from medloom.recipe.sections.training import LossConfig, TrainConfig, TunedModelConfig, unfrozen_in_one_process
from medloom.registry import LAYOUTS, LOSSES, METRICS
from medloom.targets import Target

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


class LabelsTarget(TargetSection):
    """What is predicted for the whole image."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("level",)
    """Layout `csv`: columns of the label file. Layout `array`: names of the vector's entries."""

    blank: str = "error"
    """What a blank label means."""

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The classes that the recipe names; empty where it names none."""
        return ()

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label; None: what any other number means."""
        return None

    @property
    def between_labels(self) -> str | None:
        """What stands between several labels in one word; None where it is found out, or words are none."""
        return None


class _ClassesTarget(LabelsTarget):
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)] = ("level",)
    """Layout `csv`: the column with the class."""
    classes: tuple[str, ...] = ()
    """Classes in order, as the column or the folders name them; empty: as found, sorted."""
    blank: Literal["error", "mask"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and the
    image is left out."""

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The classes that the recipe names."""
        return self.classes

    def value(self) -> Target:
        """Return what is predicted.

        Raises:
            RecipeError: If the classes are not known yet.
        """
        if not self.classes:
            raise RecipeError("target.classes is empty: run `medloom prepare`, which finds them, or name them")
        return Target(self.kind, self.classes)


class BinaryTarget(_ClassesTarget):
    """What is predicted: one of two classes for the image."""

    kind: Literal["binary"] = "binary"
    """One of two classes for the image; the second is the positive one."""
    uncertain: Literal["mask", "negative", "positive"] | None = None
    """What -1 means where it stands for an uncertain label: `mask` leaves the image out, `negative` and `positive` take
    it for the first or the second class. Empty: -1 is a class like any other."""

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label."""
        return self.uncertain


class MultiClassTarget(_ClassesTarget):
    """What is predicted: one of several classes for the image."""

    kind: Literal["multi-class"] = "multi-class"
    """One of several classes for the image."""


class MultiLabelTarget(LabelsTarget):
    """What is predicted: any of several labels for the image."""

    kind: Literal["multi-label"] = "multi-label"
    """Any of several labels for the image; the columns hold 0 and 1, or one column holds the labels in words."""
    classes: tuple[str, ...] = ()
    """Where one column holds the labels in words: the labels in order; empty: as found, sorted."""
    separator: Annotated[str, Field(min_length=1, max_length=4)] = "auto"
    """What stands between several labels in one word, such as `|` in `Effusion|Mass`; `auto` finds it out where one
    column holds such words. A word such as `No Finding` that always stands alone means none of them."""
    blank: Literal["error", "mask", "negative"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and counts
    neither in the loss nor in the metrics; an image without any known label is left out. `negative`: the label is not
    there, as where a report does not mention it."""
    uncertain: Literal["mask", "negative", "positive", "error"] = "mask"
    """What -1 means, which CheXpert writes for uncertain labels: `mask` as for `blank`, `negative` 0, `positive` 1, or
    `error`."""

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label."""
        return self.uncertain

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The labels that the recipe names beside its columns."""
        return self.classes

    @property
    def between_labels(self) -> str | None:
        """What stands between several labels in one word."""
        return None if self.separator == "auto" else self.separator

    def value(self) -> Target:
        """Return what is predicted.

        Raises:
            RecipeError: If the labels are in words and not known yet.
        """
        if self.between_labels and not self.classes:
            raise RecipeError("target.classes is empty: run `medloom prepare`, which finds the labels, or name them")
        return Target(self.kind, self.classes or self.columns)

    @model_validator(mode="after")
    def _words_in_one_column(self) -> Self:
        if len(self.columns) > 1 and (self.between_labels or (self.classes and self.classes != self.columns)):
            raise ValueError("separator and classes are for labels in the words of one column; columns has several")
        return self


class RegressionTarget(LabelsTarget):
    """What is predicted: numbers for the image."""

    kind: Literal["regression"] = "regression"
    """Numbers for the image."""
    blank: Literal["error", "mask"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and counts
    neither in the loss nor in the metrics; an image without any known label is left out."""

    def value(self) -> Target:
        """Return what is predicted."""
        return Target(self.kind, self.columns)


class AutoTarget(LabelsTarget):
    """What is predicted for the image is found out while preparing and written into the run's recipe."""

    kind: Literal["auto"] = "auto"
    """`prepare` finds out what the labels are: classes, labels or numbers; where they may be two of these, such as
    grades from 0 to 4, it stops and the recipe must say."""
    classes: tuple[str, ...] = ()
    """Classes in order, if the labels are classes; empty: as found, sorted."""
    blank: Literal["error", "mask", "negative"] = "error"
    """What a blank label means. `error`: it is missing, and `prepare` says where. `mask`: it is unknown, and counts
    neither in the loss nor in the metrics; an image without any known label is left out. `negative`, of several
    labels only: the label is not there, as where a report does not mention it."""
    uncertain: Literal["auto", "mask", "negative", "positive"] = "auto"
    """What -1 means where it stands for an uncertain label, as in CheXpert: `mask` as for `blank`, `negative` 0,
    `positive` 1, `auto` `mask` of several labels and in one column a number like any other."""
    separator: Annotated[str, Field(min_length=1, max_length=4)] = "auto"
    """What stands between several labels in one word, such as `|` in `Effusion|Mass`; `auto` finds it out where one
    column holds such words. A word such as `No Finding` that always stands alone means none of them."""

    @property
    def given_classes(self) -> tuple[str, ...]:
        """The classes that the recipe names."""
        return self.classes

    @property
    def minus_one(self) -> str | None:
        """What -1 means as a label."""
        return None if self.uncertain == "auto" else self.uncertain

    @property
    def between_labels(self) -> str | None:
        """What stands between several labels in one word."""
        return None if self.separator == "auto" else self.separator

    def value(self) -> Target:
        """Raise: it is not known yet.

        Raises:
            RecipeError: Always.
        """
        raise RecipeError("target.kind is auto: run `medloom prepare`, which finds out, or say what the labels are")


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
