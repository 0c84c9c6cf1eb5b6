"""A bundle that changes answers from then on; a bad one does not; no request is lost on the way."""

import asyncio
import io
import os
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from medloom.serving import ImageRequest, Models, Service
from medloom.serving.models import Opening
from medloom.serving.swapping import Swapper
from support.bundles import tiny_recipe, write_tiny_bundle


def _npy():
    pixels = np.full((48, 40, 3), 20, np.uint8)
    pixels[10:20, 10:25, 2] = 250
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


ASKED = ImageRequest(_npy())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two bundles that answer differently."""
    folder = tmp_path_factory.mktemp("bundles")
    one = write_tiny_bundle(folder / "one.tar.gz")
    other = write_tiny_bundle(folder / "other.tar.gz", tiny_recipe(size=(24, 24)))
    return one, other


@pytest.fixture
def place(bundles, tmp_path):
    shutil.copy(bundles[0], tmp_path / "model.tar.gz")
    return tmp_path / "model.tar.gz"


@pytest.fixture
def service(place):
    with Service(Models([Opening(threads=1).open(place)])) as service:
        yield service


def _put(source, place):
    """Put a bundle in the place of another at once, as whoever deploys does."""
    beside = place.with_name("beside")
    shutil.copy(source, beside)
    os.utime(beside, ns=(1, place.stat().st_mtime_ns + 10**9))
    beside.replace(place)


def _ask(service):
    return asyncio.run(service.answer(ASKED)).content


def _answers(bundles):
    found = []
    for bundle in bundles:
        with Service(Models([Opening(threads=1).open(bundle)])) as service:
            found.append(_ask(service))
    return found


def test_a_bundle_that_changed_answers_once_it_stays_as_it_is(bundles, place, service):
    old, new = _answers(bundles)
    swapper = Swapper(service, Opening(threads=1), watch=True)
    swapper.look()
    assert _ask(service) == old != new
    _put(bundles[1], place)
    swapper.look()
    assert _ask(service) == old
    swapper.look()
    assert _ask(service) == new
    before = service.models.get()
    swapper.look()
    assert service.models.get() is before


def test_a_bad_bundle_keeps_the_old_one_says_so_once_and_a_good_one_after_it_is_taken(bundles, place, service, caplog):
    old, new = _answers(bundles)
    swapper = Swapper(service, Opening(threads=1), watch=True)
    half = place.with_name("half")
    half.write_bytes(bundles[1].read_bytes()[:2000])
    _put(half, place)
    for _ in range(4):
        swapper.look()
    assert _ask(service) == old
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said.startswith("the new bundle of tiny is not taken, and the old one answers on")
    place.unlink()
    swapper.look()
    assert _ask(service) == old
    shutil.copy(bundles[1], place)
    swapper.look()
    swapper.look()
    assert _ask(service) == new


def test_a_bundle_that_answers_its_own_example_wrongly_is_not_taken(place, service, caplog):
    class Wrong:
        name = "wrong"

        def run(self, batch_nchw, table_nf=None):
            return np.full((len(batch_nchw), 1, *batch_nchw.shape[2:]), 0.25, np.float32)

    class WrongOpening(Opening):
        def open(self, path, name=None):
            from medloom.packaging import read_bundle
            from medloom.packaging.golden import replay

            with read_bundle(path) as bundle:
                replay(bundle, replace(bundle.predictor(), runtime=Wrong()))

    before = service.models.get()
    Swapper(service, WrongOpening()).look(every=True)
    assert service.models.get() is before
    assert "is not taken" in caplog.text


def test_what_is_asked_for_is_loaded_again_at_once_even_if_nothing_changed(service):
    before = service.models.get()
    with Swapper(service, Opening(threads=1)) as swapper:
        swapper.ask()
        while service.models.get() is before:
            pass
    assert service.models.get().predictor.runtime is not before.predictor.runtime


def test_requests_over_swaps_are_all_answered_by_one_bundle_or_the_other(bundles, place, service):
    expected, found, done = set(_answers(bundles)), [], threading.Event()
    swapper = Swapper(service, Opening(threads=1))

    async def ask_on():
        while not done.is_set():
            found.extend(answer.content for answer in [await service.answer(ASKED)])
        found.extend([(await service.answer(ASKED)).content for _ in range(5)])

    asking = threading.Thread(target=lambda: asyncio.run(ask_on()))
    asking.start()
    for number in range(6):
        _put(bundles[number % 2], place)
        swapper.look(every=True)
    done.set()
    asking.join()
    assert set(found) == expected
