"""What AWS refuses is said in plain words, with what to do, and never with a traceback."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from moto.s3.responses import S3Response

from medloom.backends.sagemaker import Account, Call
from medloom.backends.sagemaker.jobs import job_facts
from medloom.cli.main import main
from medloom.errors import ServerError, UserError
from support.aws import IMAGE, REGION
from support.bundles import write_tiny_bundle
from support.sagemaker_endpoint import Endpoints

TRAIN = ("sagemaker", "train", "brain-mri-small", "--image", IMAGE, "--yes", "--data", "images", "--detach")


class Refusing(BaseHTTPRequestHandler):
    """SageMaker, as it says no."""

    def do_POST(self):
        self.server.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        status, code, message = self.server.answer
        body = json.dumps({"__type": code, "Message": message, "message": message}).encode() if code else message
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def refusing(monkeypatch):
    """A SageMaker that refuses everything; the test says how."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.asked, server.answer = 0, (400, "ThrottlingException", "Rate exceeded")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("medloom.backends.sagemaker.account._TRIES", 3)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_that_is_busy_is_asked_again_and_then_it_is_said(refusing):
    with pytest.raises(ServerError, match=r"it is busy and was asked several times .* try again in some minutes"):
        job_facts(Account(), "a")
    assert refusing.asked == 3


SAID = {
    "ExpiredTokenException": (400, "The security token has expired", "the credentials for AWS have expired; log in"),
    "UnrecognizedClientException": (400, "The token is invalid", "AWS does not know these credentials"),
    "AccessDeniedException": (400, "User a is not authorized", "medloom sagemaker policy prints what is needed"),
    "ResourceLimitExceeded": (400, "The limit is 0 Instances", "too small a quota; ask for more under Service Quotas"),
    "ResourceInUse": (400, "Job name is taken", "That name is taken; choose another"),
    "ValidationException": (400, "Could not find entity", "Could not find entity"),
}


@pytest.mark.parametrize("code", SAID)
def test_a_refusal_says_what_to_do(refusing, code):
    status, message, said = SAID[code]
    refusing.answer = (status, code, message)
    with pytest.raises(UserError, match=said):
        Account().send(Call("sagemaker", "StopTrainingJob", {"TrainingJobName": "a"}), "the job cannot be stopped")


def test_a_page_of_a_proxy_is_said_to_be_none_of_awss(refusing):
    refusing.answer = (400, "", b"<html>blocked by the hospital</html>")
    with pytest.raises(ServerError, match="is there a proxy in between"):
        job_facts(Account(), "a")


def test_without_credentials_it_is_said_how_to_get_some(monkeypatch, tmp_path, capsys):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert main(["sagemaker", "list"]) == 2
    said = capsys.readouterr().err
    assert "there are no credentials for AWS" in said
    assert "Traceback" not in said


def test_without_a_region_one_is_asked_for(monkeypatch, capsys):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert main(["sagemaker", "list"]) == 2
    assert "--region" in capsys.readouterr().err


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"one")


def test_a_bucket_of_another_region_is_refused_before_anything_is_sent(aws, images, capsys):
    place = {"LocationConstraint": "eu-west-1"}
    aws.client("s3", region="eu-west-1").create_bucket(Bucket="elsewhere", CreateBucketConfiguration=place)
    assert main([*TRAIN, "--bucket", "elsewhere"]) == 2
    said = capsys.readouterr().err
    assert "the bucket elsewhere is in eu-west-1, and the jobs would run in eu-central-1" in said
    assert aws.jobs == []


def test_a_bucket_that_there_is_not_is_said_with_how_to_make_one(aws, images, capsys):
    assert main([*TRAIN, "--bucket", "nowhere"]) == 2
    assert "aws s3 mb s3://nowhere --region eu-central-1" in capsys.readouterr().err


def test_a_machine_that_there_is_not_is_said_before_anything_is_sent(aws, images, capsys):
    assert main([*TRAIN, "--instance", "ml.g5.xlarg", "--price", "1"]) == 2
    assert "did you mean 'ml.g5.xlarge'?" in capsys.readouterr().err
    assert aws.objects() == {}


FOLLOWED = TRAIN[:-1]
EXPIRED = ("ExpiredTokenException", "The security token included in the request is expired")
BUSY = ("ThrottlingException", "Rate exceeded")


def written(aws, name, folder):
    """Let a job have written a run."""
    (folder / "written" / "run").mkdir(parents=True)
    (folder / "written" / "run" / "recipe.yaml").write_text("name: brain")
    aws.writes(aws.job(name).checkpoint_config["S3Uri"], folder / "written")


def ending(aws, looks, folder, **how):
    """A job that has ended when it was looked at so often."""
    yield from itertools.repeat(None, looks)
    (name,) = aws.jobs
    written(aws, name, folder)
    aws.ends(name, **how)
    yield None


def test_a_service_that_is_busy_for_a_moment_is_asked_again(aws, images, capsys):
    aws.faults["CreateTrainingJob"] = iter([BUSY, BUSY])
    assert main(TRAIN) == 0
    assert [action for action, _ in aws.requests].count("CreateTrainingJob") == 3
    assert len(aws.jobs) == 1


def test_credentials_that_expire_while_a_job_is_followed_end_the_command_and_not_the_job(aws, images, capsys, tmp_path):
    aws.faults["DescribeTrainingJob"] = iter([None, None, EXPIRED])
    assert main(FOLLOWED) == 2
    (name,) = aws.jobs
    said = capsys.readouterr().err
    assert f"{name} goes on there and costs money; to stop it: medloom sagemaker status runs/brain-mri-small" in said
    assert "the credentials for AWS have expired; log in again (aws sso login, or new keys in the environment)" in said
    assert aws.job(name).training_job_status == "InProgress"
    aws.faults["DescribeTrainingJob"] = ending(aws, 2, tmp_path)
    assert main(FOLLOWED) == 0
    assert aws.jobs == [name]
    assert (tmp_path / "runs/brain-mri-small/recipe.yaml").is_file()


REFUSED = {
    "role": (
        ("ValidationException", "Could not assume role arn:aws:iam::1:role/x. Please ensure that the role exists"),
        "the training cannot begin: AWS refused CreateTrainingJob (ValidationException): Could not assume role",
    ),
    "passing": (
        ("AccessDeniedException", "User: a is not authorized to perform: iam:PassRole on resource: x"),
        "Who asks, or the role, may not; medloom sagemaker policy prints what is needed",
    ),
    "quota": (
        (
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.g5.xlarge for training job usage' is 0 Instances",
        ),
        "is 0 Instances. The account has too small a quota; ask for more under Service Quotas",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_training_that_may_not_begin_leaves_no_run_behind(aws, images, capsys, tmp_path, why):
    answer, sentence = REFUSED[why]
    aws.faults["CreateTrainingJob"] = itertools.repeat(answer)
    assert main(FOLLOWED) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert aws.jobs == []
    assert not (tmp_path / "runs").exists()


def test_capacity_that_aws_does_not_have_is_its_own_words_and_the_same_command_tries_again(
    aws, images, capsys, tmp_path
):
    reason = "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different type."
    aws.on_begin = lambda name: aws.ends(name, "Failed", reason)
    assert main(FOLLOWED) == 1
    (first,) = aws.jobs
    assert f"the job {first} failed there: {reason}" in capsys.readouterr().err
    aws.on_begin = lambda name: (written(aws, name, tmp_path), aws.ends(name))
    assert main([*FOLLOWED, "--set", "train.seed=1"]) == 0
    assert len(aws.jobs) == 2


def test_an_endpoint_beyond_the_quota_leaves_no_model(aws, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_bundle(tmp_path / "model.tar.gz")
    aws.faults["CreateEndpoint"] = itertools.repeat(REFUSED["quota"][0])
    assert main(["sagemaker", "deploy", "model.tar.gz", "--name", "brain", "--image", IMAGE, "--yes"]) == 2
    assert "The account has too small a quota" in capsys.readouterr().err
    assert hosted(aws) == []


def hosted(aws):
    of = aws.client("sagemaker")
    return [
        *of.list_models()["Models"],
        *of.list_endpoint_configs()["EndpointConfigs"],
        *of.list_endpoints()["Endpoints"],
    ]


@pytest.mark.slow
def test_of_a_container_that_does_not_answer_nothing_is_left(aws, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medloom.backends.sagemaker.endpoints._POLL_S", 0.2)
    write_tiny_bundle(tmp_path / "model.tar.gz")
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_TIMEOUT", "soon")  # the container ends with a reason
    with Endpoints(aws, tmp_path / "endpoints"):
        code = main(["sagemaker", "deploy", "model.tar.gz", "--name", "brain", "--image", IMAGE, "--yes"])
    assert code == 1
    said = capsys.readouterr().err
    assert (
        "the endpoint brain failed there: The primary container for production variant AllTraffic did not pass" in said
    )
    assert "Traceback" not in said
    assert hosted(aws) == []


def test_a_run_that_does_not_fit_the_disk_is_fetched_when_it_does(aws, images, capsys, tmp_path, monkeypatch):
    assert main([*TRAIN, "--run", "brain"]) == 0
    (name,) = aws.jobs
    written(aws, name, tmp_path)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert main(["sagemaker", "pull", "brain"]) == 74
    assert "could not write runs/brain/recipe.yaml: No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "runs/brain/recipe.yaml").exists()
    assert [path.name for path in (tmp_path / "runs/brain").iterdir()] == ["sagemaker.json"]
    assert main(["sagemaker", "pull", "brain"]) == 0
    assert (tmp_path / "runs/brain/recipe.yaml").read_text() == "name: brain"


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def command(folder, *words):
    """The command in a process of its own, on a machine of its own."""
    folder.mkdir(exist_ok=True)
    program = [sys.executable, "-m", "medloom.cli.main", *words]
    return subprocess.Popen(program, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_laptop_that_is_closed_and_another_one_that_goes_on(aws, images, tmp_path):
    words = [*FOLLOWED[:-1], str(tmp_path / "images"), "--run", "brain"]
    first = command(tmp_path / "one", *words)
    for line in first.stdout:
        if "sagemaker: " in line:  # it follows the job
            first.send_signal(signal.SIGKILL)
    first.stdout.close()
    assert first.wait() == -signal.SIGKILL
    (name,) = aws.jobs
    assert aws.job(name).training_job_status == "InProgress"
    aws.faults["DescribeTrainingJob"] = ending(aws, 1, tmp_path)
    second = command(tmp_path / "two", *words)
    said, _ = second.communicate()
    assert second.returncode == 0, said
    assert "brain trains there already; this follows it" in said
    assert aws.jobs == [name]
    assert (tmp_path / "two/runs/brain/recipe.yaml").is_file()


@pytest.mark.slow
def test_an_upload_that_breaks_off_goes_on_and_sends_nothing_twice(aws, images, tmp_path, monkeypatch):
    for number in range(30):
        (tmp_path / "images" / f"{number}.png").write_bytes(bytes([number]) * 1000)
    stored, original, lock, process = [], S3Response.put_object, threading.Lock(), None

    def put(self):
        with lock:
            if process.poll() is not None:
                return 503, {}, ""  # what was under way when it broke off never came
            answer = original(self)
            stored.append(self.parse_key_name())
            if len(stored) == 12:
                process.kill()
                process.wait()
            return answer

    monkeypatch.setattr(S3Response, "put_object", put)
    process = command(tmp_path, *TRAIN)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(stored) == 12
    assert aws.jobs == []
    monkeypatch.setattr(
        S3Response, "put_object", lambda self: (stored.append(self.parse_key_name()), original(self))[1]
    )
    assert main(TRAIN) == 0
    sent = [key for key in stored if key.endswith(".png")]
    assert len(sent) == len(set(sent)) == 30
    assert sum(key.endswith(".png") for key in aws.objects()) == 30


def test_a_run_that_nobody_knows_is_said(aws, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sagemaker", "status", "nothing"]) == 2
    assert "no training of the run nothing is known in eu-central-1" in capsys.readouterr().err
