"""The three forms of an answer, and the one that a client gets."""

from __future__ import annotations

from collections.abc import Sequence

from medloom.errors import UserError
from medloom.inference import LabelPrediction, Prediction
from medloom.inference.encoding import labels_json, mask_png, probabilities_npy, to_json
from medloom.packaging import Manifest
from medloom.serving.negotiation import choose
from medloom.serving.problems import JSON

__all__ = ["ANSWERS", "NotAcceptableError", "check_accept", "encode_prediction"]

PNG = "image/png"
NPY = "application/x-npy"
ANSWERS = (JSON, PNG, NPY)
"""Media types of the answers, the default first."""


class NotAcceptableError(UserError):
    """The client takes none of the forms that there are.

    Args:
        forms: Media types of those.
    """

    def __init__(self, forms: Sequence[str]) -> None:
        super().__init__(f"the Accept header takes none of {', '.join(forms)}")
        self.forms = tuple(forms)


def check_accept(accept: str | None, manifest: Manifest) -> str:
    """Return which form of an answer the client wants; labels of a whole image come as JSON only.

    Raises:
        NotAcceptableError: If it takes none of them.
    """
    forms = ANSWERS if manifest.task == "segmentation" else (JSON,)
    chosen = choose(accept, forms)
    if chosen is None:
        raise NotAcceptableError(forms)
    return chosen


def encode_prediction(
    prediction: Prediction | LabelPrediction, manifest: Manifest, accept: str | None = None
) -> tuple[bytes, str]:
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
    chosen = check_accept(accept, manifest)
    model = {"name": manifest.name, "phantom": manifest.phantom}
    if isinstance(prediction, LabelPrediction):
        return labels_json(prediction, model=model), JSON
    if chosen == PNG:
        return mask_png(prediction), PNG
    if chosen == NPY:
        return probabilities_npy(prediction), NPY
    return to_json(prediction, manifest.classes, model=model), JSON
