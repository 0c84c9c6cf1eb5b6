"""Images of several requests go through the network together, and each gets the answer that it gets alone."""

import asyncio
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from medloom.packaging import read_bundle
from medloom.serving import ImageRequest, Service
from medloom.serving.admission import Admission
from medloom.serving.batching import Batcher, Batching
from medloom.serving.pace import Arrangement, Pace, calibrate
from medloom.serving.problems import Problem
from support.bundles import (
    spatial_graph,
    spatial_label_graph,
    tiny_label_recipe,
    tiny_recipe,
    write_tiny_bundle,
    write_tiny_label_bundle,
)


class Held:
    """A runtime whose first call waits until told to go on; it keeps what it was given."""

    name = "held"

    def __init__(self, inner=None):
        self.go, self.begun, self.sizes = threading.Event(), threading.Event(), []
        self._inner = inner

    def run(self, batch_nchw, table_nf=None):
        self.sizes.append(len(batch_nchw))
        self.begun.set()
        assert self.go.wait(30)
        return batch_nchw.sum(axis=(2, 3)) if self._inner is None else self._inner.run(batch_nchw, table_nf)


def _image(number, channels=1):
    return np.full((1, channels, 4, 4), number, np.float32)


def _wait_for(batcher, images):
    until = time.monotonic() + 30
    while batcher.waiting < images:
        assert time.monotonic() < until


def test_what_comes_while_a_batch_runs_goes_together_and_each_gets_its_own():
    held = Held()
    with Batcher(Batching(most_images=4, most_streams=1)) as batcher, ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.run, held, _image(1))
        held.begun.wait()
        others = []
        for number in range(2, 8):
            others.append(pool.submit(batcher.run, held, _image(number)))
            _wait_for(batcher, number - 1)
        held.go.set()
        assert first.result().answer.item() == 16
        assert [other.result().answer.item() for other in others] == [16 * number for number in range(2, 8)]
        assert [other.result().images for other in others] == [4, 4, 4, 4, 2, 2]
    assert held.sizes == [1, 4, 2]


def test_an_image_that_comes_alone_does_not_wait_for_others():
    held = Held()
    held.go.set()
    with Batcher(Batching(most_images=16, most_delay_s=3600.0, most_streams=1)) as batcher:
        assert batcher.run(held, _image(3)).images == 1


def test_a_batch_waits_for_an_image_that_is_known_to_be_on_its_way():
    held = Held()
    held.go.set()
    with (
        Batcher(Batching(most_images=2, most_delay_s=3600.0, most_streams=1)) as batcher,
        ThreadPoolExecutor(1) as pool,
    ):
        batcher.calibrate(held, (1, 4, 4))
        while not batcher.pace(held).seconds:
            pass
        batcher._paces[held] = Pace({Arrangement(): 3600.0})  # so slow that waiting pays
        batcher.expect(held, 1)
        first = pool.submit(batcher.run, held, _image(1))
        assert batcher.run(held, _image(2), expected=True).images == 2
        assert first.result().images == 2


def test_images_of_several_sizes_and_networks_do_not_go_together():
    one, other = Held(), Held()
    other.go.set()
    with Batcher(Batching(most_images=8, most_streams=1)) as batcher, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(batcher.run, one, _image(1))]
        one.begun.wait()
        for at, (runtime, image) in enumerate([(one, _image(2)), (other, _image(3)), (one, _image(4, channels=2))]):
            calls.append(pool.submit(batcher.run, runtime, image))
            _wait_for(batcher, at + 1)
        one.go.set()
        assert [call.result().images for call in calls] == [1, 1, 1, 1]


def test_slices_of_a_volume_and_single_images_have_their_turns():
    held, order = Held(), []

    class Noting(Held):
        def run(self, batch_nchw, table_nf=None):
            order.append(int(batch_nchw[0, 0, 0, 0]))
            return super().run(batch_nchw, table_nf)

    held = Noting()
    with Batcher(Batching(most_images=1, most_streams=1)) as batcher, ThreadPoolExecutor(16) as pool:
        pool.submit(batcher.run, held, _image(0))
        held.begun.wait()
        for at, (number, bulk) in enumerate([(10, True), (11, True), (12, True), (1, False), (2, False), (3, False)]):
            pool.submit(batcher.run, held, _image(number), bulk=bulk)
            _wait_for(batcher, at + 1)
        held.go.set()
    assert order == [0, 10, 1, 11, 2, 12, 3]


def test_one_image_that_the_network_fails_at_does_not_harm_those_beside_it():
    class Failing(Held):
        def run(self, batch_nchw, table_nf=None):
            found = super().run(batch_nchw, table_nf)
            if (batch_nchw == 2).any():
                raise MemoryError("no room")
            return found

    held = Failing()
    with Batcher(Batching(most_images=4, most_streams=1)) as batcher, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(batcher.run, held, _image(0))]
        held.begun.wait()
        for number in (1, 2, 3):
            calls.append(pool.submit(batcher.run, held, _image(number)))
            _wait_for(batcher, number)
        held.go.set()
        assert [call.result().answer.item() for call in calls if call is not calls[2]] == [0, 16, 48]
        with pytest.raises(MemoryError):
            calls[2].result()


def test_what_nobody_waits_for_any_more_is_not_run():
    def late():
        raise Problem(503, "too_late", "too late")

    held = Held()
    with Batcher(Batching(most_images=4, most_streams=1)) as batcher, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(batcher.run, held, _image(0))]
        held.begun.wait()
        calls.append(pool.submit(batcher.run, held, _image(1), check=late))
        _wait_for(batcher, 1)
        held.go.set()
        with pytest.raises(Problem, match="too late"):
            calls[1].result()
    assert held.sizes == [1]


def _best(**seconds):
    """Of seconds by images and streams, such as ``i2s1``."""
    return Pace({Arrangement(*map(int, name[1:].split("s"))): one for name, one in seconds.items()}).best


def test_the_fewest_images_in_flight_that_are_about_the_fastest_are_taken():
    assert _best(i1s1=1.0, i2s1=0.99, i4s1=0.92) == (1, 1)
    assert _best(i1s1=1.0, i2s1=0.6, i4s1=0.5, i8s1=0.48) == (4, 1)
    assert _best(i1s1=1.0, i1s2=1.0, i2s1=1.0) == (1, 2), "two streams where they cost nothing"
    assert _best(i1s1=1.0, i1s2=1.3, i2s1=0.98) == (1, 1)
    assert _best(i1s1=1.0, i1s2=0.8, i1s4=0.5, i8s1=0.49) == (1, 4)
    assert Pace({}).best is None


def test_batches_run_side_by_side_where_that_is_faster_and_no_more_than_that():
    class Meeting:
        """Goes on when two are in it."""

        name, inside, most = "meeting", 0, 0

        def __init__(self):
            self.barrier, self.lock = threading.Barrier(2, timeout=30), threading.Lock()

        def run(self, batch_nchw, table_nf=None):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            self.barrier.wait()
            with self.lock:
                self.inside -= 1
            return batch_nchw.sum(axis=(2, 3))

    meeting = Meeting()
    with Batcher(Batching(most_images=1, most_streams=4)) as batcher, ThreadPoolExecutor(8) as pool:
        batcher._paces[meeting] = Pace({Arrangement(1, 2): 1.0})
        calls = [pool.submit(batcher.run, meeting, _image(number)) for number in range(8)]
        assert [call.result().answer.item() for call in calls] == [16 * number for number in range(8)]
    assert meeting.most == 2


def test_a_network_that_takes_turns_with_another_is_not_starved_by_its_streams():
    one, other = Held(), Held()
    one.go.set()
    other.go.set()
    with Batcher(Batching(most_images=1, most_streams=2)) as batcher, ThreadPoolExecutor(32) as pool:
        batcher._paces[one], batcher._paces[other] = Pace({Arrangement(1, 2): 1.0}), Pace({Arrangement(): 1.0})
        calls = [pool.submit(batcher.run, (one, other)[number % 2], _image(number)) for number in range(200)]
        assert [call.result(30).answer.item() for call in calls] == [16 * number for number in range(200)]


def test_a_network_is_not_measured_between_requests_that_follow_each_other_unless_that_lasts(monkeypatch):
    monkeypatch.setattr("medloom.serving.batching._QUIET_S", 3600.0)
    held = Held()
    held.go.set()
    with Batcher(Batching(most_streams=1)) as batcher:
        batcher.run(held, _image(1))
        batcher.calibrate(held, (1, 4, 4))
        for number in range(5):
            batcher.run(held, _image(number))
        assert held.sizes == [1] * 6
        assert not batcher.pace(held).seconds
        monkeypatch.setattr("medloom.serving.batching._AT_LAST_S", 0.0)
        batcher._measuring.clear()
        batcher.calibrate(held, (1, 4, 4))
        while not batcher.pace(held).seconds:
            pass
    assert max(held.sizes) > 1


def test_what_is_measured_stops_at_what_the_machine_has_no_memory_for():
    class Small(Held):
        def run(self, batch_nchw, table_nf=None):
            if len(batch_nchw) > 2:
                raise MemoryError("no room")
            return super().run(batch_nchw, table_nf)

    small = Small()
    small.go.set()
    *_, last = calibrate(small, (1, 4, 4), most_streams=2)
    assert sorted(last.seconds) == [(1, 1), (1, 2), (2, 1)]


def _npy(pixels):
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _images(channels, count=6):
    rng = np.random.default_rng(3)
    return [_npy(rng.integers(0, 255, (30 + n, 40 - n, channels), np.uint8)) for n in range(count)]


def _bundle(kind, folder):
    if kind == "masks":
        recipe = tiny_recipe(views=2)
        graph = spatial_graph(recipe.data.input_channels, recipe.predicts().outputs)
        return write_tiny_bundle(folder / "m.tar.gz", recipe, graph=graph)
    if kind == "labels":
        recipe = tiny_label_recipe(metadata=True, views=2)
        return write_tiny_label_bundle(folder / "m.tar.gz", recipe, graph=spatial_label_graph)
    return write_tiny_bundle(folder / "m.tar.gz", tiny_recipe(channels=("grey",), context=1))


def _until_there(service, held, images):
    """Wait until so many have come to the network, those in it counted."""
    held.begun.wait()
    _wait_for(service.batcher, images - sum(held.sizes))


async def _gathered(service, asked, held):
    """Ask for all at once; what does not go through the network first goes together."""
    answers = [asyncio.create_task(service.answer(one)) for one in asked]
    try:
        await asyncio.get_running_loop().run_in_executor(None, _until_there, service, held, len(asked))
    finally:
        held.go.set()
    return await asyncio.gather(*answers)


@pytest.mark.parametrize("kind", ["masks", "labels"])
def test_an_answer_in_a_batch_is_byte_for_byte_that_of_the_image_alone(kind, tmp_path):
    with read_bundle(_bundle(kind, tmp_path)) as bundle:
        predictor, manifest = bundle.predictor(threads=1), bundle.manifest
    metadata = [{"age": 40 + n, "sex": ("female", "male")[n % 2]} if kind == "labels" else {} for n in range(6)]
    images = _images(len(predictor.channels))
    asked = [ImageRequest(image, metadata=said) for image, said in zip(images, metadata, strict=True)]
    with Service.of(predictor, manifest) as alone:
        expected = [asyncio.run(alone.answer(one)).content for one in asked]
    held = Held(predictor.runtime)
    with Service.of(
        replace(predictor, runtime=held), manifest, batching=Batching(8, most_delay_s=0.0, most_streams=1)
    ) as service:
        found = [answer.content for answer in asyncio.run(_gathered(service, asked, held))]
    assert found == expected
    assert max(held.sizes) > 1
    assert len(set(expected)) == 6


def test_a_request_of_many_images_leaves_room_for_others(tmp_path):
    with read_bundle(_bundle("masks", tmp_path)) as bundle:
        predictor, manifest = bundle.predictor(threads=1), bundle.manifest
    held, image = Held(predictor.runtime), _images(len(predictor.channels))[0]

    async def ask(service):
        many = Admission()
        answers = [asyncio.create_task(service.answer(ImageRequest(image), admission=many)) for _ in range(60)]
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, _until_there, service, held, 8)
        single = asyncio.create_task(service.answer(ImageRequest(image)))
        await loop.run_in_executor(None, _until_there, service, held, 9)
        held.go.set()
        return await asyncio.gather(single, *answers)

    with Service.of(
        replace(predictor, runtime=held), manifest, batching=Batching(1, most_delay_s=0.0, most_streams=1)
    ) as service:
        found = asyncio.run(ask(service))
    assert len({answer.content for answer in found}) == 1


@pytest.mark.parametrize("context", [0, 1])
def test_a_volume_in_batches_of_slices_is_the_one_slice_by_slice(context, tmp_path):
    recipe = tiny_recipe(channels=("grey",), context=context)
    graph = spatial_graph(recipe.data.input_channels, recipe.predicts().outputs)
    with read_bundle(write_tiny_bundle(tmp_path / "m.tar.gz", recipe, graph=graph)) as bundle:
        predictor, manifest = bundle.predictor(threads=1), bundle.manifest
    voxels = np.random.default_rng(4).integers(0, 255, (20, 24, 7), np.uint8)
    asked = ImageRequest(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 2.0, 1.0])).to_bytes())
    found = []
    for most in (1, 3):
        held = Held(predictor.runtime)
        held.go.set()
        with Service.of(replace(predictor, runtime=held), manifest, batching=Batching(most_images=most)) as service:
            found.append(asyncio.run(service.answer(asked)).content)
        assert max(held.sizes) == most
    assert found[0] == found[1]
