"""``medloom names``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result, table
from medloom.extras import require
from medloom.registry import Entry, Metric, check_name

if TYPE_CHECKING:
    from medloom.targets import Kind

__all__ = ["command"]

_Named = Mapping[str, "Entry | Metric | Kind | str"]


def command(
    what: Annotated[
        str, typer.Argument(metavar="[WHAT]", help="networks, backbones, encoders, losses, metrics, layouts, ...")
    ] = "",
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only what is for this target.kind, such as masks.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what a recipe may name, for people and programs; without WHAT, what there are lists of.

    `backbones` and `encoders` are those of timm, of which there are more than a thousand; --json lists all of them as
    well.
    """
    from medloom.targets import KINDS

    if kind is not None:
        check_name("kind", kind, KINDS)
    if not what:
        lists = {name: said for name, (said, _) in _LISTS.items()}
        print_result(lists, table(list(lists.items()), indent=""), as_json=as_json)
        return
    check_name("list", what, _LISTS)
    found = {name: entry for name, entry in _LISTS[what][1]().items() if kind is None or _is_for(entry, kind)}
    plain = {name: _plain(entry) for name, entry in found.items()}
    rows = [(name, str(facts["summary"])) for name, facts in plain.items()]
    print_result(plain, table(rows, indent=""), as_json=as_json)


def _table(attribute: str) -> Callable[[], _Named]:
    def read() -> _Named:
        from medloom import registry

        named: _Named = getattr(registry, attribute)
        return named

    return read


def _of_timm(which: str) -> Callable[[], _Named]:
    def read() -> _Named:
        require("torch", "train")
        from medloom.models import listing  # torch and timm take seconds

        named: _Named = getattr(listing, which)()
        return named

    return read


def _kinds() -> _Named:
    from medloom.targets import KINDS

    return KINDS


def _presets() -> _Named:
    from medloom.recipe.presets import PRESETS

    return {str(name): text for name, text in PRESETS.items()}


_LISTS: dict[str, tuple[str, Callable[[], _Named]]] = {
    "kinds": ("what can be predicted: target.kind", _kinds),
    "networks": ("networks for masks: model.name", _table("NETWORKS")),
    "encoders": ("encoders of the networks smp-*: model.encoder", _of_timm("encoders")),
    "backbones": ("networks for labels: model.name", _of_timm("backbones")),
    "weights": ("published weights: model.weights", _table("WEIGHTS")),
    "losses": ("losses: loss.name", _table("LOSSES")),
    "metrics": ("validation metrics: train.monitor", _table("METRICS")),
    "layouts": ("how files are arranged: data.layout", _table("LAYOUTS")),
    "formats": ("image formats that are read", _table("FORMATS")),
    "runtimes": ("what computes a bundle's answers: package.runtime", _table("RUNTIMES")),
    "precisions": ("in what a bundle's network is computed: package.precision", _table("PRECISIONS")),
    "trackers": ("where runs are tracked: tracking.trackers", _table("TRACKERS")),
    "backends": ("where work is done: --backend", _table("BACKENDS")),
    "presets": ("how much work goes into a run: --preset", _presets),
}


def _is_for(entry: object, kind: str) -> bool:
    kinds: tuple[str, ...] = getattr(entry, "kinds", ())
    return not kinds or kind in kinds


def _plain(entry: object) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"summary": entry}
    return {"summary": getattr(entry, "summary", ""), "kinds": list(getattr(entry, "kinds", ()))}
