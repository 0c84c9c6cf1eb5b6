"""A training on several hosts, which torchrun starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from socket import socket

import pytest

from container.conftest import Job, write_pictures
from medloom.container.environment import Hosts
from medloom.container.hosts import torchrun_command, torchrun_environment

NAMES = ("127.0.0.1", "localhost")


def test_each_host_starts_a_process_for_each_gpu_and_meets_the_first():
    hosts = Hosts("algo-2", ("algo-1", "algo-2"), gpus=4, port=7777)
    assert torchrun_command(hosts, ["--lr", "0.1"])[1:] == [
        *("-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=4", "--node_rank=1"),
        *("--master_addr=algo-1", "--master_port=7777", "-m", "medloom.container", "train", "--lr", "0.1"),
    ]
    assert "--nproc_per_node=1" in torchrun_command(Hosts("algo-1", ("algo-1", "algo-2")), [])


def test_an_interface_that_this_host_has_not_is_not_named(tmp_path):
    (tmp_path / "eth0").mkdir()
    assert torchrun_environment(Hosts(interface="ethwe"), {"A": "1"}, tmp_path) == {"A": "1"}
    named = torchrun_environment(Hosts(interface="eth0"), {"NCCL_SOCKET_IFNAME": "mine"}, tmp_path)
    assert named == {"NCCL_SOCKET_IFNAME": "mine", "GLOO_SOCKET_IFNAME": "eth0"}


def started(base, port):
    """The container of one host."""
    variables = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "MEDLOOM_CACHE": str(base / "cache")}
    variables |= {"SM_MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "medloom.container", "train"]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Two machines with the same images, which are one under two names."""
    jobs = [Job(tmp_path / name, monkeypatch) for name in NAMES]
    for name, job in zip(NAMES, jobs, strict=True):
        write_pictures(job.channel("training"), 14)
        job.recipe()
        job.asks(**{"evaluate.bootstrap": "5"})
        job.write("resourceconfig", {"current_host": name, "hosts": NAMES, "network_interface_name": "ethwe"})
    return jobs


def run(jobs):
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [started(job.base, port) for job in jobs]
    said = [process.communicate(timeout=500)[0] for process in processes]
    return [process.returncode for process in processes], said


def losses(job):
    lines = (job.base / "output" / "data" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train_loss"] for line in lines]


@pytest.mark.slow
def test_two_hosts_share_each_batch_and_the_first_alone_leaves_a_model(hosts):
    codes, said = run(hosts)
    assert codes == [0, 0], "\n".join(said)
    first, second = hosts
    facts = json.loads((first.base / "output" / "data" / "training.json").read_text())
    assert facts["devices"] == 2
    assert (first.base / "model" / "bundle.json").is_file()
    assert not any((second.base / "model").iterdir())
    assert not any((second.base / "checkpoints").iterdir())
    together = losses(first)
    assert run(hosts)[0] == [0, 0]  # finished already: nobody waits

    first.write("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})
    for folder in ("checkpoints", "model", "output"):
        shutil.rmtree(first.base / folder)
    assert run([first])[0] == [0]
    assert together[0] == pytest.approx(losses(first)[0], abs=1e-4)


@pytest.mark.slow
def test_hosts_do_not_wait_for_a_first_one_that_fails(hosts):
    hosts[0].asks(**{"train.epochs": "many"})
    codes, said = run(hosts)
    assert 0 not in codes, "\n".join(said)
    assert hosts[0].failure.startswith("train.epochs: expected a whole number")
    assert "the first host ended before this one" in hosts[1].failure


@pytest.mark.slow
@pytest.mark.parametrize("several", [{"split.folds": "2"}, {"train.seeds": "2"}], ids=["folds", "seeds"])
def test_two_hosts_train_folds_and_seeds_one_after_another_as_one_host_does(hosts, several):
    first, second = hosts
    for job in hosts:
        job.asks(**{"evaluate.bootstrap": "5", "epochs": "1", **several})
    codes, said = run(hosts)
    assert codes == [0, 0], "\n".join(said)
    assert (first.base / "model" / "bundle.json").is_file()
    assert not any((second.base / "model").iterdir())
    together = member_losses(first)
    assert len(together) == 2
    first.write("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})
    for folder in ("checkpoints", "model", "output"):
        shutil.rmtree(first.base / folder)
    assert run([first])[0] == [0]
    assert together == pytest.approx(member_losses(first), abs=1e-4)


def member_losses(job):
    """The losses of each fold or seed, by its folder."""
    files = sorted((job.base / "output" / "data").glob("*/metrics.jsonl"))
    return {
        f"{file.parent.name} {number}": json.loads(line)["train_loss"]
        for file in files
        for number, line in enumerate(file.read_text().splitlines())
    }
