"""A recipe for masks: values and names of the classes, and a network to begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from medloom.data.survey.findings import Finding
from medloom.data.survey.settings.known import Known
from medloom.data.survey.settings.network import mask_network
from medloom.data.survey.settings.split import split_findings
from medloom.data.survey.settings.training import training

__all__ = ["findings"]

_HALF = 0.5
_VOID = 255


def findings(known: Known) -> Iterator[Finding]:
    """Yield the keys for masks."""
    looks = [look for look in known.seen.mask_looks(known.trial.masks) if not look.refused]
    values = Counter(value for look in looks for value in look.values)
    if "target.mask_values" not in known.trial.reading.values:
        yield from _classes(sorted(values), len(looks), known.trial.reading.lesion)
    drifting = sum(look.drifts for look in looks)
    if drifting:
        yield Finding(
            "target.mask_tolerance", 127, f"{drifting} of {len(looks)} masks looked into are JPEG, whose values drift"
        )
    full = sum(look.foreground for look in looks)
    yield from split_findings(known)
    network = mask_network(known)
    yield from network.findings
    yield Finding("loss.name", "dice-ce", "Dice finds small lesions, cross-entropy keeps empty images empty")
    yield Finding("loss.args", {"batch": True}, "over the whole batch, so that empty images count")
    if full < _HALF * len(looks):
        yield Finding("train.positive_share", _HALF, f"{full} of {len(looks)} masks looked into have any foreground")
    if network.pretrained:
        yield from training(known, rate=0.001, gpu_epochs=20)
    else:
        yield from training(known, rate=0.005, gpu_epochs=60)
    yield Finding("train.monitor", "dice_balanced", "images with a lesion and empty ones count alike")


def _classes(values: Sequence[float], looked: int, name: str) -> Iterator[Finding]:
    numbers = [int(value) for value in values]
    said = f"{looked} masks looked into hold the values {', '.join(map(str, numbers))}"
    classes = numbers if 0 in numbers else [0, *numbers]
    if classes[-1] == _VOID and len(classes) > 3 and classes[:-1] == list(range(len(classes) - 1)):
        yield Finding(
            "target.ignore",
            _VOID,
            f"{said}; 255 is what tools give to pixels that nobody is to count",
            check="is 255 a class of its own?",
        )
        classes = classes[:-1]
    if len(classes) == 2:
        names = {"background": classes[0], name or "lesion": classes[1]}
        yield Finding("target.mask_values", names, said, check="" if name else "what the foreground is called")
        return
    names = {"background": classes[0], **{f"class-{value}": value for value in classes[1:]}}
    yield Finding("target.mask_values", names, said, check="what the classes are called, and whether there are others")
