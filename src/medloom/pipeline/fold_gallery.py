"""The galleries of several folds as one: what is the worst, or the best, of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from medloom.evaluation.gallery import SHOWN as SLICES_SHOWN
from medloom.evaluation.label_gallery import SHOWN as MISTAKES_SHOWN
from medloom.evaluation.label_gallery import WORST_BY
from medloom.files import read_json, write_bytes, write_json
from medloom.pipeline.runs import Run

__all__ = ["gather_gallery"]

Item = dict[str, Any]
Order = Callable[[Item], tuple[float, ...]]


def gather_gallery(whole: Run, folds: Sequence[Run]) -> None:
    """Write the gallery of the whole, with copies of the pictures; every case is the test case of one fold.

    Args:
        whole: The run of the whole.
        folds: Their runs, each measured.
    """
    found = [read_json(fold.folder / "evaluation" / "gallery.json") for fold in folds]
    if whole.recipe.task == "classification":
        by = WORST_BY.get(whole.recipe.data.labels.kind, "score")
        gallery: Any = _first(whole, folds, found, lambda item: (-item[by],), MISTAKES_SHOWN)
    else:
        groups = []
        for place, group in enumerate(found[0]["groups"]):
            items = [one["groups"][place]["items"] for one in found]
            order = _best_first if group["name"] == "best" else _worst_first
            groups.append({**group, "items": _first(whole, folds, items, order, SLICES_SHOWN)})
        gallery = {**found[0], "groups": groups}
    write_json(whole.folder / "evaluation" / "gallery.json", gallery)


def _worst_first(item: Item) -> tuple[float, ...]:
    return (item["dice"], -item["truth_px"] - item["predicted_px"])


def _best_first(item: Item) -> tuple[float, ...]:
    return (-item["dice"], -item["truth_px"])


def _first(whole: Run, folds: Sequence[Run], found: Sequence[list[Item]], order: Order, count: int) -> list[Item]:
    """The first items of all folds in an order, with their pictures."""
    pairs = [(item, fold) for fold, items in zip(folds, found, strict=True) for item in items]
    chosen = sorted(pairs, key=lambda pair: order(pair[0]))[:count]
    for item, fold in chosen:
        for name in {item[key] for key in ("file", "heatmap") if key in item}:
            write_bytes(whole.folder / "evaluation" / name, (fold.folder / "evaluation" / name).read_bytes())
    return [item for item, _ in chosen]
