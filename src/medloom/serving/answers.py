"""Which form of an answer a client gets, and the bytes of it."""

from __future__ import annotations

from collections.abc import Sequence

from medloom.errors import UserError
from medloom.inference import Prediction, VolumeAnswer
from medloom.packaging import Manifest
from medloom.serving.negotiation import choose

__all__ = ["NotAcceptableError", "check_accept", "encode_prediction"]


class NotAcceptableError(UserError):
    """The client takes none of the forms that there are.

    Args:
        forms: Media types of those.
    """

    def __init__(self, forms: Sequence[str]) -> None:
        super().__init__(f"the Accept header takes none of {', '.join(forms)}")
        self.forms = tuple(forms)


def check_accept(accept: str | None, forms: Sequence[str]) -> str:
    """Return which form of an answer the client wants.

    Args:
        accept: An ``Accept`` header; the first form by default.
        forms: Media types that there are: the predictor's ``forms``.

    Raises:
        NotAcceptableError: If it takes none of them.
    """
    chosen = choose(accept, forms)
    if chosen is None:
        raise NotAcceptableError(forms)
    return chosen


def encode_prediction(prediction: Prediction | VolumeAnswer, manifest: Manifest, form: str) -> bytes:
    """Encode a prediction; as JSON it also says which model made it.

    Args:
        prediction: What the model said.
        manifest: The bundle's manifest.
        form: A media type, from ``check_accept``.
    """
    return prediction.encode(form, model={"name": manifest.name, "phantom": manifest.phantom})
