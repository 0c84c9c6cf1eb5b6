"""The rights that a command needs are written down, and are AWS's own names."""

from __future__ import annotations

import json

import pytest

from medloom.backends.sagemaker.calls import _model
from medloom.backends.sagemaker.policy import VERBS, Scope, policy, trust
from medloom.cli.main import main
from medloom.errors import UserError

SCOPE = Scope("eu-central-1", "123456789012", "bucket", "medloom", "arn:aws:iam::123456789012:role/medloom")

# What is a right without being an operation of that name.
NO_OPERATION = {
    "iam:PassRole",
    "ecr:GetDownloadUrlForLayer",
    "s3:ListBucket",
    "application-autoscaling:TagResource",
    "s3:GetBucketPublicAccessBlock",
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_right_is_an_operation_of_its_service(verb):
    for statement in policy(verb, SCOPE)["Statement"]:
        for action in statement["Action"]:
            service, _, name = action.partition(":")
            service = {"servicequotas": "service-quotas"}.get(service, service)
            assert name in _model(service).operation_names or action in NO_OPERATION, action


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_allowed_beyond_what_is_ours(verb):
    for statement in policy(verb, SCOPE)["Statement"]:
        assert "*" not in statement["Action"]
        for resource in statement["Resource"]:
            if resource == "*":  # lists, and what has no resource
                assert all(
                    action.split(":")[1].startswith(
                        ("List", "PutMetricData", "GetAuthorizationToken", "DescribeStacks")
                    )
                    or action.startswith("application-autoscaling:")
                    for action in statement["Action"]
                ), statement
            if resource.startswith("arn:aws:s3"):
                assert resource in ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket/medloom/*")


def test_only_what_is_tagged_as_ours_may_be_deleted():
    deletes = [one for one in policy("delete", SCOPE)["Statement"] if "sagemaker:DeleteEndpoint" in one["Action"]]
    assert deletes[0]["Condition"] == {"Null": {"aws:ResourceTag/medloom": "false"}}


def test_the_policy_is_printed_without_asking_aws(capsys, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    assert main(["sagemaker", "policy", "train", "--bucket", "bucket"]) == 0
    assert "arn:aws:s3:::bucket/medloom/*" in json.dumps(json.loads(capsys.readouterr().out))


def test_a_role_says_who_may_take_it_on(capsys):
    assert main(["sagemaker", "policy", "scheduler", "--trust"]) == 0
    assert json.loads(capsys.readouterr().out)["Statement"][0]["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust("train") is None
    assert main(["sagemaker", "policy", "train", "--trust"]) == 2


def test_a_command_that_there_is_not_is_named_with_those_there_are():
    with pytest.raises(UserError, match="did you mean 'deploy'"):
        policy("deploi")
