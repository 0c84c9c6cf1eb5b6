"""Masks beside their images or in a folder beside theirs, however the folders are called: the layout ``image-mask``.

Publishers that are read this way: ISIC 2018 (``…_Input/x.jpg``, ``…_GroundTruth/x_segmentation.png``), Kvasir-SEG
(``images``, ``masks``), COVID-QU (``images``, ``lung masks``, ``infection masks``), and most sets without a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import says_mask, words
from medloom.data.survey.pairing import MaskKind, Pair, Pairing
from medloom.data.survey.patterns import Patterns, patterns_of
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect", "pattern_reading"]

_FEWEST = 2
_NO_CLASS = frozenset({"all", "binary", "ground", "png", "st", "test", "tr", "train", "training", "ts", "val"})


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield a reading for each kind of masks that belong to images."""
    found = seen.pairing
    bases = {kind: base for kind in found.kinds if (base := _base(kind, found)) is not None}
    for kind in found.kinds:
        pairs = found.pairs(kind)
        if kind not in bases and len(pairs) >= _FEWEST:
            more = sum(len(found.kinds[other]) for other, base in bases.items() if base == kind)
            yield pattern_reading(found, kind, pairs, more)


def _base(kind: MaskKind, found: Pairing) -> MaskKind | None:
    """The kind of which another one is the second mask of an image, as ``_mask_1`` is of ``_mask``."""
    plain = re.sub(r"[_ -]?\d+$", "", kind.after)
    other = MaskKind(kind.folder, kind.before, plain)
    return other if plain != kind.after and other in found.kinds else None


def pattern_reading(found: Pairing, kind: MaskKind, pairs: Sequence[Pair], more: int = 0) -> Reading:
    """Return the reading of one kind of masks.

    Args:
        found: Images and masks.
        kind: The kind.
        pairs: Its masks with their images.
        more: How many further masks of the same images there are.
    """
    patterns = patterns_of(kind, pairs, parts=more > 0)
    name = f"images with a mask each ({_spoken(kind)})"
    if isinstance(patterns, str):
        return Reading(name, Strength.SHOWN, (Finding("target.kind", "masks", ""),), refused=patterns)
    return Reading(name, Strength.SHOWN, tuple(_findings(found, pairs, patterns, more)), lesion=_called(kind))


def _findings(found: Pairing, pairs: Sequence[Pair], patterns: Patterns, more: int) -> Iterator[Finding]:
    images = len(found.images)
    share = f"{len(pairs):,} of {counted(images, 'image has', 'images have')} one"
    several = f"; {counted(more, 'further mask')} of the same images, whose foreground is joined" if more else ""
    yield Finding("target.kind", "masks", f"mask: {share}{several}")
    yield Finding("data.layout", "image-mask", f"each of {counted(len(pairs), 'mask')} is named as its image is")
    yield Finding("data.image", patterns.image, patterns.patient or "{sample} tells images apart")
    yield Finding("data.mask", patterns.mask, f"{share}{several}")


def _called(kind: MaskKind) -> str:
    """What the foreground is, where the name of the masks says more than that they are masks."""
    said = [word for word in words(kind.folder) if word.isalpha() and not says_mask(word) and word not in _NO_CLASS]
    return said[0] if len(said) == 1 and len(words(kind.folder)) == 2 else ""


def _spoken(kind: MaskKind) -> str:
    where = f"in {kind.folder}" if kind.folder else "beside it"
    called = f"{kind.before or '…'}{kind.after}"
    return where if called == "…" else f"{where}, named {called}"
