"""Inputs in a bucket: moto's S3 behind a socket of this machine, and one that refuses as S3 does."""

import csv
import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from medloom.cli.main import main
from medloom.data import buckets
from medloom.data.buckets import BucketSource, Place, Stamps, place_of
from medloom.errors import DataError, ServerError, UserError
from medloom.imaging import encode_png
from support.bundles import tiny_label_recipe, write_tiny_label_bundle

REGION = "eu-central-1"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return write_tiny_label_bundle(tmp_path_factory.mktemp("labels") / "model.tar.gz", tiny_label_recipe())


@pytest.fixture
def account(monkeypatch, tmp_path):
    """Credentials in the environment and none elsewhere; nothing of another test is remembered."""
    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    buckets._client.cache_clear()
    yield monkeypatch
    buckets._client.cache_clear()


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def picture(value=90):
    return encode_png(np.full((6, 6), value, np.uint8))


@pytest.fixture
def scans(moto, account):
    """A bucket with three images, one of them damaged, and what is no image."""
    account.setenv("AWS_ENDPOINT_URL_S3", moto)
    client = boto3.client("s3")
    client.create_bucket(Bucket="scans", CreateBucketConfiguration={"LocationConstraint": REGION})
    contents = {
        "chest/a.png": picture(),
        "chest/p 1/b+ä.png": picture(200),
        "chest/broken.png": picture()[:30],
        "chest/a_mask.png": picture(),
        "chest/.hidden/c.png": picture(),
        "chest/folder/": b"",
        "chest/notes.txt": b"none",
        "elsewhere.png": picture(),
    }
    for key, data in contents.items():
        client.put_object(Bucket="scans", Key=key, Body=data)
    yield client
    for key in contents:
        client.delete_object(Bucket="scans", Key=key)
    client.delete_bucket(Bucket="scans")


def rows_of(out):
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_prefix_is_a_folder_and_an_object_that_changes_is_done_again(scans, classifier, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["batch", str(classifier), "s3://scans/chest/", "-o", str(out), "--json"]
    assert main(command) == 3
    assert [(row["file"], row["code"]) for row in rows_of(out)] == [
        ("a.png", ""),
        ("broken.png", "truncated"),
        ("p 1/b+ä.png", ""),
    ]
    capsys.readouterr()
    assert main(command) == 3
    assert json.loads(capsys.readouterr().out)["now"] == 0
    scans.put_object(Bucket="scans", Key="chest/broken.png", Body=picture(7))
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["now"] == 1


def test_objects_are_named_one_by_one_in_lists_and_in_tables(scans, classifier, tmp_path):
    lines = [
        "s3://scans/chest/a.png",
        "s3://scans/gone.png",
        "s3://scans/chest/",
        "none.png",
        "s3://scans/elsewhere.png",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    (tmp_path / "table.csv").write_text("file,note\n" + "".join(f"{line},x\n" for line in lines))
    for number, named in enumerate((tmp_path / "table.csv", f"@{tmp_path / 'list.txt'}")):
        out = tmp_path / f"out{number}"
        assert main(["batch", str(classifier), str(named), "-o", str(out)]) == 3
        good, gone, folder, missing, other = rows_of(out)
        assert (good["file"], good["error"]) == ("scans/chest/a.png", "")
        assert (other["file"], other["error"]) == ("scans/elsewhere.png", "")
        assert (gone["code"], missing["code"], folder["code"]) == ("unreadable", "unreadable", "wrong_files")
        assert "s3://scans/gone.png" in gone["error"]
        assert "names no object" in folder["error"]
    assert main(["batch", str(classifier), "s3://scans/chest/a.png", "-o", str(tmp_path / "one")]) == 0


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://nobody/x/", "s3://nobody/x/ cannot be listed: AWS refused ListObjectsV2 (NoSuchBucket)"),
        ("s3://scans/nothing/", "there are no images in what was named"),
        ("s3://scans/people.csv", "copy it here"),
        ("s3://scans/all.zip", "copy it here"),
        ("s3://UPPER/x/", "names no bucket; expected s3://bucket/prefix/ or s3://bucket/key"),
    ],
)
def test_what_names_no_images_is_refused_in_words(scans, classifier, tmp_path, capsys, uri, said):
    assert main(["batch", str(classifier), uri, "-o", str(tmp_path / "out")]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found


class Refusing(http.server.BaseHTTPRequestHandler):
    """S3 as far as one needs it to be refused by it: ``refuse`` of the server gives a status and a code, or None."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        key = url.path.removeprefix("/scans").lstrip("/")
        what = "list" if not key else "head" if self.command == "HEAD" else "get"
        self.server.asked.append((what, key))
        scope = self.headers.get("Authorization", "").partition("/")[2].split("/")[1:2]
        if scope != [self.server.region]:
            code = "AuthorizationHeaderMalformed"
            self._send(400, _error(code, f"<Region>{self.server.region}</Region>"))
        elif refused := self.server.refuse(what, key):
            status, code = refused
            self._send(status, _error(code))
        elif what == "list":
            self._send(200, self._page(parse_qs(url.query)))
        else:
            self._send(200, self.server.objects[key])

    do_HEAD = do_GET

    def _page(self, query):
        keys = sorted(key for key in self.server.objects if key.startswith(query.get("prefix", [""])[0]))
        start = int(query.get("continuation-token", ["0"])[0])
        page = keys[start : start + self.server.each]
        more = start + self.server.each < len(keys)
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size><ETag>x</ETag></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{start + self.server.each}</NextContinuationToken>" if more else ""
        truncated = str(more).lower()
        return f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{token}{items}</ListBucketResult>".encode()

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", "x")
        self.send_header("x-amz-bucket-region", self.server.region)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def _error(code, more=""):
    return f"<Error><Code>{code}</Code><Message>as it was asked</Message>{more}</Error>".encode()


@pytest.fixture
def refusing(account):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.region, server.each, server.asked = REGION, 1000, []
    server.objects = {f"x/{number}.png": picture(number) for number in range(8)}
    server.refuse = lambda _what, _key: None
    account.setenv("AWS_ENDPOINT_URL_S3", "http://{}:{}".format(*server.server_address))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (
            403,
            "AccessDenied",
            "AWS refused ListObjectsV2 (AccessDenied): as it was asked. Who asks, or the role, may not",
        ),
        (400, "ExpiredToken", "the credentials for AWS have expired; log in again"),
        (403, "InvalidAccessKeyId", "AWS does not know these credentials"),
        (403, "SignatureDoesNotMatch", "AWS does not know these credentials"),
        (404, "NoSuchBucket", "AWS refused ListObjectsV2 (NoSuchBucket)"),
    ],
)
def test_a_bucket_that_refuses_is_named_with_what_lacks(refusing, classifier, tmp_path, capsys, status, code, said):
    refusing.refuse = lambda _what, _key: (status, code)
    assert main(["batch", str(classifier), "s3://scans/x/", "-o", str(tmp_path / "out")]) == 2
    found = capsys.readouterr().err
    assert f"s3://scans/x/ cannot be listed: {said}" in found
    assert "Traceback" not in found
    assert not (tmp_path / "out").exists()


def test_without_credentials_nobody_is_asked(refusing, account, classifier, tmp_path, capsys):
    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(["batch", str(classifier), "s3://scans/x/", "-o", str(tmp_path / "out")]) == 2
    assert "s3://scans/x/ cannot be listed: there are no credentials for AWS" in capsys.readouterr().err
    assert refusing.asked == []


def test_a_bucket_of_another_region_is_found(refusing, classifier, tmp_path):
    refusing.region = "ap-south-1"
    assert main(["batch", str(classifier), "s3://scans/x/", "-o", str(tmp_path / "out")]) == 0
    assert len(rows_of(tmp_path / "out")) == 8


def test_an_object_that_may_not_be_read_is_one_bad_input_and_is_tried_again_when_asked(
    refusing, classifier, tmp_path, capsys
):
    command = ["batch", str(classifier), "s3://scans/x/", "-o", str(tmp_path / "out"), "--json"]
    refusing.refuse = lambda what, key: (403, "AccessDenied") if (what, key) == ("get", "x/3.png") else None
    assert main(command) == 3
    assert [row["file"] for row in rows_of(tmp_path / "out") if row["code"] == "unreadable"] == ["3.png"]
    refusing.refuse = lambda _what, _key: None
    assert main(command) == 3
    capsys.readouterr()
    assert main([*command, "--retry-failed"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["now"], result["failed"], result["inputs"]) == (1, 0, 8)
    assert not any(row["error"] for row in rows_of(tmp_path / "out"))
    assert main(command) == 0


def test_credentials_that_expire_stop_the_batch_and_no_input_is_called_bad(refusing, classifier, tmp_path, capsys):
    refusing.objects = {f"x/{number:02d}.png": picture(number) for number in range(40)}
    command = ["batch", str(classifier), "s3://scans/x/", "-o", str(tmp_path / "out"), "--batch-size", "4", "--json"]
    refusing.refuse = lambda what, key: (400, "ExpiredToken") if what == "get" and key > "x/25" else None
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "cannot be read: the credentials for AWS have expired; log in again" in said
    assert "Traceback" not in said
    refusing.refuse = lambda _what, _key: None
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["inputs"], result["failed"]) == (40, 0)
    assert 0 < result["now"] < 40


def test_a_listing_is_read_by_the_page_as_it_is_needed(refusing):
    refusing.each = 3
    source = BucketSource(Place("scans", "x/"))
    assert refusing.asked == [("list", "")]
    names = source.walk()
    assert [next(names) for _ in range(3)] == ["0.png", "1.png", "2.png"]
    assert len(refusing.asked) == 2
    assert [*names] == [f"{number}.png" for number in range(3, 8)]
    assert len(refusing.asked) == 4
    assert source.stamp("7.png") == f"{len(picture(7))}:x"  # as listed
    assert source.head("7.png", 4) == b"\x89PNG"
    assert refusing.asked[4:] == [("get", "x/7.png")]


def test_states_of_a_list_are_asked_for_when_the_first_is_needed_and_once(refusing):
    refusing.refuse = lambda what, key: (404, "NoSuchKey") if key == "x/1.png" else None
    stamps = Stamps([Place("scans", f"x/{number}.png") for number in range(3)])
    assert refusing.asked == []
    assert [stamps.stamp(number) for number in (2, 0)] == [f"{len(picture(number))}:x" for number in (2, 0)]
    with pytest.raises(FileNotFoundError, match=r"s3://scans/x/1\.png"):
        stamps.stamp(1)
    assert sorted(refusing.asked) == [("head", f"x/{number}.png") for number in range(3)]


def test_a_server_that_is_not_there_is_no_fault_of_the_user(account, monkeypatch):
    account.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr(buckets, "_TRIES", 1)
    with pytest.raises(ServerError, match=r"s3://scans/ cannot be listed: AWS cannot be reached"):
        BucketSource(Place("scans", ""))


@pytest.mark.parametrize(
    "uri", ["s3://", "s3:///key", "s3://a/key", "s3://under_score/key", "s3://scans.", "s3:/scans/a"]
)
def test_what_is_no_uri_of_a_bucket_is_refused(uri):
    with pytest.raises(DataError, match="expected s3://bucket/prefix/ or s3://bucket/key"):
        place_of(uri)


def test_a_profile_that_there_is_none_of_is_said(account):
    account.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match="nobody"):
        BucketSource(Place("scans", ""))
