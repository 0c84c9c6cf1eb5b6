"""AWS's own software as the judge: its training toolkit, its inference toolkit and its model server, each as released.

They live in an environment of their own, made on first use, to which Medloom is lent. The model server needs Java.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket

import numpy as np
import psutil
import pytest

from container.conftest import write_pictures
from medloom.imaging import encode_png
from support.bundles import write_tiny_bundle
from support.other_environment import environment_with
from support.server_process import serving_process

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PINNED = ("sagemaker-training==5.1.4", "sagemaker-inference==1.10.1", "multi-model-server==1.1.11")
ACCEPTS = ("application/json", "image/png", "application/x-npy", "*/*")

HANDLED = """
import json, sys
from pathlib import Path
model, asked, answers = map(Path, sys.argv[1:])
sys.path.insert(0, str(model / "code"))
from mms.context import Context, RequestProcessor
from sagemaker_inference.default_handler_service import DefaultHandlerService
service = DefaultHandlerService()
context = Context("model", str(model), {}, 1, None, "1.0")  # one for all requests, as in a worker
said = []
for number, (kind, accept) in enumerate(json.loads((asked / "requests.json").read_text())):
    context.request_processor = [RequestProcessor({"Content-Type": kind, "Accept": accept})]
    service.initialize(context)
    body = bytearray((asked / f"{number}.bin").read_bytes())
    (answer,) = service.handle([{"body": body}], context)
    said.append((context.get_response_status(0)[0] or 200, context.get_response_content_type(0)))
    (answers / f"{number}.bin").write_bytes(answer.encode() if isinstance(answer, str) else bytes(answer))
(answers / "said.json").write_text(json.dumps(said))
"""

SCRIPT = "import sys\nfrom medloom.container.training import train\nsys.exit(train(sys.argv[1:]))\n"


@pytest.fixture(scope="module")
def toolkits():
    """The environment with AWS's software; it sees Medloom and what that needs behind its own packages."""
    folder = environment_with("aws", PINNED)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "zz-medloom.pth").write_text(f"{ROOT / 'src'}\n{sysconfig.get_paths()['purelib']}\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A bundle, unpacked as SageMaker unpacks it."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_bundle(folder / "model.tar.gz")
    (folder / "model").mkdir()
    subprocess.run(["tar", "-xzf", str(folder / "model.tar.gz"), "-C", str(folder / "model")], check=True)
    return folder / "model"


def requests():
    """Types, forms that are asked for, and bodies: images as bytes and as JSON text, and what gets a refusal."""
    rng = np.random.default_rng(0)
    png = encode_png(rng.integers(0, 255, (40, 48, 3), np.uint8))
    text = json.dumps({"image": base64.b64encode(png).decode()}).encode()
    several = json.dumps({"images": [{"image": base64.b64encode(one).decode()} for one in (png, png[:200])]}).encode()
    good = [
        (kind, accept, body) for kind, body in (("image/png", png), ("application/json", text)) for accept in ACCEPTS
    ]
    bad = [
        ("image/png", png[:200]),
        ("image/png", bomb(png)),
        ("application/json", b"{"),
        ("text/csv", b"age,sex\n70,m"),
    ]
    refused = [(kind, "application/json", body) for kind, body in (*bad, ("image/png", b"no image"))]
    return [
        *good,
        ("application/json", "application/json", several),
        *refused,
        ("image/png", "text/html", png),
        good[0],
    ]


def bomb(png):
    """A PNG that says it has 400 million pixels."""
    head = png[:16] + (20000).to_bytes(4, "big") * 2 + png[24:29]
    return head + zlib.crc32(head[12:]).to_bytes(4, "big") + png[33:]


def ask(port, kind, accept, body, path="/invocations"):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", body, {"Content-Type": kind, "Accept": accept}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.status, refused.headers["Content-Type"], refused.read()


@pytest.fixture(scope="module")
def ours(model):
    """What ``medloom serve`` answers."""
    with serving_process(model) as server:
        return [ask(server.port, *one) for one in requests()]


def test_the_handler_of_the_inference_toolkit_answers_as_the_server_does(toolkits, model, ours, tmp_path):
    asked = requests()
    (tmp_path / "requests.json").write_text(json.dumps([one[:2] for one in asked]))
    for number, (_, _, body) in enumerate(asked):
        (tmp_path / f"{number}.bin").write_bytes(body)
    (tmp_path / "answers").mkdir()
    command = [str(toolkits / "python"), "-c", HANDLED, str(model), str(tmp_path), str(tmp_path / "answers")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "answers" / "said.json").read_text())
    bodies = [(tmp_path / "answers" / f"{number}.bin").read_bytes() for number in range(len(asked))]
    assert [(*one, body) for one, body in zip(said, bodies, strict=True)] == ours


def free_port():
    """A free port of those that AWS's model server takes, which are below 32768."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@contextmanager
def model_server(toolkits, folder, environment):
    """AWS's model server on a free port, with the settings that its inference toolkit writes."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {
        "enable_envvars_config": "true",
        "decode_input_request": "false",
        "default_service_handler": "sagemaker_inference.default_handler_service",
        "default_workers_per_model": "1",
        "inference_address": address,
        "management_address": address,
    }
    (folder / "mms.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    command = ["multi-model-server", "--start", "--foreground", "--mms-config", str(folder / "mms.properties")]
    model = environment["SAGEMAKER_BASE_DIR"] + "/model"
    command += ["--model-store", "/", "--models", f"model={model}"]
    variables = {**os.environ, **environment, "PATH": f"{toolkits}:{os.environ['PATH']}", "PYTHONPATH": f"{model}/code"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"{address}/ping", process, folder / "log")
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait_for(url, process, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


@pytest.mark.skipif(shutil.which("java") is None, reason="AWS's model server needs Java: apt-get install default-jre")
def test_awss_model_server_answers_as_ours_does(toolkits, model, ours, tmp_path):
    with model_server(toolkits, tmp_path, {"SAGEMAKER_BASE_DIR": str(model.parent)}) as port:
        assert [ask(port, *one) for one in requests()] == ours
        workers, fences = processes("model_service_worker"), processes("medloom.imaging.fence.host")
        assert workers
        assert fences
        for fence in fences:  # what decodes are other processes, and their end is not that of the worker
            with suppress(psutil.NoSuchProcess):
                fence.kill()
        assert ask(port, *requests()[0]) == ours[0]
        assert processes("model_service_worker") == workers


def processes(name):
    """The processes below this one that run a module or script of a name."""
    return [one for one in psutil.Process().children(recursive=True) if any(name in word for word in one.cmdline())]


def scripted(job, **hyperparameters):
    """Give a job a script of ours, as a user does in script mode."""
    source = job.base.parent / "source"
    source.mkdir()
    (source / "train.py").write_text(SCRIPT)
    own = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": json.dumps(str(source))}
    job.asks(**hyperparameters, **own)
    job.write("inputdataconfig", {name: {"TrainingInputMode": "File"} for name in ("training", "recipe")})
    hosts = {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"}  # it looks them up
    job.write("resourceconfig", hosts)


def run_toolkit(toolkits):
    return subprocess.run([str(toolkits / "train")], capture_output=True, text=True, env=dict(os.environ), timeout=500)


def test_the_training_toolkit_runs_a_script_of_ours_to_the_bundle_that_the_container_makes(toolkits, job):
    write_pictures(job.channel("training"), 14)
    job.recipe()
    scripted(job, **{"max-epochs": "2", "lr": '"0.01"', "debugging": "false", "evaluate.bootstrap": "5"})
    theirs = run_toolkit(toolkits)
    assert theirs.returncode == 0, theirs.stdout[-3000:] + theirs.stderr[-3000:]
    assert (job.base / "output" / "success").exists()
    assert "best=" in theirs.stdout
    weights = (job.base / "model" / "model.safetensors").read_bytes()

    for name in ("model", "checkpoints", "output"):
        shutil.rmtree(job.base / name)
    done = subprocess.run([sys.executable, "-m", "medloom.container", "train"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (job.base / "model" / "model.safetensors").read_bytes() == weights


def test_the_training_toolkit_reports_a_job_of_ours_that_fails(toolkits, job):
    job.channel("training")
    job.recipe()
    scripted(job)
    done = run_toolkit(toolkits)
    assert done.returncode == 1
    assert "channel training is empty" in done.stderr + done.stdout
    assert job.failure.startswith("channel training is empty")  # it writes none over a reason that is there
