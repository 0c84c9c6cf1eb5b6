"""Each command does with its printed policy what it is for, and says what is missing without it.

moto compares actions, and resources of S3; it knows neither other resources nor conditions, so those are left out of
the policies here.
"""

from __future__ import annotations

import json

import pytest

from medloom.backends.sagemaker.policy import Scope, policy
from medloom.cli.main import main
from support.aws import ACCOUNT, BUCKET, IMAGE, REGION, ROLE
from support.aws_rights import as_moto_reads_it, only_with
from support.bundles import write_tiny_bundle

SCOPE = Scope(REGION, ACCOUNT, BUCKET, "medloom", ROLE)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"one")
    write_tiny_bundle(tmp_path / "brain" / "model.tar.gz")
    return tmp_path


TRAIN = ("train", "brain-mri-small", "--data", "images", "--run", "brain", "--image", IMAGE, "--yes", "--detach")
DEPLOY = ("deploy", "brain/model.tar.gz", "--name", "brain", "--image", IMAGE, "--yes")
MORE = ("--most", "2", "--for", "1h", "--scheduler-role", ROLE)

USES = {
    "train": TRAIN,
    "deploy": (*DEPLOY, *MORE),
    "status": ("status", "brain"),
    "logs": ("logs", "brain"),
    "pull": ("pull", "brain"),
    "list": ("list",),
    "delete": ("delete", "brain", "--files", "--yes"),
}


def prepared(aws, verb, capsys):
    """What there has to be before a command has something to do, made with all rights."""
    if verb in ("status", "logs", "pull", "list", "delete"):
        assert main(["sagemaker", *TRAIN]) == 0
        assert main(["sagemaker", *DEPLOY]) == 0
        (name,) = aws.jobs
        aws.prints(name, ["a line"])
        uri = aws.job(name).checkpoint_config["S3Uri"].removeprefix(f"s3://{BUCKET}/")
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"{uri}/brain/recipe.yaml", Body=b"name: brain")
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("verb", USES)
def test_a_command_needs_no_more_than_its_policy(aws, here, capsys, monkeypatch, verb):
    prepared(aws, verb, capsys)
    with only_with(aws, monkeypatch, as_moto_reads_it(policy(verb, SCOPE))):
        code = main(["sagemaker", *USES[verb]])
    assert code == 0, capsys.readouterr().err


@pytest.mark.slow
def test_a_batch_needs_no_more_than_its_policy(aws, here, capsys, monkeypatch):
    aws.on_begin = lambda name: aws.ends(name, "Failed", "AlgorithmError: of its own, exit code: 2")
    arguments = ("brain/model.tar.gz", "images", "-o", "answers", "--image", IMAGE, "--yes")
    with only_with(aws, monkeypatch, as_moto_reads_it(policy("batch", SCOPE))):
        assert main(["sagemaker", "batch", *arguments]) == 1
    assert "failed there: AlgorithmError: of its own" in capsys.readouterr().err


NEEDED = {
    "train": "sagemaker:CreateTrainingJob",
    "deploy": "sagemaker:CreateEndpointConfig",
    "pull": "s3:GetObject",
    "list": "sagemaker:ListEndpoints",
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", NEEDED)
def test_without_a_right_it_is_said_in_plain_words(aws, here, capsys, monkeypatch, verb):
    prepared(aws, verb, capsys)
    document = as_moto_reads_it(policy(verb, SCOPE))
    for one in document["Statement"]:
        one["Action"] = [action for action in one["Action"] if action != NEEDED[verb]]
    document["Statement"] = [one for one in document["Statement"] if one["Action"]]
    with only_with(aws, monkeypatch, document):
        code = main(["sagemaker", *USES[verb]])
    said = capsys.readouterr().err
    assert code == 2, said
    assert "medloom sagemaker policy prints what is needed" in said or "403" in said
    assert "Traceback" not in said


def test_the_doctor_says_what_the_account_has_and_lacks(aws, capsys):
    assert main(["doctor", "--aws", "--json"]) in (0, 1)
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["region"]["text"] == REGION
    assert found["bucket"]["ok"]
    assert found["bucket"]["text"] == f"{BUCKET} in {REGION}"
    assert found["role"]["text"] == ROLE
    assert found["public access"]["ok"] is None
    assert found["role may"]["ok"] is not True  # it has no policy at all


def test_the_doctor_says_that_a_bucket_is_in_another_region(aws, capsys):
    place = {"LocationConstraint": "eu-west-1"}
    aws.client("s3", region="eu-west-1").create_bucket(Bucket="elsewhere", CreateBucketConfiguration=place)
    assert main(["doctor", "--aws", "--bucket", "elsewhere"]) == 1
    assert "is in eu-west-1, and the jobs would run in eu-central-1" in capsys.readouterr().out


def test_the_doctor_says_when_there_are_no_credentials(monkeypatch, capsys):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert main(["doctor", "--aws"]) == 1
    assert "there are no credentials for AWS" in capsys.readouterr().out
