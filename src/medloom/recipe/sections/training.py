"""The network, its loss, and how it is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from medloom.recipe.sections.base import Bool, Config, Positive, Probability, Seed, Switch, as_word

__all__ = [
    "AverageConfig",
    "EarlyStoppingConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "TrainConfig",
    "TunedModelConfig",
    "unfrozen_in_one_process",
]


class ModelConfig(Config):
    """The network, by name, with its plain arguments."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """The network."""
    args: dict[str, JsonValue] = Field(default={})
    """Arguments of the network that replace its defaults, such as `channels: [16, 32, 64, 128]`."""


class TunedModelConfig(ModelConfig):
    """A network with a backbone, for masks the encoder, that may have seen something before."""

    tune: Literal["all", "head", "blocks"] = "all"
    """What is trained: everything, what is new (the head; for masks all but the encoder), or the last `blocks` blocks
    of the backbone and what is new. `perceptron` has no blocks."""
    blocks: Annotated[int, Field(ge=1)] = 1
    """`tune: blocks` only: how many blocks from the end."""
    backbone_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of the backbone as a share of the head's, where both are trained."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each block as a share of the next one's, of the last block as a share of the backbone's; 1 for
    one rate."""
    unfreeze_every: Annotated[int, Field(ge=1)] | None = None
    """Gradual unfreezing: begin with the head and add a block after so many epochs."""
    head_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at the beginning in which the backbone is frozen, so that what is new does not spoil it."""
    freeze_statistics: Bool = False
    """Batch norms of the backbone keep the statistics that they came with."""

    def tuning(self) -> dict[str, Any]:
        """Return the keys that say how the backbone is trained."""
        return {name: getattr(self, name) for name in _TUNING}


_TUNING = ("tune", "blocks", "backbone_rate", "layer_decay", "unfreeze_every", "head_epochs", "freeze_statistics")


class LossConfig(Config):
    """The training loss; always computed in float32."""

    name: str
    """The loss."""
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


class AverageConfig(Config):
    """How workers that keep nothing share the training (`train.strategy: average`)."""

    workers: Annotated[int, Field(ge=1, le=1000)] = 2
    """Into how many shards each batch is cut, each for one worker; here that many processes of this machine."""
    of: Literal["gradients", "weights"] = "gradients"
    """What is averaged, by the number of samples. `gradients`: one optimiser takes one step with their mean, which is
    the step on the whole batch with every optimiser. `weights`: each worker takes its steps itself and the weights and
    the optimiser's state are averaged, which is the same for `sgd` alone."""
    every: Annotated[int, Field(ge=1)] = 1
    """Steps that each worker takes before the weights are averaged; more than 1 is not the same as larger batches."""
    quorum: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a batch's images with which a step goes on once the others are late or failed too often; below 1, the
    step is that of the images that are there, and which steps that were is kept in `training.json`."""
    lease: Positive = 300.0
    """Seconds after which a shard that has not come back is given to another worker."""
    attempts: Annotated[int, Field(ge=1, le=99)] = 3
    """How often a shard is tried before the training ends with the reason of the last failure."""


class TrainConfig(Config):
    """The loop."""

    epochs: Annotated[int, Field(ge=1)] = 50
    """Passes over the training images. A finished run can be given more."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 16
    """Images in a step, shared by the devices. `auto` measures steps of 2, 4, 8 and so on up to 128 images before the
    training and takes the most that find room in three quarters of the memory, of the GPU or else of the machine, and
    leave at least 8 steps in an epoch; the run's recipe then says how many. The learning rate stays what it is."""
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """At most so many images go through the network at a time, on each device, for when memory is short; a step stays
    that of the whole batch up to rounding, whatever the loss is, and takes about a third longer. Dropout draws other
    numbers, and batch normalisation takes its statistics over these images. Empty: all images of a batch; where memory
    runs out, half as many, and so on."""
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
    precision: Annotated[Literal["auto", "32", "bf16", "fp16"], BeforeValidator(as_word)] = "auto"
    """`auto` takes bf16 where the hardware multiplies it natively, else 32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Number of GPUs, or of processes on the CPU. They share each batch and take its statistics together, also those of
    batch normalisation, so several train as one does up to rounding: the training losses of the first epochs agree to
    1e-4, those of validation to 1e-2 where Adam turns rounding into steps of weights without effect, such as a bias
    before a batch normalisation. Only dropout and the noise of `augment` are drawn anew in each, and `mixup`
    and `cutmix` mix images of one process. A loss over the batch
    as a whole (`batch: true` of the Dice losses) is taken over each share of it, and the run warns of that."""
    strategy: Literal["single", "average"] = "single"
    """`average` trains by workers that keep nothing: each gets the weights and a shard of the batch, and the training
    goes on when all shards are there. It is for machines that come and go; `devices` is faster on one that stays."""
    average: AverageConfig = AverageConfig()
    compile: Switch = "auto"
    """Compile the network with `torch.compile`. `auto` does on a CPU where there is a C++ compiler and the run is long
    enough to win back the minute that compiling takes."""
    channels_last: Switch = "auto"
    """Keep what a network knows of a pixel together in memory, channel beside channel, as convolutions work fastest;
    results differ by rounding alone. `auto` does for a network that normalises by batches alone, others being slower,
    and is not compiled."""
    monitor: str
    """Validation metric that picks the best epoch."""
    checkpoint_minutes: Positive | None = 10.0
    """Also write a checkpoint inside an epoch after this many minutes; empty: only between epochs."""
    profile: Literal["light", "full", "none"] = "light"
    """Account of where the time goes, in `profile.json` and the report. `full` also looks at the operators of a few
    steps, writes a trace of them for Perfetto and looks at the machine more often; `--profile` asks for it. The weights
    are the same with each."""
    seed: Seed = 0
    """Seed of the weights, the order and the augmentation."""
    seeds: Annotated[int, Field(ge=1, le=50)] = 1
    """So many trainings on the same split, with the seeds from `seed` on: the report says how much every metric varies
    between them. The network with the best `monitor` on validation is packaged."""

    @model_validator(mode="after")
    def _sized_in_one_process(self) -> Self:
        """How many images fit is measured in one process."""
        if self.batch_size == "auto" and self.devices > 1:
            raise ValueError("batch_size: expected a number with several train.devices")
        return self

    @model_validator(mode="after")
    def _shared_in_one_way(self) -> Self:
        """Workers share a batch in the place of devices, and no process sees all of it."""
        if self.strategy == "average":
            if self.devices > 1:
                raise ValueError("devices: expected 1 with train.strategy=average, whose workers are average.workers")
            if self.batch_size == "auto":
                raise ValueError("batch_size: expected a number with train.strategy=average")
            if self.precision == "fp16":
                raise ValueError("precision: expected auto, 32 or bf16 with train.strategy=average")
        return self

    @property
    def images_per_step(self) -> int:
        """The number that ``batch_size`` is.

        Raises:
            ValueError: If it is still ``auto``, which is an error of the program: stages that train decide it first.
        """
        if self.batch_size == "auto":
            raise ValueError("train.batch_size is still auto where a number is needed")
        return self.batch_size


def unfrozen_in_one_process(model: TunedModelConfig, train: TrainConfig) -> None:
    """Raise if several processes were to unfreeze a block after they have begun.

    They agree on what they share when they start, so a block unfrozen later would drift apart.

    Raises:
        ValueError: Naming the key.
    """
    if train.devices > 1 and model.unfreeze_every is not None:
        raise ValueError("model.unfreeze_every: expected empty with several train.devices")
    if train.devices > 1 and model.head_epochs > 0:
        raise ValueError("model.head_epochs: expected 0 with several train.devices")
