"""The report as a Jupyter notebook that makes each figure again from the files of the run alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medloom.evaluation.parts import Part, evaluation_folder
from medloom.files import read_json, write_text
from medloom.palette import PALETTE
from medloom.reports.sections import KINDS

__all__ = ["NOTEBOOK", "write_notebook"]

NOTEBOOK = "report.ipynb"
"""Its name in a run directory."""

_TEMPLATES = Path(__file__).with_name("templates")
_CELL, _TEXT = "# %%", " [markdown]"
_PHANTOM = "The images are phantoms: nothing here says anything about patients."


def write_notebook(run_dir: Path, part: Part = "test") -> Path:
    """Write ``report.ipynb`` beside ``report.html``; nothing of it has been run yet.

    Args:
        run_dir: The run directory; it must have been measured.
        part: Which metrics are shown.

    Returns:
        The path of the notebook.
    """
    prepared = read_json(run_dir / "prepare.json")
    files = ("notebook_begin.txt", KINDS[prepared["target"]["kind"]].notebook, "notebook_end.txt")
    values = {
        "NAME": run_dir.resolve().name,
        "AT": evaluation_folder(run_dir, part).relative_to(run_dir).as_posix(),
        "PART": part,
        "PALETTE": repr(PALETTE),
        "CAVEAT": _PHANTOM if prepared["phantom"] else "",
    }
    cells = [_cell(number, *found) for number, found in enumerate(_cells(files, values), start=1)]
    path = run_dir / NOTEBOOK
    write_text(path, json.dumps(_notebook(cells), indent=1, ensure_ascii=False) + "\n")
    return path


def _cells(files: tuple[str, ...], values: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    """Whether it is text, and the source of each cell."""
    for file in files:
        source = (_TEMPLATES / file).read_text("utf-8")
        for key, value in values.items():
            source = source.replace(f"@{key}@", value)
        for cell in source.split(f"{_CELL}")[1:]:
            if cell.startswith(_TEXT):
                lines = cell.removeprefix(_TEXT).strip().splitlines()
                yield True, "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
            else:
                yield False, cell.strip()


def _cell(number: int, is_text: bool, source: str) -> dict[str, Any]:
    cell = {"id": f"cell-{number}", "metadata": {}, "source": source.splitlines(keepends=True)}
    if is_text:
        return {"cell_type": "markdown", **cell}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}


def _notebook(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """As nbformat 4.5 has it."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
