"""LGG MRI Segmentation (Buda et al. 2019): a folder for each patient of TCGA, three sequences in one TIFF.

``kaggle_3m/TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_1.tif`` with ``…_1_mask.tif``; Kaggle's archive holds all twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import spread
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect"]

_NAME = re.compile(r"(?:.*/)?(?P<patient>TCGA_\w\w_\w{4}_\d{8})/(?P=patient)_\d+(?P<mask>_mask)?\.tif")
_FIRST = 50
_SEQUENCES = ["pre-contrast", "FLAIR", "post-contrast"]


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading if nearly all images are named as this set names them, and are TIFFs of three channels."""
    if not any(map(_NAME.fullmatch, spread(seen.images, _FIRST))):
        return
    found = [match for name in seen.images if (match := _NAME.fullmatch(name))]
    slices = tuple(match[0] for match in found if not match["mask"])
    masks = tuple(match[0] for match in found if match["mask"])
    if not slices or not masks or len(found) < 0.9 * len(seen.images):
        return
    if any(look.channels != len(_SEQUENCES) for look in seen.image_looks(slices) if not look.refused):
        return
    names = f"{counted(len(found), 'file is', 'files are')} named as those of LGG MRI Segmentation"
    yield Reading(
        "LGG MRI Segmentation: a folder for each patient, a mask beside each slice",
        Strength.STATED,
        (
            Finding("target.kind", "masks", f"{counted(len(masks), 'mask')} beside {counted(len(slices), 'slice')}"),
            Finding(
                "data.layout",
                "lgg-mri",
                f"{names}: <patient>/<slice>.tif with <slice>_mask.tif",
                instead="image-mask with patterns, which would take a second copy of the set for other patients",
            ),
            Finding(
                "data.channels",
                _SEQUENCES,
                "TIFFs of three channels; the publisher says which sequence each is",
                check="where a sequence was missing, the publisher put a copy of FLAIR in its place",
            ),
        ),
    )
