"""Credentials are asked for once and kept safe; a data set that is there is not fetched again."""

import base64
import hashlib
import importlib
import io
import json
import os
import random
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class _Kaggle(BaseHTTPRequestHandler):
    """Speaks as much of Kaggle's protocol as a download needs; breaks off in the middle of the first one."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path.rpartition("/")[2], self.headers["Authorization"]))
        if self.path.endswith("/GetDataset"):
            body = b'{"currentVersionNumber": 3}'
            self._head(200, {"Content-Type": "application/json", "Content-Length": len(body)})
            self.wfile.write(body)
        else:
            self._head(302, {"Location": "/files/archive.zip", "Content-Length": 0})

    def do_GET(self):
        whole, wanted = self.server.archive, self.headers["Range"]
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.server.seen.append(("file", first))
        digest = base64.b64encode(hashlib.md5(whole, usedforsecurity=False).digest()).decode()
        headers = {"Accept-Ranges": "bytes", "Content-Length": len(whole) - first, "x-goog-hash": f"md5={digest}"}
        self._head(206 if wanted else 200, headers)
        half = len(whole) // 2
        self.wfile.write(whole[first:half] if self.server.breaks else whole[first:])
        self.server.breaks = False

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()


@pytest.fixture
def kaggle(monkeypatch):
    """A server on this machine that the real kagglehub takes for Kaggle."""
    stream, generator = io.BytesIO(), random.Random(0)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("kaggle_3m/a.tif", generator.randbytes(3_000_000))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Kaggle) as server:
        server.archive, server.breaks, server.seen = stream.getvalue(), True, []
        environment = importlib.import_module("kagglesdk.kaggle_env")
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setitem(environment._env_to_endpoint, environment.KaggleEnv.PROD, address)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_download_that_broke_off_goes_on_where_it_stopped(home, kaggle):
    store_kaggle_credentials("ann", "secret")
    with pytest.raises(DataError, match="Kaggle did not give ann/brains"):
        fetch_kaggle("ann/brains", home / "cache")
    folder = fetch_kaggle("ann/brains", home / "cache")
    assert (folder / "kaggle_3m/a.tif").read_bytes() == random.Random(0).randbytes(3_000_000)
    starts = [first for what, first in kaggle.seen if what == "file"]
    assert starts[0] == 0
    assert starts[-1] > 1_000_000, "what had come was not fetched again"
    assert all(key == "Basic YW5uOnNlY3JldA==" for what, key in kaggle.seen if what != "file")
    asked = len(kaggle.seen)
    assert fetch_kaggle("ann/brains", home / "cache") == folder
    assert len(kaggle.seen) == asked, "what is there is not asked for again"
