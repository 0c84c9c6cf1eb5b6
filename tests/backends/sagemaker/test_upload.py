"""Images get into the bucket whole, encrypted and only once, and what is gone here is gone there."""

from __future__ import annotations

import hashlib
import json
import zipfile

import pytest

from medloom.backends.sagemaker import Account, Place
from medloom.backends.sagemaker import upload as module
from medloom.backends.sagemaker.upload import data_uri, upload_images
from medloom.errors import UserError
from support.aws import BUCKET, REGION, ROLE

PLACE = Place(REGION, BUCKET, ROLE)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for name in ("a/1.png", "a/2.png", "b ä/3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 100)
    return folder


def sent(images, place=PLACE):
    return upload_images(Account(), place, images)


def inside(aws, found):
    """The files in the bucket below where a container gets them."""
    prefix = found.uri.removeprefix(f"s3://{BUCKET}/") + "/"
    return {key.removeprefix(prefix): size for key, size in aws.objects(prefix).items()}


def test_the_second_time_nothing_is_sent(aws, images):
    first, second = sent(images), sent(images)
    assert (first.files, first.sent, first.removed) == (3, 3, 0)
    assert (second.files, second.sent, second.removed) == (3, 0, 0)
    assert second.bytes == sum(path.stat().st_size for path in images.rglob("*.png"))
    assert set(inside(aws, first)) == {"a/1.png", "a/2.png", "b ä/3.png"}


def test_only_what_changed_is_sent_also_of_the_same_size(aws, images):
    found = sent(images)
    (images / "a/1.png").write_bytes((images / "a/1.png").read_bytes()[::-1])
    (images / "a/2.png").unlink()
    (images / "c.png").write_bytes(b"new")
    again = sent(images)
    assert (again.sent, again.removed) == (2, 1)
    assert set(inside(aws, found)) == {"a/1.png", "b ä/3.png", "c.png"}
    key = f"{found.uri}/a/1.png".removeprefix(f"s3://{BUCKET}/")
    body = aws.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert body == (images / "a/1.png").read_bytes()


def test_what_somebody_removed_there_is_sent_again(aws, images):
    found = sent(images)
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"{found.uri}/c.png".removeprefix(f"s3://{BUCKET}/"))
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"{found.uri}/a/1.png".removeprefix(f"s3://{BUCKET}/"))
    assert sent(images).sent == 1


def test_a_container_gets_the_images_and_nothing_of_ours(aws, images):
    found = sent(images)
    assert all(name.endswith(".png") for name in inside(aws, found))
    assert found.uri == data_uri(PLACE, images)


def test_a_zip_is_sent_as_its_files(aws, images):
    with zipfile.ZipFile(images.with_suffix(".zip"), "w") as archive:
        for path in images.rglob("*.png"):
            archive.write(path, path.relative_to(images))
    found = sent(images.with_suffix(".zip"))
    assert set(inside(aws, found)) == {"a/1.png", "a/2.png", "b ä/3.png"}
    assert sent(images.with_suffix(".zip")).sent == 0


def test_objects_are_encrypted_with_the_key_and_have_a_checksum(aws, images):
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    for place, kind in ((PLACE, "AES256"), (Place(REGION, BUCKET, ROLE, prefix="safe", kms_key=key), "aws:kms")):
        found = sent(images, place)
        name = f"{found.uri}/a/1.png".removeprefix(f"s3://{BUCKET}/")
        head = aws.client("s3").head_object(Bucket=BUCKET, Key=name, ChecksumMode="ENABLED")
        assert head["ServerSideEncryption"] == kind
        assert head.get("SSEKMSKeyId") == place.kms_key
        assert head["ChecksumSHA256"]


def test_a_large_file_goes_in_parts_and_arrives_whole(aws, images, monkeypatch):
    monkeypatch.setattr(module, "_PART", 5 * 2**20)
    content = hashlib.sha256(b"seed").digest() * (6 * 2**15 + 1)
    (images / "large.nii").write_bytes(content)
    found = sent(images)
    name = f"{found.uri}/large.nii".removeprefix(f"s3://{BUCKET}/")
    assert aws.client("s3").get_object(Bucket=BUCKET, Key=name)["Body"].read() == content
    assert aws.client("s3").head_object(Bucket=BUCKET, Key=name)["ETag"].strip('"').endswith("-2")


def test_an_upload_that_was_stopped_sends_only_the_rest(aws, images, monkeypatch):
    class Stopped(Exception):
        pass

    def progress(done, total):
        raise Stopped

    with pytest.raises(Stopped):
        upload_images(Account(), PLACE, images, progress)
    lists = [key for key in aws.objects() if "/lists/" in key]
    known = json.loads(aws.client("s3").get_object(Bucket=BUCKET, Key=lists[0])["Body"].read())
    assert known
    assert sent(images).sent == 3 - len(known)


def test_a_folder_without_files_is_refused(aws, tmp_path):
    with pytest.raises(UserError, match="no files to send"):
        sent(tmp_path)
