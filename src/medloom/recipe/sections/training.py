"""The network, its loss, and how it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from medloom.recipe.sections.base import Config, Positive, Probability, Seed, Switch, as_word

__all__ = ["EarlyStoppingConfig", "LossConfig", "ModelConfig", "OptimizerConfig", "ScheduleConfig", "TrainConfig"]


class ModelConfig(Config):
    """The network, by name, with its plain arguments."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "unet"
    """The network. For segmentation `unet`, `attention-unet`, `unetr`, `swin-unetr`, `segresnet`, `dynunet` or
    `flexible-unet`; for classification a backbone, such as `resnet18`, `efficientnet_b0`, `densenet121`, `alexnet` or
    any other of timm, or `perceptron`, a cheap baseline."""
    args: dict[str, JsonValue] = Field(default={})
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


class LossConfig(Config):
    """The training loss; always computed in float32."""

    name: Literal["dice", "dice-ce", "dice-focal", "tversky", "cross-entropy", "focal", "mse"] = "dice-ce"
    """The loss. For segmentation the first four; for classification `cross-entropy` (binary for one class or several
    labels) or `focal`; for numbers `mse`."""
    args: dict[str, JsonValue] = Field(default={})
    """Arguments of the loss that replace its defaults, such as `batch: true`."""


class OptimizerConfig(Config):
    """The optimiser."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """The method; `sgd` is with Nesterov momentum."""
    lr: Positive = 1e-3
    """Largest learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Decoupled for `adamw`, an L2 penalty for the others."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """`sgd` only: the momentum."""


class ScheduleConfig(Config):
    """How the learning rate changes."""

    name: Literal["cosine", "plateau", "none"] = "cosine"
    """`cosine` falls to zero over the run, step by step; `plateau` lowers it when the monitored metric stalls."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """`cosine` only: share of the steps over which the rate rises from zero."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """`plateau` only: what the rate is multiplied by."""
    patience: Annotated[int, Field(ge=0)] = 5
    """`plateau` only: epochs without improvement before it."""


class EarlyStoppingConfig(Config):
    """Stop when the monitored metric has not improved for a while."""

    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without improvement; empty: never stop early."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest change that counts as improvement."""


class TrainConfig(Config):
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
    precision: Annotated[Literal["auto", "32", "bf16", "fp16"], BeforeValidator(as_word)] = "auto"
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
    seed: Seed = 0
    """Seed of the weights, the order and the augmentation."""
