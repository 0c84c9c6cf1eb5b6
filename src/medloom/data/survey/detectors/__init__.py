"""Families of layouts, a file each. A detector says how it would read the files; ``survey`` tries what it says.

To add one: a file here with ``detect(seen)``, which yields a ``Reading`` where the files look like its family and
nothing where they do not, and a line in ``DETECTORS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from medloom.data.survey.detectors import (
    apart,
    chexpert,
    classes,
    described,
    fundus,
    kermany,
    lgg,
    pairs,
    rsna,
    segmentations,
    sequences,
    tables,
    voc,
)
from medloom.data.survey.findings import Reading
from medloom.data.survey.seen import Seen

__all__ = ["DETECTORS"]

DETECTORS: dict[str, Callable[[Seen], Iterable[Reading]]] = {
    "lgg": lgg.detect,
    "kermany": kermany.detect,
    "chexpert": chexpert.detect,
    "rsna": rsna.detect,
    "fundus": fundus.detect,
    "voc": voc.detect,
    "described": described.detect,
    "segmentations": segmentations.detect,
    "sequences": sequences.detect,
    "pairs": pairs.detect,
    "apart": apart.detect,
    "tables": tables.detect,
    "classes": classes.detect,
}
"""What each family is called, and what looks for it."""
