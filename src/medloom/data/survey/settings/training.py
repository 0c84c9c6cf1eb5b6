"""How long a network trains, for the device and the number of images."""

from __future__ import annotations

from collections.abc import Iterator

from medloom.data.survey.findings import Finding
from medloom.data.survey.settings.known import Known

__all__ = ["training"]

_PASSES = 30_000
"""Images that a CPU should see in training: about an hour for two cores."""

_MOST_CPU, _FEWEST_CPU = 30, 3
_BATCH = {"gpu": 16, "cpu": 8}
_SMALL_GPU_GIB = 6


def training(known: Known, *, rate: float, gpu_epochs: int) -> Iterator[Finding]:
    """Yield the keys of the loop.

    Args:
        known: What is known.
        rate: Learning rate that suits the network.
        gpu_epochs: Epochs where there is a GPU.
    """
    samples, device = known.samples, known.device
    epochs = gpu_epochs if device.has_gpu else max(_FEWEST_CPU, min(_MOST_CPU, gpu_epochs, _PASSES // max(1, samples)))
    about = f"about {samples:,} samples; {device.text}"
    yield Finding(
        "train.epochs",
        epochs,
        about,
        instead="" if epochs == gpu_epochs else f"{gpu_epochs}, where there is a GPU or a night",
    )
    large = device.has_gpu and device.gpu_gib >= _SMALL_GPU_GIB
    yield Finding("train.batch_size", _BATCH["gpu" if large else "cpu"], device.text)
    yield Finding("train.optimizer.lr", rate, "a rate that suits this network with AdamW and warm-up")
    yield Finding("evaluate.views", 2, "the mean over an image and its mirror image is a little better")
    yield Finding("train.averaging", "ema", "the mean of the last weights is steadier than the last")
