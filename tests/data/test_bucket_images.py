"""Images in a bucket, read where they lie: as if they were in a folder of this machine."""

from __future__ import annotations

import http.server
import pickle
import shutil
import threading
from pathlib import Path

import pytest

from medloom import data
from medloom.cli.main import main
from medloom.data import buckets
from medloom.data.buckets import Place, place_of, read_object
from medloom.data.opening import absolute, images_at, name_of
from medloom.errors import DataError, ServerError
from medloom.files import read_json
from support.aws import BUCKET, opened_aws, set_up

SMALL = ("preprocess.size=[32,32]", "model.args={channels: [4, 8]}", "evaluate.bootstrap=5", "train.compile=false")
SETTINGS = [word for setting in (*SMALL, "train.epochs=1") for word in ("--set", setting)]
URI = f"s3://{BUCKET}/brain"


@pytest.fixture(scope="module")
def opened():
    with opened_aws() as aws:
        yield aws


@pytest.fixture
def s3(opened, monkeypatch, tmp_path):
    """A client, and an empty bucket."""
    set_up(opened)
    monkeypatch.setattr(buckets, "_PAUSE_S", 0.0)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    buckets._client.cache_clear()
    yield opened.client("s3")
    buckets._client.cache_clear()


@pytest.fixture
def brain(s3, tmp_path):
    """Phantom patients in a folder, and the same files in the bucket."""
    folder = tmp_path / "brain"
    phantom = ("--patients", "9", "--size", "48", "--set", "data.phantom.slices=[4,5]")
    assert main(["data", "phantom", str(folder), *phantom]) == 0
    for path in folder.rglob("*"):
        if path.is_file():
            s3.put_object(Bucket=BUCKET, Key=f"brain/{path.relative_to(folder).as_posix()}", Body=path.read_bytes())
    s3.put_object(Bucket=BUCKET, Key="brain-of-others/none.txt", Body=b"none")
    return folder


def test_a_bucket_gives_the_catalogue_the_split_and_the_store_of_a_folder(brain, tmp_path):
    for name, where in (("here", str(brain)), ("there", URI)):
        assert main(["prepare", "brain-mri-small", "--data", where, "--run", name, *SETTINGS]) == 0
    here, there = (tmp_path / "runs" / name for name in ("here", "there"))
    assert (here / "catalogue.csv").read_bytes() == (there / "catalogue.csv").read_bytes()
    keys = [read_json(run / "prepare.json")["store"]["key"] for run in (here, there)]
    assert keys[0] == keys[1]


@pytest.mark.slow
def test_a_run_from_a_bucket_knows_its_images_on_another_machine(brain, tmp_path, monkeypatch, capsys):
    assert main(["run", "brain-mri-small", "--data", URI, "--run", "there", *SETTINGS]) == 0
    shutil.rmtree(brain)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    shutil.move(tmp_path / "runs" / "there", moved)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.chdir(moved.parent)
    before = read_json(moved / "evaluation" / "summary.json")["test"]["metrics"]
    assert main(["evaluate", "./moved"]) == 0
    assert read_json(moved / "evaluation" / "summary.json")["test"]["metrics"] == before
    assert main(["evaluate", "./moved", "--data", f"s3://{BUCKET}/brain-of-others/"]) == 2
    assert "these are not the images that" in capsys.readouterr().err


def test_a_bucket_is_looked_at_as_a_folder_is(brain, capsys):
    assert main(["init", URI, "-o", "there.yaml"]) == 0
    assert main(["init", str(brain), "-o", "here.yaml"]) == 0
    assert Path("there.yaml").read_text() == Path("here.yaml").read_text()
    assert f"medloom run there.yaml --data {URI}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_bundle_is_measured_on_images_of_a_bucket(brain, tmp_path):
    assert main(["run", "brain-mri-small", "--data", str(brain), "--run", "here", *SETTINGS]) == 0
    bundle = str(tmp_path / "runs/here/model.tar.gz")
    for name, where in (("f", str(brain)), ("b", URI)):
        assert main(["evaluate", bundle, "--data", where, "-o", name]) == 0
    f, b = (read_json(tmp_path / name / "summary.json")["test"] for name in "fb")
    assert f["metrics"] == b["metrics"]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("s3://nobody-has-this/brain/", "s3://nobody-has-this/brain/ cannot be listed: AWS refused ListObjectsV2 (NoS"),
        (f"s3://{BUCKET}/nothing/", "no sample found among 0 files"),
        (f"s3://{BUCKET}/brain.zip", "a zip in a bucket is not read; unpack it there, or copy it here"),
        ("gs://bucket/brain", "expected a folder, a zip file or s3://BUCKET/FOLDER/"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_is_made(s3, tmp_path, capsys, named, said):
    assert main(["prepare", "brain-mri-small", "--data", named, "--run", "none"]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found
    assert not list((tmp_path / "runs" / "none").glob("*.csv"))


def test_an_object_that_changes_after_it_was_listed_stops_the_work_with_its_name(s3):
    for name in "ab":
        s3.put_object(Bucket=BUCKET, Key=f"brain/{name}.png", Body=name.encode())
    with data.open_source(URI) as source:
        assert source.names() == ["a.png", "b.png"]
        s3.put_object(Bucket=BUCKET, Key="brain/b.png", Body=b"c")
        assert source.read("a.png") == b"a"
        with pytest.raises(ServerError, match=rf"s3://{BUCKET}/brain/b\.png has changed since it was listed"):
            source.read("b.png")
        source.expect(["b.png"])
        with pytest.raises(ServerError, match="has changed since it was listed"):
            source.read("b.png")
    with data.open_source(URI) as source:
        assert [source.read(name) for name in source.names()] == [b"a", b"c"]


def test_expected_objects_are_read_once_and_no_larger_ones_ahead(s3, monkeypatch):
    asked = []
    monkeypatch.setattr(buckets, "_AHEAD_BYTES", 25)
    monkeypatch.setattr(buckets, "read_object", lambda *given: asked.append(given[0].key) or read_object(*given))
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        s3.put_object(Bucket=BUCKET, Key=f"brain/{name}", Body=bytes([number]) * 10)
    with data.open_source(URI) as source:
        assert source.names() == names
        source.expect(names)
        buckets._threads().shutdown()
        buckets._threads.cache_clear()
        assert sorted(asked) == ["brain/0.png", "brain/1.png"]
        copied = pickle.loads(pickle.dumps(source))
        assert [source.read(name) for name in names] == [bytes([number]) * 10 for number in range(4)]
        assert len(asked) == 4
        assert copied.read("3.png") == bytes([3]) * 10
        source.expect(names[:1], most=4)
        assert source.head("0.png", 4) == bytes(4)
        source.expect(names[:1], most=4)
        assert source.read("0.png") == bytes(10)


class Broken(http.server.BaseHTTPRequestHandler):
    """An S3 whose connections break in the middle of a body, so many times."""

    def do_GET(self):
        body = b"0123456789"
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.end_headers()
        self.wfile.write(body if self.server.asked > self.server.breaks else body[:4])

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("breaks", "whole"), [(2, True), (99, False)])
def test_a_body_that_breaks_off_is_asked_for_again_and_never_taken_for_whole(s3, monkeypatch, breaks, whole):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    server.asked, server.breaks = 0, breaks
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://{}:{}".format(*server.server_address))
    try:
        if whole:
            assert read_object(Place("scans", "a.png")) == b"0123456789"
        else:
            with pytest.raises(OSError, match="came only in part"):
                read_object(Place("scans", "a.png"))
        assert server.asked == min(breaks + 1, buckets._TRIES)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_where_images_are_is_read_from_what_was_named(tmp_path):
    assert images_at("s3://scans/mri/brain") == images_at("s3://scans/mri/brain/") == Place("scans", "mri/brain/")
    assert str(images_at(place_of("s3://scans/x"))) == "s3://scans/x"
    assert (name_of(Place("scans", "mri/brain/")), name_of(Place("scans", ""))) == ("brain", "scans")
    assert absolute(images_at(tmp_path)) == str(tmp_path)
    with pytest.raises(DataError, match="names no bucket"):
        images_at("s3://UPPER/x")
