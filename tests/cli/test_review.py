"""A run's patients through its deployed model: what it answers is compared with the bundle, measured and shown."""

from __future__ import annotations

import json
import shutil

import boto3
import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

from medloom.cli.main import main
from medloom.data import read_catalogue
from medloom.files import read_json
from medloom.packaging import read_bundle
from medloom.serving import Model, Models, Service, create_app
from support.sagemaker_runtime import sagemaker_runtime
from support.served import served_at
from support.server_process import serving_process

pytestmark = pytest.mark.slow

MASKS = ("data.phantom.patients=7", "data.phantom.size=48", "data.phantom.slices=[6,8]", "preprocess.size=[48,48]")
MASKS += ("model.args.channels=[8,16]", "train.epochs=1")
SKIN = ("data.phantom.patients=30", "data.phantom.size=48", "preprocess.size=[48,48]", "preprocess.crop=null")
SKIN += ("model.name=perceptron", "train.epochs=1", "evaluate.views=1")
BOTH = ("train.device=cpu", "evaluate.bootstrap=20")
RECIPES = {"masks": ("brain-mri-small", MASKS), "skin": ("melanoma", SKIN)}


def do(*arguments, settings=()):
    assert main([*arguments, *(part for one in settings for part in ("--set", one))]) in (0, 3)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Finished runs of masks, of labels of images with metadata, and another one of masks."""
    folder, patch = tmp_path_factory.mktemp("review"), pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("MEDLOOM_CACHE", str(folder / "cache"))
    for name, (recipe, settings) in RECIPES.items():
        do("run", recipe, "--run", name, settings=(*settings, *BOTH))
    recipe, settings = RECIPES["masks"]
    do("run", recipe, "--run", "other", settings=(*settings, *BOTH, "train.seed=5"))
    yield folder
    patch.undo()


def reviewed(capsys, name, *arguments, code=0):
    capsys.readouterr()
    found = main(["review", name, *arguments, "--json"])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return json.loads(captured.out), captured.err


def validation(place, name):
    catalogue = read_catalogue(place / "runs" / name / "catalogue.csv")
    return catalogue[catalogue["split"] == "validation"]


@pytest.mark.parametrize("name", ["masks", "skin"])
def test_the_same_bundle_answers_the_same_and_has_the_same_metrics(place, capsys, name):
    with serving_process(place / "runs" / name / "model.tar.gz") as server:
        facts, _ = reviewed(capsys, name, "--server", f"http://127.0.0.1:{server.port}")
    rows = validation(place, name)
    agreement = facts["agreement"]
    assert facts["images"] == agreement["compared"] == agreement["exact"] == agreement["within"] == len(rows)
    assert (agreement["beyond"], agreement["worst"], facts["set_aside"], facts["warnings"]) == (0, [], [], [])
    assert facts["bundle"]["there"] == [facts["bundle"]["here"]]
    assert facts["latency_ms"]["answers"] == len(rows)
    assert 0 < facts["latency_ms"]["p50"] <= facts["latency_ms"]["p99"]
    measured = read_json(place / "runs" / name / "evaluation" / "summary.json")["validation"]["metrics"]
    assert facts["metrics"]["reported"] == measured
    assert facts["metrics"]["here"] == measured
    for metric, here in facts["metrics"]["here"].items():
        there = facts["metrics"]["there"][metric]
        if name == "masks":  # masks and probabilities come to the last bit
            assert there == here
        elif here["value"] is not None:  # probabilities of labels come with six digits
            assert there["value"] == pytest.approx(here["value"], abs=2e-5)
    folder = place / "runs" / name / "review"
    written = next(folder.rglob("review.json"))
    text = written.read_text()
    for row in rows.to_dict("records"):
        assert str(row["image"]) not in text
    page = (written.parent / "report.html").read_text()
    assert "exactly the same" in page
    assert "data:image/png;base64," in page


def test_another_bundle_is_noticed_with_figures(place, capsys):
    with serving_process(place / "runs" / "other" / "model.tar.gz") as server:
        facts, said = reviewed(capsys, "masks", "--server", f"http://127.0.0.1:{server.port}", code=1)
    assert "serves another bundle" in said
    assert facts["bundle"]["there"] != [facts["bundle"]["here"]]
    assert facts["agreement"]["beyond"] > 0
    assert facts["agreement"]["largest"] > 1e-3
    assert facts["agreement"]["worst"][0]["probability"] > 0
    assert facts["metrics"]["there"] != facts["metrics"]["here"]


def test_what_is_refused_there_is_set_aside_and_the_rest_is_compared(place, capsys):
    rows, images = validation(place, "skin"), place / "runs" / "skin"
    with serving_process(images / "model.tar.gz") as server:
        url = f"http://127.0.0.1:{server.port}"
        whole, _ = reviewed(capsys, "skin", "--server", url, "--limit", "4")
        assert whole["images"] == whole["agreement"]["compared"] == min(4, len(rows))
    with serving_process(images / "model.tar.gz", "--max-body", "0.001") as server:
        assert main(["review", "skin", "--server", f"http://127.0.0.1:{server.port}"]) == 2
        assert "larger than" in capsys.readouterr().err


def _away(app, each):
    """The server with a proxy before it that says 503 to every so many requests, and refuses one image for good."""
    seen = []

    async def dispatch(request, call_next):
        seen.append(request.url.path)
        if len(seen) % each == 0:
            return Response(status_code=503, headers={"Retry-After": "0"})
        if len(seen) == 1:
            said = {"code": "truncated", "message": "it ends early", "status": 400}
            return Response(json.dumps(said), 400, media_type="application/problem+json")
        return await call_next(request)

    around = Starlette()
    around.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    around.mount("/", app)
    around.state = app.state
    return around


@pytest.fixture
def service(place):
    with read_bundle(place / "runs" / "masks" / "model.tar.gz") as bundle:
        model = Model("masks", bundle.predictor(threads=1), bundle.manifest)
    with Service(Models([model])) as service:
        yield service


def test_a_server_that_is_away_in_between_is_asked_again(place, capsys, service):
    with served_at(_away(create_app(service), 3)) as address:
        facts, said = reviewed(capsys, "masks", "--server", f"http://{address}", "--at-a-time", "1", code=3)
    assert [(one["code"], one["side"]) for one in facts["set_aside"]] == [("truncated", "there")]
    assert facts["agreement"]["exact"] == facts["images"] - 1
    assert "1 were set aside: truncated" in said


def test_a_server_that_is_not_there_is_said(place, capsys):
    assert main(["review", "masks", "--server", "http://127.0.0.1:9", "--limit", "1"]) == 1
    said = capsys.readouterr().err
    assert "gave no answer" in said
    assert "Traceback" not in said


def test_an_endpoint_of_sagemaker_is_reviewed_the_same_way(place, capsys, service, monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "made",
        "AWS_SECRET_ACCESS_KEY": "up",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.DEFAULT_SESSION = None
    seen = []
    with served_at(sagemaker_runtime(create_app(service), seen)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://{address}")
        facts, said = reviewed(capsys, "masks", "--endpoint", "brain")
    assert facts["agreement"]["exact"] == facts["images"] == len(seen)
    assert facts["server"] == "brain"
    assert f"requests: {len(seen)}" in said
    assert facts["metrics"]["there"] == facts["metrics"]["here"]


def test_where_the_images_are_elsewhere_they_are_named(place, capsys, service):
    name = place / "runs" / "masks"
    copy = shutil.copytree(name, place / "copied")
    with served_at(create_app(service)) as address:
        facts, _ = reviewed(capsys, str(copy), "--server", f"http://{address}", "--split", "test", "--limit", "3")
    assert (facts["part"], facts["images"]) == ("test", 3)
    assert len(read_json(copy / "test_openings.json")["openings"]) == 1 + len(
        read_json(name / "test_openings.json")["openings"]
    )


def test_one_place_has_to_be_named(capsys):
    assert main(["review", "masks"]) == 2
    assert "expected --endpoint NAME or --server URL" in capsys.readouterr().err
