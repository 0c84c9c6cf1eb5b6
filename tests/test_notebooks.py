"""The notebooks of the documentation: stored clean, and each runs from its first cell to its last."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code_of(path):
    return [cell["source"] for cell in nbformat.read(path, as_version=4).cells if cell["cell_type"] == "code"]


def test_there_is_one_for_each_step():
    assert [path.stem for path in NOTEBOOKS] == ["01-data", "02-train-and-deploy", "03-study", "04-review"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_anything_of_who_ran_it(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert [cell for cell in book.cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not re.search(r"/(home|Users|root|tmp)/|[A-Z]:\\\\", path.read_text("utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path):
    linked = re.findall(r"\]\(([^)#]+)\)", "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"]))
    linked += re.findall(r"\(([\w-]+\.ipynb)\)", path.read_text("utf-8"))
    assert [name for name in linked if not (FOLDER / name).exists()] == []


@pytest.mark.slow
def test_they_run_one_after_another_on_phantoms(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    shutil.copytree(FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns("work"))
    shown = {}
    for path in NOTEBOOKS:
        book = nbformat.read(tmp_path / "notebooks" / path.name, as_version=4)
        client = NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path / "notebooks")}})
        client.execute()
        shown[path.stem] = [output for cell in book.cells for output in cell.get("outputs", ())]
    pictures = {name: sum("image/png" in one.get("data", {}) for one in found) for name, found in shown.items()}
    assert pictures == {"01-data": 2, "02-train-and-deploy": 2, "03-study": 1, "04-review": 4}
    work = tmp_path / "notebooks" / "work"
    for made in (
        "runs/brain-mri-small/data_report.html",
        "runs/brain-mri-small/model.tar.gz",
        "studies/brain-mri-small/tuning_report.html",
        "review/today/report.html",
    ):
        assert (work / made).is_file(), made
