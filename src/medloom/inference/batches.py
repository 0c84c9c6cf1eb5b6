"""Several images in one call of the network, of which one that cannot be predicted does not lose the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from medloom.errors import InputError, MedloomError, NotFiniteError, UserError
from medloom.inference.answers import Prediction
from medloom.inference.metadata import Metadata
from medloom.inference.prepared import Input, Prepared

if TYPE_CHECKING:
    from medloom.inference.predictor import Predictor

__all__ = ["predict_batch"]


def predict_batch(
    predictor: Predictor, images: Sequence[Input], metadata: Sequence[Metadata], on_error: Literal["raise", "return"]
) -> list[Prediction | MedloomError]:
    """Predict several images; see ``Predictor.predict_batch``."""
    rows = metadata or [{}] * len(images)
    if len(rows) != len(images):
        raise InputError(f"{len(rows)} rows of metadata for {len(images)} images; expected one for each, or none")
    prepared = [_prepared(predictor, image, row) for image, row in zip(images, rows, strict=True)]
    errors = [one for one in prepared if isinstance(one, UserError)]
    if errors and on_error == "raise":
        raise errors[0]
    sound = [one for one in prepared if isinstance(one, Prepared)]
    if on_error == "raise":
        return [*predictor.answer(sound)]
    found = iter(_answered(predictor, sound))
    return [next(found) if isinstance(one, Prepared) else one for one in prepared]


def _prepared(predictor: Predictor, image: Input, metadata: Metadata) -> Prepared | UserError:
    try:
        return predictor.prepare(image, metadata=metadata)
    except UserError as error:
        return error


def _answered(predictor: Predictor, prepared: Sequence[Prepared]) -> Sequence[Prediction | MedloomError]:
    """Answer; one by one if one has no answer (not finite, or unlike the training), so that the others have theirs."""
    try:
        return predictor.answer(prepared)
    except (InputError, NotFiniteError) as error:
        return [error] if len(prepared) == 1 else [_answered(predictor, [one])[0] for one in prepared]
