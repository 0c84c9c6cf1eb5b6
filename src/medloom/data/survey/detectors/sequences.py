"""A file for each sequence of a patient, and a mask beside them: BraTS, and others that are laid out like it.

``BraTS20_Training_001/BraTS20_Training_001_flair.nii.gz``, ``…_t1.nii.gz``, …, ``…_seg.nii.gz``; since 2023
``BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from medloom.data.survey.files import File, Folders
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.pairing import MaskKind
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect"]

_BRATS = re.compile(r"brats", re.IGNORECASE)
_CLASSES = {
    (0, 1, 2, 4): {"background": 0, "necrotic": 1, "oedema": 2, "enhancing": 4},
    (0, 1, 2, 3): {"background": 0, "necrotic": 1, "oedema": 2, "enhancing": 3},
}
_FEWEST, _MOST = 2, 8
_SOME = 0.5
"""A sequence that fewer patients have is left out; of the others, ``prepare`` names whom one is missing."""


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading if nearly every mask has files beside it that are called as it is but for the sequence."""
    beside: dict[Folders, list[File]] = defaultdict(list)
    for file in seen.pairing.images:
        beside[file.folders].append(file)
    for kind, masks in seen.pairing.kinds.items():
        if not kind.folder and kind.after and len(masks) >= _FEWEST:
            yield from _reading(seen, kind, [mask for mask, _ in masks], beside)


def _reading(seen: Seen, kind: MaskKind, masks: Sequence[File], beside: dict[Folders, list[File]]) -> Iterator[Reading]:
    mark = kind.after[0]
    counts: Counter[str] = Counter()
    suffixes: Counter[str] = Counter()
    for mask in masks:
        head = f"{kind.bare(mask.stem)}{mark}"
        found = [file for file in beside[mask.folders] if file.stem.startswith(head)]
        counts.update(file.stem.removeprefix(head) for file in found)
        suffixes.update(file.suffix for file in found)
    channels = sorted(name for name, count in counts.items() if count >= _SOME * len(masks) and "{" not in name)
    if mark.isalnum() or not _FEWEST <= len(channels) <= _MOST:
        return
    own = all(mask.folders and mask.folders[-1] == kind.bare(mask.stem) for mask in masks)
    head = "{patient}/{patient}" if own else "{patient}"
    brats = all(_BRATS.search(mask.stem) for mask in masks)
    whole = f"{counted(len(masks), 'mask has', 'masks have')} {counted(len(channels), 'sequence')} beside it"
    yield Reading(
        f"a file for each sequence and a mask ({'BraTS' if brats else ', '.join(channels)})",
        Strength.STATED if brats else Strength.SHOWN,
        (
            Finding("target.kind", "masks", whole),
            Finding("data.layout", "image-mask", f"{whole}, named alike but for the sequence"),
            Finding(
                "data.image",
                f"{head}{mark}{{channel}}{suffixes.most_common(1)[0][0]}",
                "the folder and the name are the patient's"
                if own
                else "the name without the sequence is the patient's",
                check="" if own or brats else "is it one patient, or one of several images of a patient?",
            ),
            Finding("data.mask", f"{head}{kind.after}{masks[0].suffix}", whole),
            Finding(
                "data.channels",
                channels,
                f"each of them lies beside {min(counts[name] for name in channels):,} or more of {len(masks):,} masks",
            ),
            *(_brats_classes(seen, masks) if brats else ()),
        ),
    )


def _brats_classes(seen: Seen, masks: Sequence[File]) -> Iterator[Finding]:
    """What BraTS calls its values; until 2020 the enhancing tumour was 4."""
    values = {int(value) for look in seen.mask_looks([mask.path for mask in masks]) for value in look.values}
    for known, classes in _CLASSES.items():
        if values <= set(known) and (max(known) in values):
            shown = ", ".join(map(str, sorted(values)))
            yield Finding("target.mask_values", classes, f"masks hold the values {shown}, which BraTS names")
