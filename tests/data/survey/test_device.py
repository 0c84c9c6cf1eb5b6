"""Which device a recipe is for, asked of the driver."""

from __future__ import annotations

import os

import pytest

from medloom.data.survey import Device, find_device


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Put a program called as NVIDIA's on the path, which prints or fails."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def written(script):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return written


def test_the_smallest_gpu_decides(driver):
    driver("echo 81559; echo 24564")
    device = find_device()
    assert device.has_gpu
    assert device.gpu_gib == pytest.approx(24564 / 1024)
    assert device.text == "a GPU with 24 GiB"


@pytest.mark.parametrize("script", ["exit 9", "echo '[N/A]'", "echo NVIDIA-SMI has failed"])
def test_a_driver_that_does_not_answer_is_no_gpu(driver, script):
    driver(script)
    assert not find_device().has_gpu


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_gpu_that_is_hidden_is_none(driver, monkeypatch, hidden):
    driver("echo 81559")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert find_device() == Device(os.cpu_count() or 1)
