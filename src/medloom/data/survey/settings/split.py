"""A split that the files come in: whether it is worth keeping."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from medloom.data.survey.findings import Finding
from medloom.data.survey.names import is_part
from medloom.data.survey.settings.known import Known
from medloom.wording import counted

__all__ = ["split_findings"]

_SMALL_VALIDATION = 30


def split_findings(known: Known) -> Iterator[Finding]:
    """Yield what a published split is worth, and that its parts are not kept where the layout does not know them."""
    parts = known.trial.published
    if not parts:
        yield from _not_kept(known)
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
    why += [f"{counted(shared, 'patient is', 'patients are')} in several parts"] if shared else []
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


def _not_kept(known: Known) -> Iterator[Finding]:
    """Say that the files come in parts that the layout does not take."""
    folders = {folder for path in known.trial.images for folder in path.split("/")[:-1]}
    parts = sorted(filter(is_part, folders))
    if len(parts) > 1:
        yield Finding(
            "split.by",
            "patient",
            f"the files come in the parts {', '.join(parts)}, which are not kept: all are divided anew",
            instead="the published parts: list their patients in a CSV and name it in split.file",
        )
