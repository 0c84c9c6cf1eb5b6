"""A job as plain data."""

from __future__ import annotations

import json

import pytest

from medloom.jobs import Job, Resources, path_of, uri_of


def test_a_job_goes_through_json_and_back():
    job = Job("fold 1/5", ("fold", "/a b"), ("s3://x/y",), ("file:///a%20b",), Resources(4, 1), {"A": "1"})
    assert Job.from_plain(json.loads(json.dumps(job.plain()))) == job


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"command": []}, {"resources": {"cpus": 1}}, {"resources": {"cores": 0, "gpus": 0}}]
)
def test_what_is_no_job_is_refused(change):
    with pytest.raises(ValueError, match=r"job"):
        Job.from_plain({**Job("a", ("b",)).plain(), **change})
    with pytest.raises(ValueError, match="expected a job"):
        Job.from_plain({})


def test_a_path_and_its_uri(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_of(uri_of("a b")) == tmp_path / "a b"
    assert uri_of("s3://bucket/key") == "s3://bucket/key"
    with pytest.raises(ValueError, match="not on this machine"):
        path_of("s3://bucket/key")
