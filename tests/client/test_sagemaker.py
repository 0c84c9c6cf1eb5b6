"""An endpoint of SageMaker answers as the server in its container does, and refuses as the bundle would."""

import asyncio
import json

import boto3
import numpy as np
import pytest

from medloom.cli.main import main
from medloom.client import AsyncClient, Client, Retries
from medloom.client.sagemaker import MOST_BYTES
from medloom.errors import DecodeError, InputError, ServerError, UserError
from medloom.imaging import encode_png
from medloom.inference.answers.masks import mask_png
from medloom.serving import Model, Models, Service, create_app
from support.sagemaker_runtime import aws_refuses, sagemaker_runtime
from support.served import served_at

GONE = "The security token included in the request is expired"
REFUSED = {
    "busy": lambda number: aws_refuses(429, "ThrottlingException", "Rate exceeded", Retry_After="0"),
    "slow": lambda number: aws_refuses(400, "ThrottlingException", "Rate exceeded") if number < 3 else None,
    "starting": lambda number: aws_refuses(429, "ModelNotReadyException", "not yet") if number < 2 else None,
    "down": lambda number: aws_refuses(503, "ServiceUnavailable", "later") if number < 2 else None,
    "expired": lambda number: aws_refuses(403, "ExpiredTokenException", GONE),
    "denied": lambda number: aws_refuses(403, "AccessDeniedException", "is not authorized to perform"),
    "gone": lambda number: aws_refuses(400, "ValidationError", "Endpoint gone of account 123456789012 not found."),
}


@pytest.fixture(scope="module")
def predictor(served):
    return served["masks"][0]


@pytest.fixture
def seen(monkeypatch, served, predictor):
    """The requests that the runtime got; boto3 is told that it is here."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    boto3.DEFAULT_SESSION = None
    found = []
    models = Models([Model("masks", predictor, served["masks"][1])])
    with Service(models) as service, served_at(sagemaker_runtime(create_app(service), found, REFUSED)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://{address}")
        yield found


BRIGHT = np.full((24, 20, 3), 250, np.uint8)


def test_an_endpoint_answers_as_the_bundle_does(seen, predictor):
    with Client("sagemaker://brain") as client:
        found, expected = client.predict(BRIGHT), predictor.predict(BRIGHT)
    assert found.plain() == expected.plain()
    assert np.array_equal(found.probabilities, expected.probabilities)
    assert seen[0]["content-type"] == "application/x-npy"
    assert seen[0]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=made/")


def test_files_are_predicted_by_an_endpoint_as_by_a_server(seen, predictor, tmp_path, capsys):
    images = {"a.png": encode_png(BRIGHT), "b.png": encode_png(BRIGHT)[:60], "c.png": encode_png(BRIGHT // 50)}
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    asked = ["predict", "--server", "sagemaker://brain", *(str(tmp_path / name) for name in images)]
    assert main([*asked, "-o", str(tmp_path / "out"), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in found["results"] if one["error"]] == ["truncated"]
    for name in ("a.png", "c.png"):
        expected = mask_png(predictor.predict(images[name]))
        assert (tmp_path / "out" / "masks" / name).read_bytes() == expected
    assert found["phantom"]
    assert main([*asked, "-o", str(tmp_path / "more"), "--metadata", "people.csv"]) == 2
    assert "leave --metadata out" in capsys.readouterr().err
    assert main([*asked[:3], str(tmp_path / "b.png"), "-o", str(tmp_path / "more")]) == 2
    assert "truncated" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def test_a_client_that_is_awaited_asks_it_too(seen, predictor):
    async def ask():
        async with AsyncClient("sagemaker://brain", model="one.tar.gz") as client:
            return await client.predict_batch([BRIGHT, BRIGHT // 2])

    found = asyncio.run(ask())
    assert [one.area_px for one in found] == [predictor.predict(one).area_px for one in (BRIGHT, BRIGHT // 2)]
    assert {one["x-amzn-sagemaker-target-model"] for one in seen} == {"one.tar.gz"}


def test_what_the_container_refuses_is_the_error_that_the_bundle_raises(seen, predictor):
    with Client("sagemaker://brain") as client:
        for image, kind in ((b"no image", DecodeError), (np.zeros((4, 4, 5), np.uint8), InputError)):
            with pytest.raises(kind) as expected:
                predictor.predict(image)
            with pytest.raises(kind) as found:
                client.predict(image)
            assert str(found.value) == str(expected.value)
    assert len(seen) == 2


def test_an_endpoint_that_throttles_is_asked_again_and_then_named(seen):
    with (
        Client("sagemaker://busy", retries=Retries(times=2)) as client,
        pytest.raises(ServerError, match=r"the endpoint busy .*it is busy and was asked several times"),
    ):
        client.predict(BRIGHT)
    assert len(seen) == 3


@pytest.mark.parametrize(("name", "times"), [("slow", 3), ("starting", 2), ("down", 2)])
def test_what_another_time_mends_is_asked_again(seen, predictor, name, times):
    with Client(f"sagemaker://{name}") as client:
        assert client.predict(BRIGHT).plain() == predictor.predict(BRIGHT).plain()
    assert len(seen) == times


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("expired", "the credentials for AWS have expired; log in again"),
        ("denied", "Who asks, or the role, may not; it needs sagemaker:InvokeEndpoint"),
        ("gone", "Endpoint gone of account 123456789012 not found.; look at its name and the region"),
    ],
)
def test_what_aws_refuses_for_good_is_said_plainly_and_asked_once(seen, name, said):
    with Client(f"sagemaker://{name}") as client, pytest.raises(UserError) as found:
        client.predict(BRIGHT)
    assert said in str(found.value)
    assert str(found.value).startswith(f"the endpoint {name} cannot be asked")
    assert len(seen) == 1


def test_what_an_endpoint_cannot_do_is_said_before_it_is_asked(seen):
    with Client("sagemaker://brain") as client:
        with pytest.raises(DecodeError, match=f"takes at most {MOST_BYTES} bytes"):
            client.predict(bytes(MOST_BYTES + 1))
        with pytest.raises(UserError, match="cannot be asked for a page or series"):
            client.predict(BRIGHT, page=1)
        with pytest.raises(UserError, match="cannot be asked what it takes"):
            client.describe()
        with pytest.raises(UserError, match="cannot be asked whether it is ready"):
            client.is_ready()
    assert not seen


def test_without_a_region_it_is_said_what_to_set(monkeypatch, tmp_path):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match="set a region and credentials for AWS"):
        Client("sagemaker://brain")


def test_without_credentials_it_is_said_what_to_set(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with Client("sagemaker://brain") as client, pytest.raises(UserError, match="there are no credentials"):
        client.predict(BRIGHT)
