"""What AWS refuses is said in plain words, with what to do, and never with a traceback."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medloom.backends.sagemaker import Account, Call
from medloom.backends.sagemaker.jobs import job_facts
from medloom.cli.main import main
from medloom.errors import ServerError, UserError
from support.aws import IMAGE, REGION

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


def test_a_run_that_nobody_knows_is_said(aws, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sagemaker", "status", "nothing"]) == 2
    assert "no training of the run nothing is known in eu-central-1" in capsys.readouterr().err
