"""Whatever a decoder does to its process, the one that asked goes on and the next image is decoded as ever."""

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest
from PIL import Image as PillowImage

from medloom.errors import DecodeError
from medloom.imaging import Budget, decode
from medloom.imaging.fence import DecodeFence

HERE = Path(__file__).parent

FAULTS = {
    b"crash": "decoder_failed",
    b"hang": "too_slow",
    b"starve": "too_large",
    b"vanish": "decoder_failed",
    b"killed": "decoder_failed",
    b"raise": "decoder_failed",
    b"lie": "decoder_failed",
}


@pytest.fixture(scope="module")
def fence():
    with DecodeFence() as fence:
        fence.decode(_png())
        yield fence


@pytest.fixture
def make_fence():
    """Make a fence round a function of ``fence_faults``."""
    made = []
    sys.path.insert(0, str(HERE))  # hosts find modules as this process does

    def make(name, **options):
        made.append(DecodeFence(target=f"fence_faults:{name}", **options))
        return made[-1]

    yield make
    sys.path.remove(str(HERE))
    for one in made:
        one.close()


def _png(shape=(40, 48, 3)):
    buffer = io.BytesIO()
    PillowImage.fromarray(np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def _jpeg(shape):
    buffer = io.BytesIO()
    PillowImage.fromarray(np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)).save(buffer, "jpeg")
    return buffer.getvalue()


def _assert_same(found, expected):
    assert found.pixels.dtype == expected.pixels.dtype
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.pixels.flags.c_contiguous
    assert found.pixels.flags.writeable
    for name in ("format", "spacing_mm", "notes", "window", "reduction", "slices", "directions"):
        value = getattr(found, name)
        assert value == getattr(expected, name)
        assert type(value) is type(getattr(expected, name))


def _host():
    """The one process that a test's own fence has for a child."""
    return next(one for one in psutil.Process().children() if "fence_faults:decode" in one.cmdline())


def _family(process):
    return psutil.Process(process).children(recursive=True)


def _wait_until_gone(processes):
    """Gone, or dead and not yet buried by whose child it is."""
    deadline = time.monotonic() + 10
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < deadline, processes


def test_every_good_file_comes_out_as_without_a_fence(fence, corpus):
    files = {**corpus, "nifti": nibabel.Nifti1Image(np.ones((5, 6, 1), np.int16), np.diag([2, 3, 4, 1])).to_bytes()}
    for data in files.values():
        _assert_same(fence.decode(data), decode(data))


def test_a_reduced_image_comes_out_as_without_a_fence(fence):
    data = _jpeg((400, 333, 3))
    expected = decode(data, at_least=(90, 80))
    assert expected.reduction is not None
    _assert_same(fence.decode(data, at_least=(90, 80)), expected)


def test_every_field_of_an_image_survives_exactly(make_fence):
    fence = make_fence("odd")
    from fence_faults import odd

    for dtype in (b"u1", b"i1", b"u2", b"i2", b"u4", b"i4", b"u8", b"i8", b"f2", b"f4", b"f8", b"?"):
        _assert_same(fence.decode(dtype), odd(dtype))


def test_every_field_of_a_refusal_survives(make_fence):
    with pytest.raises(DecodeError) as caught:
        make_fence("odd").decode(b"refuse")
    error = caught.value
    assert (error.code, error.message, error.field, error.hint) == ("page_required", "message ü", "field", "hint")


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"", {}),
        (b"no image", {}),
        (_png()[:200], {}),
        (_png(), {"content_type": "image/tiff"}),
        (_png(), {"page": 3}),
        (_png(), {"budget": Budget(max_pixels=10)}),
    ],
)
def test_a_refusal_is_the_same_as_without_a_fence(fence, data, options):
    refusals = []
    for one in (decode, fence.decode):
        with pytest.raises(DecodeError) as caught:
            one(data, **options)
        refusals.append((caught.value.code, caught.value.http, str(caught.value), caught.value.field))
    assert refusals[0] == refusals[1]


def test_nan_pixels_pass_where_they_are_allowed(fence):
    buffer = io.BytesIO()
    np.save(buffer, np.full((3, 3), np.nan, np.float32))
    _assert_same(fence.decode(buffer.getvalue(), nan_policy="allow"), decode(buffer.getvalue(), nan_policy="allow"))


def test_after_each_fault_the_same_image_decodes_to_the_same_bytes(make_fence):
    fence = make_fence("decode", workers=1, limit_s=1, growth_bytes=128 * 2**20)
    before = fence.decode(_png()).pixels.tobytes()
    for data, code in FAULTS.items():
        with pytest.raises(DecodeError) as caught:
            fence.decode(data)
        assert (caught.value.code, 400 <= caught.value.http < 500) == (code, True), data
        assert caught.value.hint or code == "too_large"
        assert fence.decode(_png()).pixels.tobytes() == before


def test_a_worker_that_failed_is_dead_and_replaced_when_its_refusal_arrives(make_fence):
    fence = make_fence("decode", workers=1, limit_s=0.3)
    fence.decode(_png())
    for fault in (b"crash", b"hang"):
        (first,) = _host().children()
        with pytest.raises(DecodeError):
            fence.decode(fault)
        assert not first.is_running()
        (second,) = _host().children()
        assert second.pid != first.pid


def test_memory_is_limited_by_what_was_there_and_the_growth_allowed(make_fence):
    data = _png((1000, 1000, 3))
    _assert_same(make_fence("decode", growth_bytes=64 * 2**20).decode(data), decode(data))
    with pytest.raises(DecodeError) as caught:
        make_fence("decode", growth_bytes=2**20).decode(data)
    assert caught.value.code in ("too_large", "decoder_failed")


def test_workers_import_no_torch_and_leave_no_core_dump(make_fence):
    process, core, torch = make_fence("who", workers=1).decode(b"").notes
    assert int(process) != os.getpid()
    assert (core, torch) == ("(0, 0)", "False")


def test_a_worker_is_replaced_after_many_images_lest_it_leaks(make_fence, monkeypatch):
    monkeypatch.setattr("medloom.imaging.fence.pool._MOST_ANSWERS", 2)
    fence = make_fence("who", workers=1)
    first, second, third, fourth = (fence.decode(b"").notes[0] for _ in range(4))
    assert first == second != third == fourth


def test_threads_share_a_fence_and_each_gets_its_own_image(fence):
    files = [_png((20 + number, 30, 3)) for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        for data, image in zip(files, pool.map(fence.decode, files), strict=True):
            _assert_same(image, decode(data))


def test_an_idle_worker_or_its_host_that_is_killed_from_outside_costs_no_image(make_fence):
    fence = make_fence("decode", workers=1)
    for victim in ("worker", "host"):
        fence.decode(_png())
        host = _host()
        process = host.children()[0] if victim == "worker" else host
        below = [*host.children()]
        process.send_signal(signal.SIGKILL)
        _wait_until_gone(below)
        _assert_same(fence.decode(_png()), decode(_png()))


def test_signals_to_the_whole_group_do_not_end_workers(make_fence):
    fence = make_fence("who", workers=1)
    process = int(fence.decode(b"").notes[0])
    host = psutil.Process(process).parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process, number)
        host.send_signal(number)
    assert int(fence.decode(b"").notes[0]) == process


def test_closing_ends_all_processes_and_refuses_what_comes_later(make_fence):
    fence = make_fence("decode", limit_s=20)
    fence.decode(_png())
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(fence.decode, b"hang")
        host = _host()
        while len(host.children()) < 2 and not hanging.done():
            fence.decode(_png())
        family = [host, *host.children()]
        fence.close()
        with pytest.raises(DecodeError, match="decoder_failed"):
            hanging.result()
    _wait_until_gone(family)
    with pytest.raises(DecodeError, match="decoder_failed"):
        fence.decode(_png())


KILLED = """
import sys, threading
from medloom.imaging.fence import DecodeFence
fence = DecodeFence(workers=2, target="fence_faults:decode")
data = sys.stdin.buffer.read(int(sys.argv[1]))
fence.decode(data)
threading.Thread(target=fence.decode, args=(b"hang",), daemon=True).start()
fence.decode(data)
print("ready", flush=True)
sys.stdin.read()
"""


def test_kill_9_of_the_owner_leaves_no_process_even_one_that_hangs():
    data = _png()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(len(data))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    with process:
        process.stdin.write(data)
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        family = _family(process.pid)
        assert len(family) >= 2
        process.kill()
    _wait_until_gone(family)
