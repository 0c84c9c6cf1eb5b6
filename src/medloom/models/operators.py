"""Makes torchvision importable beside a torch that it was not built for; importing this module is enough.

A torchvision wheel built for CUDA cannot load its operators beside a CPU build of torch. It goes on without them
until it describes two of them to torch, and then ``import torchvision`` fails ("operator torchvision::nms does not
exist"), and with it Lightning, MONAI, timm and torchmetrics, which import it when it is there. None of them needs
these operators here, so it is enough to declare the two. Where torchvision's own operators load, nothing is done.

Source: ``torchvision/extension.py`` and ``torchvision/_meta_registrations.py`` of torchvision 0.28.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

__all__ = ["OPERATORS", "declare_missing"]

OPERATORS: dict[str, str] = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_kept: list[torch.library.Library] = []
"""A declaration lasts as long as its library object."""


def declare_missing() -> bool:
    """Declare torchvision's operators if torchvision is installed and cannot load them.

    Returns:
        Whether they were declared here.
    """
    spec = None if _kept else find_spec("torchvision")
    if spec is None or spec.origin is None or _loads(Path(spec.origin).parent):
        return False
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in OPERATORS.values():
        library.define(schema)  # type: ignore[no-untyped-call]
    _kept.append(library)
    return True


def _loads(folder: Path) -> bool:
    """Load the library as torchvision itself will; a second time costs nothing."""
    try:
        for path in folder.glob("_C*.so"):
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
            return True
    except (ImportError, OSError):
        pass
    return False


declare_missing()
