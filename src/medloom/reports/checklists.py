"""The checklists of TRIPOD+AI and CLAIM, filled where the run knows the answer; the rest is for the authors.

The items are told in our own words; the statements themselves are what counts. Sources: Collins et al., TRIPOD+AI
statement, BMJ 2024;385:e078378; Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024
update, Radiology: Artificial Intelligence 2024;6(4):e240300.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medloom.evaluation.parts import Part, evaluation_folder, read_summary
from medloom.files import read_json, write_text
from medloom.reports.answers import ANSWERS, Known
from medloom.reports.facts import CHECKLISTS, read_facts, read_recipe
from medloom.reports.html import render
from medloom.reports.openings import openings_sentence
from medloom.reports.plain import plain_words
from medloom.reports.run_report import caveats
from medloom.wording import counted

__all__ = ["write_checklists"]

FOR_THE_AUTHORS = "for the authors to fill"
_LISTS = {
    "TRIPOD+AI": ("tripod_ai.csv", "Collins et al., BMJ 2024;385:e078378"),
    "CLAIM": ("claim.csv", "Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300"),
}
_HEAD = ("checklist", "item", "asks", "answer", "where")


def write_checklists(run_dir: Path, part: Part = "test") -> Path:
    """Write ``checklists.csv`` and, of the same rows, ``checklists.html``.

    Args:
        run_dir: The run directory; ``prepare.json`` must be there.
        part: Which metrics are told.

    Returns:
        The path of the page.
    """
    known = _known(run_dir, part)
    rows = _rows(known)
    table, page = (run_dir / name for name in CHECKLISTS)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_HEAD, *rows])
    write_text(table, text.getvalue())
    write_text(page, _page(rows, known))
    return page


def _known(run_dir: Path, part: Part) -> Known:
    prepared, summary = read_json(run_dir / "prepare.json"), read_summary(run_dir, part)
    folder = evaluation_folder(run_dir, part)
    return Known(
        prepared,
        read_recipe(run_dir / "recipe.yaml"),
        training=read_facts(run_dir / "training.json"),
        summary=summary,
        environment=read_facts(run_dir / "run.json").get("environment", {}),
        openings=openings_sentence(run_dir),
        limits=tuple(caveats(prepared, summary)) if summary else (),
        gallery=read_facts(folder / "gallery.json"),
        at=f"{folder.relative_to(run_dir).as_posix()}/",
        appearance=(run_dir / "appearance.json").is_file(),
    )


def _rows(known: Known) -> list[list[str]]:
    """A row for each item; what the run does not know has no place where it is said."""
    rows = []
    for name, (file, _) in _LISTS.items():
        for entry in _items(file):
            answer = ANSWERS[entry["known"]](known) if entry["known"] else None
            said, where = answer or (FOR_THE_AUTHORS, "")
            rows.append([name, entry["item"], entry["asks"], said, where])
    return rows


def _items(file: str) -> list[dict[str, str]]:
    with (Path(__file__).with_name("templates") / file).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def _page(rows: list[list[str]], known: Known) -> str:
    answered = sum(bool(where) for *_, where in rows)
    says = [f"The run answers {answered} of {counted(len(rows), 'item')}; the others are {FOR_THE_AUTHORS}."]
    caveats = [
        "A run knows what it did, not why, and not whom the data are of: read each answer before it goes into a paper.",
        "The items are told in other words than in the statements, which are what a journal asks for.",
    ]
    lists: list[Mapping[str, Any]] = [
        {"title": name, "source": source, "rows": [row[1:] for row in rows if row[0] == name]}
        for name, (_, source) in _LISTS.items()
    ]
    return render(
        "checklists.html",
        phantom=bool(known.prepared["phantom"]),
        plain=plain_words(says, caveats),
        lists=lists,
        name=known.recipe.get("name", "run"),
    )
