"""From a network to an ONNX file that gives probabilities and stands alone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from medloom.errors import MedloomError
from medloom.files import replacing
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.inference.runtimes.torch import TorchRuntime

__all__ = ["AGREEMENT", "export_onnx"]

AGREEMENT = 1e-3
"""Largest difference in probability between the network and its export that is let through."""

_OPSET = 20
_CHECKED_BATCHES = (1, 3)
_EXPORTER_LOG = "torch.onnx._internal.exporter._registration"


def export_onnx(network: nn.Module, path: Path, *, channels: int, size: tuple[int, int]) -> Path:
    """Write a network as ONNX: any batch size, probabilities as output, all weights inside.

    The file carries no trace of the source code or the machine that wrote it. It is compared with the
    network on random images before it is put in place.

    Args:
        network: Gives logits ``(N, K, h, w)``; left in evaluation mode, on its device.
        path: Where the file shall be; replaced atomically.
        channels: C of the images.
        size: Height and width of the images in pixels.

    Returns:
        ``path``.

    Raises:
        MedloomError: If the exported graph does not agree with the network.
    """
    reference = TorchRuntime(network)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    images = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), _quiet_exporter():
        program = torch.onnx.export(
            reference.model,
            (images.to(device),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=["image"],
            output_names=["probabilities"],
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise MedloomError("the ONNX exporter gave nothing")
    ClearMetadataAndDocStringPass()(program.model)
    with replacing(path) as beside:
        program.save(beside, external_data=False)
        _check_agreement(reference, OnnxRuntime.open(beside), images[:1].shape[1:])
    return path


def _check_agreement(reference: TorchRuntime, exported: OnnxRuntime, shape: torch.Size) -> None:
    generator = torch.Generator().manual_seed(1)
    for batch in _CHECKED_BATCHES:
        images = torch.randn(batch, *shape, generator=generator).numpy()
        difference = float(abs(reference.run(images) - exported.run(images)).max())
        if not difference <= AGREEMENT:
            raise MedloomError(
                f"the exported graph differs from the network by {difference:.2g} in probability on a batch of "
                f"{batch}; at most {AGREEMENT:g} is let through"
            )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says about itself: its own deprecated calls and operators of torchvision."""
    logger = logging.getLogger(_EXPORTER_LOG)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="torch|copyreg")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
