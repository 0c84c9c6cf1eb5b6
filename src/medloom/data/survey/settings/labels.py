"""A recipe for labels: the published split, and a network to begin with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from medloom.data.survey.findings import Finding
from medloom.data.survey.settings.known import Known
from medloom.data.survey.settings.training import training

__all__ = ["class_findings", "number_findings", "several_findings"]

_SMALL_VALIDATION = 30
_UNEVEN = 1.5


def class_findings(known: Known) -> Iterator[Finding]:
    """Yield the keys for one class of several."""
    yield from _split(known)
    yield from _network()
    counts = Counter(item.labels for item in known.trial.listing.items)
    most, least = max(counts.values()), min(counts.values())
    if most > _UNEVEN * least:
        yield Finding(
            "loss.args",
            {"class_weights": "balanced"},
            f"the classes have {least:,} to {most:,} images: the rare ones count more",
        )
    yield from training(known, rate=0.0005, gpu_epochs=20)


def several_findings(known: Known) -> Iterator[Finding]:
    """Yield the keys for any of several labels."""
    yield from _network()
    yield from training(known, rate=0.0005, gpu_epochs=20)


def number_findings(known: Known) -> Iterator[Finding]:
    """Yield the keys for numbers."""
    yield from _network()
    yield from training(known, rate=0.0005, gpu_epochs=20)


def _network() -> Iterator[Finding]:
    yield Finding(
        "model.name",
        "resnet18",
        "small and well understood",
        instead="efficientnet_b0, densenet121 or another of timm; model.weights=imagenet where the hub can be reached",
    )


def _split(known: Known) -> Iterator[Finding]:
    """What a published split is worth."""
    parts = known.trial.published
    if not parts:
        return
    said = ", ".join(f"{part} {count:,}" for part, count in sorted(parts.items()))
    absent = [part for part in ("train", "test") if not parts[part]]
    if absent:
        yield Finding(
            "split.published",
            "ignore",
            f"published parts: {said}; there is no {' and no '.join(absent)}, so all are divided anew",
        )
        return
    shared = _shared(known)
    few = 0 < parts["validation"] < _SMALL_VALIDATION
    if not shared and not few:
        yield Finding("split.published", "respect", f"published parts: {said}")
        return
    why = [*(["too few to choose anything by in validation"] if few else [])]
    why += [f"{shared} patients are in several parts"] if shared else []
    yield Finding(
        "split.published",
        "repair",
        f"published parts: {said}; {' and '.join(why)}. Test stays as it is, validation is drawn from the rest",
        instead="respect",
    )


def _shared(known: Known) -> int:
    """How many patients are in several published parts."""
    parts: dict[str, set[str]] = defaultdict(set)
    for item in known.trial.listing.items:
        if item.known:
            parts[item.patient].add(item.published)
    return sum(len(found) > 1 for found in parts.values())
