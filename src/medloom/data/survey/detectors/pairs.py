"""Masks beside their images or in a folder beside theirs, however the folders are called: the layout ``image-mask``.

Publishers that are read this way: ISIC 2018 (``…_Input/x.jpg``, ``…_GroundTruth/x_segmentation.png``), Kvasir-SEG
(``images``, ``masks``), COVID-QU (``images``, ``lung masks``, ``infection masks``), and most sets without a name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import is_part, is_store, looks_like_people, says_mask, with_split, words
from medloom.data.survey.pairing import MaskKind, Pair, Pairing
from medloom.data.survey.patterns import Patterns, patterns_of
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["NO_CLASS", "detect", "pattern_reading"]

_FEWEST = 2
_MASKS = Finding("target.kind", "masks", "")
_MOST_CLASSES = 20
NO_CLASS = frozenset({"all", "binary", "ground", "png", "st", "test", "tr", "train", "training", "ts", "val"})


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield a reading for each kind of masks that belong to images; folders of published parts are of one kind."""
    found = seen.pairing
    bases = {kind: base for kind in found.kinds if (base := _base(kind, found)) is not None}
    parts: dict[MaskKind, list[MaskKind]] = defaultdict(list)
    for kind in found.kinds:
        if kind not in bases:
            parts[replace(kind, folder=with_split(kind.folder))].append(kind)
    for whole, kinds in parts.items():
        pairs = [pair for kind in kinds for pair in found.pairs(kind)]
        more = sum(len(found.kinds[other]) for other, base in bases.items() if base in kinds)
        if len(pairs) < _FEWEST:
            yield from _alone(kinds, found)
        elif len(kinds) == 1:
            for likely in found.candidates(kinds[0]):
                yield pattern_reading(found, kinds[0], likely, more)
        else:
            together = [replace(pair, beside=with_split(pair.beside)) for pair in pairs]
            yield pattern_reading(found, whole, together, more)


def _alone(kinds: Sequence[MaskKind], found: Pairing) -> Iterator[Reading]:
    """Refuse masks that belong to no image."""
    count = sum(len(found.kinds[kind]) for kind in kinds)
    if count >= _FEWEST:
        said = f"{counted(count, 'file seems to be a mask', 'files seem to be masks')}, and no image is named as it is"
        yield Reading(f"masks ({_spoken(kinds[0])})", Strength.NAMED, (_MASKS,), refused=said)


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
    if len({pair.beside for pair in pairs}) > 1:
        patterns: Patterns | str = "the images of its parts lie in folders of different names"
    else:
        patterns = patterns_of(kind, pairs, found.images, parts=more > 0)
    name = f"images with a mask each ({_spoken(kind)})"
    if isinstance(patterns, str):
        return Reading(name, Strength.SHOWN, (_MASKS,), refused=patterns)
    return Reading(name, Strength.SHOWN, tuple(_findings(found, pairs, patterns, more)), lesion=_called(kind))


def _findings(found: Pairing, pairs: Sequence[Pair], patterns: Patterns, more: int) -> Iterator[Finding]:
    images = len(found.images)
    share = f"{len(pairs):,} of {counted(images, 'image has', 'images have')} one"
    several = f"; {counted(more, 'further mask')} of the same images, whose foreground is joined" if more else ""
    yield Finding("target.kind", "masks", f"mask: {share}{several}")
    named = f"each of {counted(len(pairs), 'mask')} is named as its image is"
    yield Finding("data.layout", "image-mask", named, check=_may_be_classes(pairs))
    yield Finding("data.image", patterns.image, patterns.patient or "{sample} tells images apart")
    yield Finding("data.mask", patterns.mask, f"{share}{several}")


def _may_be_classes(pairs: Sequence[Pair]) -> str:
    """Say so where a few folders hold images and masks and may be classes."""
    above = {pair.mask.folders[pair.depth - 1] for pair in pairs if pair.depth}
    if not 2 <= len(above) <= _MOST_CLASSES or any(map(is_part, above)) or is_store(above) or looks_like_people(above):
        return ""
    return f"images and masks lie in {len(above)} folders that may be classes; this recipe predicts masks"


def _called(kind: MaskKind) -> str:
    """What the foreground is, where the name of the masks says more than that they are masks."""
    said = [word for word in words(kind.folder) if word.isalpha() and not says_mask(word) and word not in NO_CLASS]
    return said[0] if len(said) == 1 and len(words(kind.folder)) == 2 else ""


def _spoken(kind: MaskKind) -> str:
    where = f"in {kind.folder}" if kind.folder else "beside it"
    called = f"{kind.before or '…'}{kind.after}"
    return where if called == "…" else f"{where}, named {called}"
