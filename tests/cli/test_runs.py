"""Runs and the cache: listed, shown, deleted and pruned, and nothing that is in use."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from medloom.cli import output
from medloom.cli.main import main
from medloom.data import PhantomPlan, PixelStore, make_phantom
from medloom.data.store import StoreWriter
from medloom.files import size_of, write_json
from medloom.pipeline import Run, writing
from medloom.recipe import load_recipe
from medloom.wording import size_text


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def run(here):
    """A prepared run, with a file of a kilobyte."""
    run = Run.start(load_recipe("brain-mri"), here / "runs" / "one")
    write_json(run.folder / "prepare.json", {"store": {"key": "key0"}, "phantom": False})
    (run.folder / "checkpoints").mkdir()
    (run.folder / "checkpoints" / "best.safetensors").write_bytes(bytes(1000))
    return run


def store(here, key):
    """A pixel store of one sample."""
    with StoreWriter(here / "cache" / "stores", 1, (1, 8, 8), np.uint8, masks=False) as writer:
        one = np.ones(1, np.float32)
        writer.put(0, np.zeros((1, 8, 8), np.uint8), None, one, one)
        return writer.publish(key, ["s"], {})


def said(capsys, *words, code=0):
    assert main([*words, "--json"]) == code
    shown = capsys.readouterr()
    return json.loads(shown.out) if shown.out else shown.err


def test_runs_are_listed_with_their_state_and_size(run, capsys):
    (listed,) = said(capsys, "runs", "list")
    assert (listed["name"], listed["state"]) == ("one", "trained in part")
    assert listed["bytes"] == sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file())
    assert main(["runs", "list"]) == 0
    assert size_text(listed["bytes"]) in capsys.readouterr().out
    shown = said(capsys, "runs", "show", "one")
    assert shown["parts"]["checkpoints"] == 1000
    assert sum(shown["parts"].values()) == shown["bytes"]


def test_a_file_of_two_names_is_one_and_a_link_is_not_followed(here):
    (here / "a").mkdir()
    (here / "far").write_bytes(bytes(5000))
    (here / "a" / "one").write_bytes(bytes(100))
    os.link(here / "a" / "one", here / "a" / "two")
    (here / "a" / "three").symlink_to(here / "far")
    assert size_of(here / "a") < 1000


def test_no_runs_is_said(here, capsys):
    assert main(["runs", "list"]) == 0
    assert "there are no runs in runs yet" in capsys.readouterr().out
    assert main(["runs", "show", "one"]) == 2


def test_deleting_asks_and_without_a_terminal_wants_yes(run, capsys, monkeypatch):
    assert main(["runs", "delete", "one"]) == 2
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, err: False)
    assert main(["runs", "delete", "one"]) == 0
    assert run.folder.is_dir()
    assert output.confirmed("?", yes=True)


def test_deleting_follows_no_link_and_leaves_what_is_not_of_medloom(run, here, capsys):
    for name in ("precious", "also"):
        (here / name).mkdir()
        (here / name / "scan.dcm").write_bytes(b"scan")
    (run.folder / "progress").symlink_to(here / "precious")
    (run.folder / "checkpoints" / "link").symlink_to(here / "also")
    (run.folder / "notes.txt").write_text("mine")
    (deleted,) = said(capsys, "runs", "delete", "one", "--yes")
    assert deleted["left"] == ["notes.txt"]
    assert [path.name for path in run.folder.iterdir()] == ["notes.txt"]
    assert (here / "precious" / "scan.dcm").is_file()
    assert (here / "also" / "scan.dcm").is_file()


def test_a_run_that_is_a_link_or_that_a_command_writes_is_not_deleted(run, here, capsys):
    (here / "runs" / "link").symlink_to(run.folder)
    assert "is a link" in said(capsys, "runs", "delete", "link", "--yes", code=2)
    with writing(run.folder, "train"):
        assert said(capsys, "runs", "list")[1]["state"] == "being written by medloom train"
        assert "is being written by `medloom train`" in said(capsys, "runs", "delete", "one", "--yes", code=2)
    assert (run.folder / "checkpoints" / "best.safetensors").is_file()
    (deleted,) = said(capsys, "runs", "delete", "one", "--yes")
    assert not run.folder.exists()
    assert deleted["left"] == []


def test_a_folder_with_a_recipe_of_someone_is_no_run(here, capsys):
    Run.start(load_recipe("brain-mri"), here / "project")
    (here / "project" / "scans").mkdir()
    assert "nothing else of a run" in said(capsys, "runs", "delete", "./project", "--yes", code=2)
    assert (here / "project" / "recipe.yaml").is_file()


@pytest.fixture
def filled(here, run):
    """A cache with the store that a run needs, another one, phantom images, and a download; all 40 days old."""
    paths = {key: store(here, key) for key in ("key0", "key1")}
    paths["phantom"] = make_phantom(PhantomPlan(patients=1, size=16, slices=(1, 1)), here / "cache" / "phantom" / "p")
    paths["download"] = here / "cache" / "kaggle" / "datasets" / "owner" / "name"
    paths["download"].mkdir(parents=True)
    write_json(here / "cache" / "kaggle" / "owner--name.json", {"folder": "datasets/owner/name"})
    past = 40 * 86400
    for path in paths.values():
        changed = path.stat().st_mtime - past
        os.utime(path, (changed, changed))
    return paths


def there(paths):
    return {name for name, path in paths.items() if path.exists()}


def test_the_cache_is_listed_with_sizes_and_the_runs_that_need_it(filled, capsys):
    entries = {one["name"]: one for one in said(capsys, "cache", "list")}
    assert {one["kind"] for one in entries.values()} == {"pixel store", "phantom images", "download"}
    assert (entries["key0"]["runs"], entries["key1"]["runs"]) == (["one"], [])
    assert entries["key0"]["bytes"] == sum(path.stat().st_size for path in filled["key0"].iterdir())
    assert main(["cache", "list"]) == 0
    assert "40 days ago" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], {"download"}),
        (["--older-than", "50"], {"key0", "key1", "phantom", "download"}),
        (["--unused"], {"key0", "download"}),
        (["--unused", "--older-than", "50"], {"key0", "key1", "phantom", "download"}),
        (["--all"], set()),
    ],
)
def test_pruning_takes_what_was_asked_for(filled, options, left, capsys):
    before = len(filled)
    removed = said(capsys, "cache", "prune", *options, "--yes")
    assert there(filled) == left
    assert len(removed) == before - len(left)
    assert said(capsys, "cache", "prune", *options, "--yes") == []


def test_a_store_in_use_stays_and_opening_one_counts_as_use(filled, capsys):
    opened = PixelStore.open(filled["key0"])
    assert main(["cache", "list"]) == 0
    assert "in use" in capsys.readouterr().out
    said(capsys, "cache", "prune", "--all", "--yes")
    assert there(filled) == {"key0"}
    assert opened.images.sum() == 0
    del opened
    said(capsys, "cache", "prune", "--yes")
    assert there(filled) == {"key0"}


def test_pruning_without_a_terminal_wants_yes_and_all_stands_alone(filled, capsys):
    assert main(["cache", "prune"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["cache", "prune", "--all", "--unused", "--yes"]) == 2
    assert len(there(filled)) == 4
