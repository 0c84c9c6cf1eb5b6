"""A run directory holds no absolute path: it is moved between each pair of stages, and ends as if it had not been."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from medloom.errors import UserError
from medloom.events import Events, Noted
from medloom.files import read_json, sha256_file, write_json
from medloom.pipeline import Run, evaluate, find_images, find_store, package, prepare, report, train

STAGES = {"prepare": prepare, "train": train, "evaluate": evaluate, "package": package, "report": report}
TABLE = {"metadata": {"numeric": ["age"], "categorical": ["site"]}, "groups": ["site"]}
COMPARED = ("catalogue.csv", "table.json", "model.onnx", "evaluation/cases.csv", "evaluation/summary.json")


class Machine:
    """A folder that stands for a machine: with a cache of its own, a project, and images."""

    def __init__(self, root: Path, patch) -> None:
        self.root, self._patch = root, patch
        (root / "project" / "runs").mkdir(parents=True)

    @property
    def run(self) -> Path:
        return self.root / "project" / "runs" / "mine"

    @property
    def images(self) -> Path:
        return self.root / "project" / "images"

    def use(self) -> Machine:
        self._patch.setenv("MEDLOOM_CACHE", str(self.root / "cache"))
        self._patch.chdir(self.root)
        return self


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine by its name."""
    return lambda name: Machine(tmp_path / name, monkeypatch)


@pytest.fixture
def prepared(machine, pictures, make_recipe):
    """A prepared run on a first machine, with the images beside it."""
    first = machine("first").use()
    shutil.copytree(pictures, first.images)
    run = Run.start(make_recipe(labels=TABLE, model={"metadata": "fused"}), first.run)
    prepare(run, first.images, workers=1)
    return first


def _do(stage: str, folder: Path, **more) -> None:
    STAGES[stage](Run.open(folder), **more)


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_file(folder / name) for name in COMPARED}


def _contents(folder: Path):
    """Every file of a run, and every file of its bundle."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield path.name, path.read_bytes()
    with tarfile.open(folder / "model.tar.gz") as bundle:
        for member in bundle:
            if member.isfile():
                yield f"model.tar.gz:{member.name}", bundle.extractfile(member).read()


def test_moved_between_each_pair_of_stages_to_another_machine_a_run_ends_the_same_and_names_no_folder(
    prepared, machine, tmp_path
):
    kept = machine("kept").use()
    shutil.copytree(prepared.run, kept.run)
    for stage in list(STAGES)[1:]:
        _do(stage, kept.run, **({"images": prepared.images} if stage in ("train", "evaluate") else {}))
    here, images = prepared, prepared.images
    for stage in list(STAGES)[1:]:
        there = machine(f"for-{stage}").use()
        shutil.move(here.run, there.run)
        images = shutil.move(images, there.root / "images-elsewhere")
        shutil.rmtree(here.root)
        _do(stage, there.run, **({"images": images} if stage in ("train", "evaluate") else {}))
        here = there
    assert _hashes(here.run) == _hashes(kept.run)
    for folder in (here.run, kept.run):
        assert [name for name, data in _contents(folder) if str(tmp_path).encode() in data] == []


def test_a_project_that_moves_as_a_whole_is_at_home_everywhere(prepared, machine):
    here = prepared
    for stage in list(STAGES)[1:]:
        there = machine(f"for-{stage}").use()
        shutil.rmtree(there.root / "project")
        shutil.move(here.root / "project", there.root / "project")
        _do(stage, there.run)
        here = there
    assert read_json(here.run / "run.json")["data"] == "../../images"
    assert find_images(Run.open(here.run)) == here.images


def test_a_run_that_moves_alone_finds_its_images_where_this_machine_had_them(prepared, tmp_path):
    shutil.move(prepared.run, tmp_path / "moved")
    run = Run.open(tmp_path / "moved")
    write_json(run.folder / "run.json", {**read_json(run.folder / "run.json"), "data": None})
    assert find_images(run) == prepared.images
    assert find_store(run).path.is_relative_to(tmp_path / "first" / "cache" / "stores")


def test_a_missing_store_is_built_again_with_a_clear_line(prepared, monkeypatch, tmp_path):
    run, heard = Run.open(prepared.run), []
    before = find_store(run)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "empty"))
    built = find_store(run, events=Events([heard.append]))
    assert built.path.parent == tmp_path / "empty" / "stores"
    assert (built.key, built.sample_ids) == (before.key, before.sample_ids)
    assert (built.images == before.images).all()
    notes = [event.text for event in heard if isinstance(event, Noted)]
    assert len(notes) == 1
    assert "is built again from the images" in notes[0]
    assert find_store(run, events=Events([heard.append])).key == before.key
    assert [event.text for event in heard if isinstance(event, Noted)] == notes


def test_without_store_and_images_it_is_said_what_to_do(prepared, monkeypatch, tmp_path):
    shutil.rmtree(prepared.images)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "empty"))
    for stage in ("train", "evaluate"):
        with pytest.raises(UserError, match="not known on this machine; say where they are: --data PATH"):
            _do(stage, prepared.run)


def test_other_images_under_the_same_names_are_refused(prepared, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(prepared.images, other)
    first = sorted(other.rglob("*.png"))
    for path in first:
        path.write_bytes(first[0].read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"not the images that .* was prepared from"):
        find_images(Run.open(prepared.run), other)
    first[3].unlink()
    with pytest.raises(UserError, match=r"not the images that .* was prepared from"):
        find_images(Run.open(prepared.run), other)
    with pytest.raises(UserError, match="there is no such folder or zip"):
        find_images(Run.open(prepared.run), tmp_path / "nowhere")
