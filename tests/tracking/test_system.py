"""The machine's use, beside what psutil says."""

from __future__ import annotations

import json
import os

import psutil

from medloom.files import write_text
from medloom.tracking import Sampler
from medloom.tracking.system import gpu_use


def test_lines_say_what_the_machine_does_and_the_last_comes_at_the_end(tmp_path):
    write_text(tmp_path / "metrics.jsonl", "")
    Sampler(tmp_path / "system.jsonl", every_s=60).close()
    (line,) = [json.loads(text) for text in (tmp_path / "system.jsonl").read_text().splitlines()]
    memory = psutil.Process(os.getpid()).memory_info().rss / 1e6
    assert abs(line["system/process_memory_usage_megabytes"] - memory) < 0.2 * memory
    assert 0 <= line["system/cpu_utilization_percentage"] <= 100


def test_nothing_is_written_into_a_run_that_has_not_begun_or_has_gone(tmp_path):
    Sampler(tmp_path / "system.jsonl", every_s=60).close()
    Sampler(tmp_path / "gone" / "system.jsonl", every_s=60).close()
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_program_that_fails_says_nothing(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpu_use() == {}
    program.write_text("#!/bin/sh\necho '12, 345, 67.5'\necho '[N/A], 1, 2'\n")
    assert gpu_use() == {
        "system/gpu_0_utilization_percentage": 12.0,
        "system/gpu_0_memory_usage_megabytes": 345.0,
        "system/gpu_0_power_usage_watts": 67.5,
        "system/gpu_1_memory_usage_megabytes": 1.0,
        "system/gpu_1_power_usage_watts": 2.0,
    }
