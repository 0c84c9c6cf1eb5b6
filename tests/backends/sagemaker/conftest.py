"""An account of AWS for the tests here."""

from __future__ import annotations

import pytest

from support.aws import opened_aws, set_up


@pytest.fixture(scope="module")
def opened():
    """The server, for all tests of a module."""
    with opened_aws() as aws:
        yield aws


@pytest.fixture
def aws(opened, monkeypatch):
    """An account with a bucket and a role and nothing else; jobs are looked at without a pause."""
    monkeypatch.setattr("medloom.backends.sagemaker.jobs._POLL_S", 0.0)
    monkeypatch.setattr("medloom.backends.sagemaker.jobs._LONGEST_POLL_S", 0.0)
    set_up(opened)
    return opened
