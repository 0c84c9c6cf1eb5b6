"""The gallery of a report: pictures with their captions, group by group."""

from __future__ import annotations

from pathlib import Path

from medloom.reports.facts import Facts, read_facts
from medloom.reports.html import data_uri
from medloom.reports.scale import scale_bar

__all__ = ["gallery_context"]


def gallery_context(folder: Path) -> Facts:
    """Return what the template shows of a gallery; a group without a picture is left out.

    Args:
        folder: The ``evaluation`` folder, with ``gallery.json`` where there is one.
    """
    facts = read_facts(folder / "gallery.json")
    groups = [
        {"title": group["title"], "pictures": [_picture(folder, item) for item in group["items"]]}
        for group in facts.get("groups", [])
        if group["items"]
    ]
    heated = any(picture["heatmap"] for group in groups for picture in group["pictures"])
    notes = [facts.get("note", ""), facts.get("heatmaps", "") if heated else ""]
    return {"note": " ".join(filter(None, notes)), "legend": facts.get("legend", []), "groups": groups}


def _picture(folder: Path, item: Facts) -> Facts:
    heatmap = item.get("heatmap")
    return {
        "uri": data_uri(folder / item["file"]),
        "heatmap": data_uri(folder / heatmap) if heatmap else "",
        "caption": item["caption"],
        "scale": scale_bar(item.get("scale")),
    }
