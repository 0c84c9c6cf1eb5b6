"""Asking as somebody who may do only what a policy says: moto looks at actions, and at resources of S3."""

from __future__ import annotations

import contextlib
import json

import moto.settings
from moto.iam.access_control import IAMRequestBase

__all__ = ["as_moto_reads_it", "only_with"]


def as_moto_reads_it(document):
    """The policy with what moto can tell apart."""
    statements = [dict(one) for one in document["Statement"]]
    for one in statements:
        one.pop("Condition", None)
        one["Resource"] = [name if name.startswith("arn:aws:s3") else "*" for name in one["Resource"]]
    return {**document, "Statement": statements}


@contextlib.contextmanager
def only_with(aws, monkeypatch, document, user="someone"):
    """Ask as a user who may do what a policy says, and nothing else."""
    iam = aws.client("iam")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="only", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        patch.setattr(IAMRequestBase, "check_signature", lambda self: None)  # moto cannot read all of boto3's
        patch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)  # from now on moto looks at rights
        yield
