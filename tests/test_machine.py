"""What the kernel says of the machine, beside psutil, and inside made-up control groups."""

from __future__ import annotations

import os
import threading

import psutil
import pytest

from medloom import machine
from medloom.machine import Meter, cores, cpu_quota, gpu_use, memory_limit, thread_cpu_s, used_so_far


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A place for made-up files of the kernel."""
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_memory_and_processor_are_those_that_psutil_tells():
    meter, process = Meter(), psutil.Process()
    sum(number * number for number in range(300_000))
    read = meter.read()
    assert read["process_memory_usage_megabytes"] == pytest.approx(process.memory_info().rss / 1e6, rel=0.1)
    total = psutil.virtual_memory().total
    assert read["system_memory_usage_megabytes"] == pytest.approx(
        (total - psutil.virtual_memory().available) / 1e6, rel=0.1, abs=200
    )
    assert 0 <= read["cpu_utilization_percentage"] <= 100
    assert 0 < read["process_cpu_utilization_percentage"] < 110
    used, times = used_so_far(), process.cpu_times()
    assert used.cpu_s == pytest.approx(times.user + times.system, abs=0.2)


def test_the_use_of_a_process_that_only_maps_a_file_is_not_its_own(tmp_path):
    import numpy as np

    path = tmp_path / "store"
    path.write_bytes(b"\x01" * 40_000_000)
    mapped = np.memmap(path, np.uint8, "r")
    before = used_so_far().own_bytes
    assert int(mapped.sum()) == 40_000_000
    after = used_so_far().own_bytes
    assert before is not None
    assert after is not None
    assert after - before < 10_000_000


def test_cores_are_no_more_than_the_control_group_has(kernel):
    kernel(proc__self__cgroup="0::/job/one\n", cgroup__job__one__cpu_DOT_max="150000 100000\n")
    assert cpu_quota() == 1.5
    assert cores() == 1
    kernel(cgroup__job__one__cpu_DOT_max="max 100000\n")
    assert cpu_quota() is None
    assert cores() == len(os.sched_getaffinity(0))


def test_control_groups_of_the_first_version_are_read_too(kernel):
    kernel(
        proc__self__cgroup="4:memory:/box\n1:cpu,cpuacct:/box\n0::/\n",
        proc__meminfo="MemTotal:       16000000 kB\nMemAvailable:    9000000 kB\n",
        **{
            "cgroup__memory__box__memory_DOT_limit_in_bytes": "2000000000\n",
            "cgroup__cpu__cpu_DOT_cfs_quota_us": "50000\n",  # as seen from inside a container
            "cgroup__cpu__cpu_DOT_cfs_period_us": "100000\n",
            "cgroup__cpu__cpu_DOT_stat": "nr_periods 4\nthrottled_time 2500000000\n",
        },
    )
    assert cpu_quota() == 0.5
    assert cores() == 1
    assert memory_limit() == 2_000_000_000
    assert used_so_far().throttled_s == 2.5


def test_memory_without_a_limit_is_the_machines(kernel):
    kernel(
        proc__self__cgroup="4:memory:/\n",
        proc__meminfo="MemTotal: 1000 kB\n",
        cgroup__memory__memory_DOT_limit_in_bytes="9223372036854771712\n",
    )
    assert memory_limit() == 1_024_000


def test_what_the_system_does_not_say_is_not_made_up(kernel):
    used = used_so_far()
    assert used.cpu_s > 0
    assert (used.waited_s, used.own_bytes, used.swapped_bytes, used.throttled_s) == (None, None, None, None)
    assert memory_limit() is None
    assert thread_cpu_s("medloom-") is None


def test_the_processor_of_threads_is_told_by_their_names():
    done, go = threading.Event(), threading.Event()

    def work() -> None:
        sum(number * number for number in range(2_000_000))
        done.set()
        go.wait(10)

    thread = threading.Thread(target=work, name="worker-one")
    thread.start()
    done.wait(30)
    known = thread_cpu_s("worker-")
    assert known is not None
    assert known > 0.02
    assert thread_cpu_s("worker-", without=["worker-one"]) == 0.0
    go.set()
    thread.join()


def test_a_gpu_program_that_fails_says_nothing_and_one_gpu_can_be_asked_for(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpu_use() == {}
    program.write_text("#!/bin/sh\necho '12, 345, 67.5'\necho '[N/A], 1, 2'\n")
    assert gpu_use() == {
        "gpu_0_utilization_percentage": 12.0,
        "gpu_0_memory_usage_megabytes": 345.0,
        "gpu_0_power_usage_watts": 67.5,
        "gpu_1_memory_usage_megabytes": 1.0,
        "gpu_1_power_usage_watts": 2.0,
    }
    program.write_text('#!/bin/sh\n[ "$3" = "--id=GPU-7" ] && echo "99, 5, 6"\n')
    assert gpu_use("GPU-7")["gpu_0_utilization_percentage"] == 99.0
