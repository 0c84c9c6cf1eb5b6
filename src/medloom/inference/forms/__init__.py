"""An answer in the forms that people and programs take: one function a form, chosen through ``medloom.registry.FORMS``.

What encodes an answer says nothing of the network; what it needs beside the answer is in `Made`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from medloom import registry
from medloom.imaging.dicom_header import unlogged
from medloom.inference.forms.base import Algorithm, FormError, Made
from medloom.registry import FORMS

__all__ = ["FORMS", "Algorithm", "FormError", "Made", "encode", "forms_for", "media_type", "suffix"]


def forms_for(kind: str, *, volume: bool, dicom: bool = False, image: bool = True) -> tuple[str, ...]:
    """Return the names of the forms that an answer can have, JSON first.

    Args:
        kind: Of the target.
        volume: Whether it is of a volume.
        dicom: Whether it was made from DICOM.
        image: Whether the pixels as decoded are at hand.

    Example:
        >>> forms_for("masks", volume=False)
        ('json', 'png', 'tiff', 'npy', 'mask-npy', 'overlay', 'heatmap')
    """
    of, there = "volume" if volume else "image", {None, *(["dicom"] if dicom else []), *(["image"] if image else [])}
    names = registry.names_for(FORMS, kind)
    return tuple(name for name in names if of in FORMS[name].traits["of"] and FORMS[name].traits.get("needs") in there)


def media_type(name: str) -> str:
    """Return the media type of a form, with the parameter ``form`` where several forms share it."""
    return str(FORMS[name].traits["media"])


def suffix(name: str) -> str:
    """Return how the name of a file of this form ends."""
    return str(FORMS[name].traits["suffix"])


def encode(made: Made, name: str) -> bytes:
    """Return an answer in a form; the same answer always gives the same bytes.

    Args:
        made: The answer and what it was made from.
        name: A name of ``medloom.registry.FORMS``.

    Raises:
        FormError: If this answer has no such form, with the reason.
        UserError: If there is no such form at all.
        MissingExtraError: If the form needs a library that is not installed.
    """
    registry.check_name("form", name, FORMS)
    volume = made.prediction.volume
    others = forms_for(made.target.kind, volume=volume, dicom=True)
    if name not in others:
        raise FormError(
            f"the answer to {'a volume' if volume else 'an image'} has no form {name}; there are {', '.join(others)}"
        )
    form = FORMS[name]
    with unlogged():  # such as a name without a caret, which highdicom finds worth a warning
        return cast("Callable[[Made], bytes]", registry.load(form))(made)
