"""A recipe for labels: the published split, and a network to begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from medloom.data.survey.findings import Finding
from medloom.data.survey.settings.known import Known
from medloom.data.survey.settings.network import label_network
from medloom.data.survey.settings.split import split_findings
from medloom.data.survey.settings.training import training

__all__ = ["class_findings", "number_findings", "several_findings"]

_UNEVEN = 1.5


def class_findings(known: Known) -> Iterator[Finding]:
    """Yield the keys for one class of several."""
    yield from split_findings(known)
    yield from label_network(known).findings
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
    yield from split_findings(known)
    yield from label_network(known).findings
    yield from training(known, rate=0.0005, gpu_epochs=20)


def number_findings(known: Known) -> Iterator[Finding]:
    """Yield the keys for numbers."""
    yield from split_findings(known)
    yield from label_network(known).findings
    yield from training(known, rate=0.0005, gpu_epochs=20)
