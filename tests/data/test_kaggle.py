"""Credentials are asked for once and kept safe; a data set that is there is not fetched again."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from medloom.data.kaggle import fetch_kaggle, kaggle_credentials, store_kaggle_credentials
from medloom.errors import DataError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """No credentials anywhere."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLEHUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "kaggle"))
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    """Stands in for kagglehub: writes below its cache and counts the calls."""
    calls = []

    def dataset_download(name):
        calls.append(name)
        if name == "nobody/nothing":
            raise ConnectionError("no network")
        sys.stdout.write("Warning: outdated")
        folder = Path(os.environ["KAGGLEHUB_CACHE"]) / "datasets" / name / "versions" / "2"
        folder.mkdir(parents=True)
        return str(folder)

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=dataset_download))
    return calls


def test_stored_credentials_are_found_and_private(home):
    assert not kaggle_credentials()
    path = store_kaggle_credentials(" ann ", "secret\n")
    assert kaggle_credentials()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text()) == {"username": "ann", "key": "secret"}


def test_credentials_that_were_readable_by_others_become_private(home):
    path = store_kaggle_credentials("ann", "old")
    path.chmod(0o644)
    assert store_kaggle_credentials("ann", "new").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("username", "key"), [("", "k"), ("u", "  ")])
def test_blank_credentials_are_refused_and_not_stored(home, username, key):
    with pytest.raises(DataError, match="user name and an API key"):
        store_kaggle_credentials(username, key)
    assert not kaggle_credentials()


def test_credentials_in_the_environment_count(home, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "ann")
    assert not kaggle_credentials()
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    assert kaggle_credentials()


def test_a_data_set_is_fetched_once_and_again_if_it_was_removed(home, hub):
    first = fetch_kaggle("ann/brains", home / "cache")
    assert first.is_relative_to(home / "cache")
    assert fetch_kaggle("ann/brains", home / "cache") == first
    assert hub == ["ann/brains"]
    first.rmdir()
    assert fetch_kaggle("ann/brains", home / "cache") == first
    assert len(hub) == 2


def test_nothing_is_printed_to_standard_output(home, hub, capsys):
    fetch_kaggle("ann/brains", home / "cache")
    assert capsys.readouterr().out == ""


def test_a_failed_download_says_what_to_do_and_leaves_no_mark(home, hub, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", "mine")
    for _ in range(2):
        with pytest.raises(DataError, match=r"ConnectionError.*--data"):
            fetch_kaggle("nobody/nothing", home / "cache")
    assert len(hub) == 2
    assert os.environ["KAGGLEHUB_CACHE"] == "mine"


def test_a_name_without_owner_is_refused(home, hub):
    with pytest.raises(DataError, match="owner/name"):
        fetch_kaggle("brains", home / "cache")
    assert hub == []
