"""The three forms of an answer, and the one that a client gets."""

from __future__ import annotations

from medloom.errors import UserError
from medloom.inference import Prediction
from medloom.inference.encoding import mask_png, probabilities_npy, to_json
from medloom.packaging import Manifest
from medloom.serving.negotiation import choose

__all__ = ["ANSWERS", "JSON", "NotAcceptableError", "check_accept", "encode_prediction"]

JSON = "application/json"
PNG = "image/png"
NPY = "application/x-npy"
ANSWERS = (JSON, PNG, NPY)
"""Media types of the answers, the default first."""


class NotAcceptableError(UserError):
    """The client takes none of the forms that there are."""


def check_accept(accept: str | None) -> str:
    """Return which of ``ANSWERS`` the client wants.

    Raises:
        NotAcceptableError: If it takes none of them.
    """
    chosen = choose(accept, ANSWERS)
    if chosen is None:
        raise NotAcceptableError(f"the Accept header takes none of {', '.join(ANSWERS)}")
    return chosen


def encode_prediction(prediction: Prediction, manifest: Manifest, accept: str | None = None) -> tuple[bytes, str]:
    """Encode a prediction as the client wants it.

    Args:
        prediction: What the model said.
        manifest: The bundle's manifest.
        accept: An ``Accept`` header; JSON by default.

    Returns:
        The bytes and their media type.

    Raises:
        NotAcceptableError: If the client takes none of ``ANSWERS``.
    """
    chosen = check_accept(accept)
    if chosen == PNG:
        return mask_png(prediction), PNG
    if chosen == NPY:
        return probabilities_npy(prediction), NPY
    model = {"name": manifest.name, "phantom": manifest.phantom}
    return to_json(prediction, manifest.classes, model=model), JSON
