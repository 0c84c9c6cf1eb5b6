"""The machine's use, beside what psutil says."""

from __future__ import annotations

import json
import os

import psutil

from medloom.files import write_text
from medloom.tracking import Sampler


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
