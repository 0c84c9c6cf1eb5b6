"""Masks beside their images or in a folder beside theirs, however the folders are called: the layout ``image-mask``.

Publishers that are read this way: ISIC 2018 (``…_Input/x.jpg``, ``…_GroundTruth/x_segmentation.png``), Kvasir-SEG
(``images``, ``masks``), COVID-QU (``images``, ``lung masks``, ``infection masks``), and most sets without a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medloom.data.survey.files import Folders
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import looks_like_people, says_mask, words
from medloom.data.survey.pairing import MaskKind, Pair, Pairing
from medloom.data.survey.people import template
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect", "pattern_reading"]

_FEWEST = 2
_NO_CLASS = frozenset({"all", "binary", "ground", "png", "st", "test", "tr", "train", "training", "ts", "val"})


@dataclass(frozen=True)
class _Patterns:
    """What ``data.image`` and ``data.mask`` are to be, and what speaks for the patient in them."""

    image: str
    mask: str
    patient: str = ""


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield a reading for each kind of masks that belong to images."""
    found = seen.pairing
    numbered = [kind for kind in found.kinds if _base(kind, found) is not None]
    for kind in found.kinds:
        pairs = found.pairs(kind)
        if kind in numbered or len(pairs) < _FEWEST:
            continue
        more = sum(len(found.kinds[other]) for other in numbered if _base(other, found) == kind)
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
    patterns = _patterns(kind, pairs)
    name = f"images with a mask each ({_spoken(kind)})"
    if isinstance(patterns, str):
        return Reading(name, Strength.SHOWN, (Finding("target.kind", "masks", ""),), refused=patterns)
    refused = ""
    if more:
        refused = (
            f"{counted(more, 'image has', 'images have')} a second mask, such as {kind.after}_1; join the masks "
            "of an image into one file"
        )
    return Reading(
        name,
        Strength.SHOWN,
        tuple(_findings(found, pairs, patterns)),
        lesion=_called(kind),
        refused=refused,
    )


def _findings(found: Pairing, pairs: Sequence[Pair], patterns: _Patterns) -> Iterator[Finding]:
    images = len(found.images)
    share = f"{len(pairs):,} of {counted(images, 'image has', 'images have')} one"
    yield Finding("target.kind", "masks", f"mask: {share}")
    yield Finding("data.layout", "image-mask", f"each of {counted(len(pairs), 'mask')} is named as its image is")
    yield Finding("data.image", patterns.image, patterns.patient or "{sample} tells images apart")
    yield Finding("data.mask", patterns.mask, share)


def _called(kind: MaskKind) -> str:
    """What the foreground is, where the name of the masks says more than that they are masks."""
    said = [word for word in words(kind.folder) if word.isalpha() and not says_mask(word) and word not in _NO_CLASS]
    return said[0] if len(said) == 1 and len(words(kind.folder)) == 2 else ""


def _spoken(kind: MaskKind) -> str:
    where = f"in {kind.folder}" if kind.folder else "beside it"
    called = f"{kind.before or '…'}{kind.after}"
    return where if called == "…" else f"{where}, named {called}"


def _patterns(kind: MaskKind, pairs: Sequence[Pair]) -> _Patterns | str:
    """The patterns, or why there are none."""
    suffixes = Counter((pair.image.suffix, pair.mask.suffix) for pair in pairs).most_common(1)[0][0]
    below = _below(kind, pairs)
    if below is None:
        return "the folders between those of images or masks and the files are neither parts nor patients"
    above, patient = _above(kind, pairs, below)
    sample, said = _sample(pairs, kind) if not patient and "{patient}" not in below else ("{sample}", patient)
    if "{patient}" in below:
        said = f"{counted(_people(pairs, below), 'folder')} named as those of patients are"
    image = "/".join([*above, *_named(pairs[0].beside), *below, f"{sample}{pairs[0].ending}{suffixes[0]}"])
    mask = "/".join([*above, *_named(kind.folder), *below, f"{kind.before}{sample}{kind.after}{suffixes[1]}"])
    return _Patterns(image, mask, said)


def _named(folder: str) -> list[str]:
    return [folder] if folder else []


def _below(kind: MaskKind, pairs: Sequence[Pair]) -> list[str] | None:
    """Folders between that of the masks and the files: as they are called, or ``{patient}``."""
    if not kind.folder:
        return []
    inside = [_inside(pair) for pair in pairs]
    if len(set(map(len, inside))) > 1:
        return None
    parts = []
    for names in zip(*inside, strict=True):
        if len(set(names)) == 1:
            parts.append(names[0])
        elif looks_like_people(names) and "{patient}" not in parts:
            parts.append("{patient}")
        else:
            return None
    return parts


def _inside(pair: Pair) -> Folders:
    return pair.mask.folders[pair.depth + 1 :]


def _people(pairs: Sequence[Pair], below: Sequence[str]) -> int:
    place = list(below).index("{patient}")
    return len({_inside(pair)[place] for pair in pairs})


def _above(kind: MaskKind, pairs: Sequence[Pair], below: Sequence[str]) -> tuple[list[str], str]:
    """``{patient}`` where the folder above images and masks is the patient's, with what speaks for it."""
    names = [pair.mask.folders[pair.depth - 1] for pair in pairs if pair.depth]
    if "{patient}" in below or len(names) < len(pairs) or not looks_like_people(names):
        return [], ""
    return ["{patient}"], f"{counted(len(set(names)), 'folder')} named as those of patients are"


def _sample(pairs: Sequence[Pair], kind: MaskKind) -> tuple[str, str]:
    """The part of the name that is the sample, with the patient in it where the numbers say so."""
    stems = [kind.bare(pair.mask.stem) for pair in pairs]
    found = template(stems)
    if found is None:
        return "{sample}", ""
    before, between = found
    if any(not part.isascii() or "{" in part for part in found):
        return "{sample}", ""
    return (
        f"{before}{{patient}}{between}{{sample}}",
        "the first number in the names repeats, as that of a patient with several images does",
    )
