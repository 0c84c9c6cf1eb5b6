"""The notebook of a report; that it runs and prints the numbers of the report is seen in tests/e2e/test_pages.py."""

from __future__ import annotations

import ast

import nbformat
import pytest

from medloom.files import write_json
from medloom.reports import write_notebook
from medloom.reports.sections import KINDS


@pytest.fixture(params=["masks", "binary"])
def made(request, tmp_path):
    def write(part="test"):
        write_json(tmp_path / "prepare.json", {"phantom": True, "target": {"kind": request.param}})
        return write_notebook(tmp_path, part)

    return write


def test_it_is_a_sound_notebook_that_has_not_run_and_is_written_the_same_way_each_time(made):
    path = made()
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 8
    assert all(cell.execution_count is None and not cell.outputs for cell in code)
    assert path.read_bytes() == made().read_bytes()


def test_its_cells_need_pandas_and_matplotlib_alone(made):
    notebook = nbformat.read(made(), as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "@" not in source.replace("== @PART", "")
    tree = ast.parse(source)
    imported = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"json", "pathlib", "matplotlib", "pandas"}


def test_it_reads_what_it_is_asked_to_show_and_says_phantom(made):
    text = made("validation").read_text()
    assert "evaluation/validation" in text
    assert "phantoms" in text


def test_every_kind_of_answer_has_cells():
    assert {section.notebook for section in KINDS.values()} == {"notebook_masks.txt", "notebook_labels.txt"}
