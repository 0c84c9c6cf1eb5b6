"""Vessels of the retina: DRIVE and CHASE_DB1, of which each observer, and the field of view, has masks of its own.

DRIVE: ``training/images/21_training.tif`` with ``training/1st_manual/21_manual1.gif``, in ``training/mask`` the view.
CHASE_DB1: ``Image_01L.jpg`` with ``Image_01L_1stHO.png`` and ``Image_01L_2ndHO.png`` beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect"]

_DRIVE = re.compile(r"(?:.*/)?(?P<part>training|test)/1st_manual/\d+_manual1\.gif")
_CHASE = re.compile(r"(?:.*/)?Image_\d{2}[LR](?P<observer>_1stHO|_2ndHO)?\.(?:jpg|png)")


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading of one of these sets."""
    yield from _drive(seen)
    yield from _chase(seen)


def _drive(seen: Seen) -> Iterator[Reading]:
    found = [match for name in seen.images if (match := _DRIVE.fullmatch(name))]
    if not found:
        return
    said = counted(len(found), "mask in 1st_manual", "masks in 1st_manual")
    both = {match["part"] for match in found} == {"training", "test"}
    image, mask = ("{split}/images/{sample}_{split}.tif", "{split}/1st_manual/{sample}_manual1.gif")
    if not both:  # as it is often given away: without the masks of the test part
        image, mask = (pattern.replace("{split}", found[0]["part"]) for pattern in (image, mask))
    other = "mask, which is the field of view and no vessel"
    yield _reading("DRIVE: vessels of the retina by the first observer", said, image, mask, other)


def _chase(seen: Seen) -> Iterator[Reading]:
    found = [match for name in seen.images if (match := _CHASE.fullmatch(name))]
    masks = sum(match["observer"] == "_1stHO" for match in found)
    if not masks or len(found) < len(seen.images):
        return
    pattern = "Image_{patient:2}{sample}"
    other = "_2ndHO, the second observer"
    said = counted(masks, "mask by the first observer", "masks by the first observer")
    yield _reading(
        "CHASE_DB1: vessels of the retina by the first observer", said, f"{pattern}.jpg", f"{pattern}_1stHO.png", other
    )


def _reading(name: str, said: str, image: str, mask: str, other: str) -> Reading:
    patient = "the number is the child, L or R the eye" if "{patient" in image else "{sample} tells images apart"
    return Reading(
        name,
        Strength.STATED,
        (
            Finding("target.kind", "masks", said),
            Finding("data.layout", "image-mask", "images, and masks named as they are"),
            Finding("data.image", image, patient),
            Finding("data.mask", mask, said, instead=other),
        ),
        lesion="vessel",
    )
