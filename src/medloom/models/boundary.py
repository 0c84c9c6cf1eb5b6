"""The boundary loss: how far from the true outline lies what is predicted.

Shapes: N images, K outputs of the network, F foreground classes, H height, W width.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from medloom.models.calling import check_arguments
from medloom.targets import IGNORED

__all__ = ["BoundaryLoss", "boundary", "signed_distances"]


class BoundaryLoss(nn.Module):
    """Mean over pixels of the foreground's probability times the signed distance to its true outline.

    It is for use beside another loss, with a small weight such as 0.01 that may rise from epoch to epoch (``per_epoch``
    of ``compound``): alone it is content with an empty answer, and it is negative where an answer is right. Distances
    are in pixels of what the network sees and exact; SciPy takes them on the processor, for each batch anew. A class
    that is not in an image adds nothing there. A pixel that is ignored is no foreground when distances are taken, and
    adds nothing itself.

    Source: Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019.

    Example:
        >>> truth = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> truth[:, 2:6, 2:6] = 1
        >>> right = 20.0 * (2.0 * truth[:, None] - 1.0)
        >>> bool(BoundaryLoss()(right, truth) < 0 < BoundaryLoss()(-right, truth))
        True
    """

    def over_known(self) -> Self:
        """Return the loss itself, which heeds ignored pixels."""
        return self

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(N, K, H, W)``, any float dtype.
            target: ``(N, H, W)`` integer class indices, ``medloom.targets.IGNORED`` where a pixel does not count.

        Returns:
            Scalar, float32.
        """
        with torch.autocast(logits.device.type, enabled=False):
            known = (target != IGNORED)[:, None]
            # What a network says of an ignored pixel may be anything, also not a number.
            values = torch.where(known, logits, 0.0).float()
            shares = values.sigmoid() if values.shape[1] == 1 else values.softmax(1)[:, 1:]
            classes = torch.arange(1, shares.shape[1] + 1, device=target.device)[:, None, None]
            distances = signed_distances((target[:, None] == classes).cpu().numpy())
            weighed = torch.from_numpy(distances).to(shares.device) * shares * known
            return weighed.sum() / (known.sum() * shares.shape[1]).clamp(min=1)


def boundary(outputs: int, /, **given: Any) -> BoundaryLoss:  # noqa: ANN401 - to be refused by name
    """Build the boundary loss, which takes no arguments."""
    check_arguments("loss.args", "loss 'boundary'", given, [])
    return BoundaryLoss()


def signed_distances(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how far each pixel lies from the outline of its mask.

    Args:
        masks: ``(N, F, H, W)``.

    Returns:
        The same shape, in pixels: above 0 outside; inside 0 for those at the edge and below 0 deeper; 0 everywhere for
        a mask that is empty or covers all.
    """
    distances = np.zeros(masks.shape, np.float32)
    for place in zip(*np.nonzero(masks.any((2, 3)) & ~masks.all((2, 3))), strict=True):
        mask = masks[place]
        distances[place] = np.where(mask, 1.0 - distance_transform_edt(mask), distance_transform_edt(~mask))
    return distances
