import numpy as np
import pytest

from medloom.evaluation.fingerprint import Known, fit_fingerprint
from medloom.inference.comparison import LEVEL, compare
from medloom.inference.measures import MEASURES


def known(seed, count, shift=0.0, per_patient=1):
    rng = np.random.default_rng(seed)
    patients = np.arange(count) // per_patient
    whose = rng.normal(size=(patients[-1] + 1, MEASURES))[patients] if per_patient > 1 else 0.0
    mixed = np.random.default_rng(99).normal(size=(8, 40))
    features = rng.normal(shift, size=(count, 8)) @ mixed + 0.1 * rng.normal(size=(count, 40))
    return Known(whose + rng.normal(shift, size=(count, MEASURES)), features, patients + 1000 * seed)


@pytest.fixture(scope="module")
def fingerprint():
    return fit_fingerprint(known(1, 200), known(2, 199), np.ones((1, 40)))


def novelties(fingerprint, new):
    return fingerprint.novelties(new.measured, new.features)


def test_images_of_the_same_source_are_seldom_said_to_be_others(fingerprint):
    said = [compare(fingerprint, novelties(fingerprint, known(seed, 60))).drift for seed in range(100, 160)]
    assert np.mean(said) <= 3 * LEVEL


def test_images_of_another_source_are_said_to_be_others_though_few_single_ones_are_set_apart(fingerprint):
    found = compare(fingerprint, novelties(fingerprint, known(3, 80, shift=0.9)))
    assert found.drift
    assert "what the network makes of the images" in found.findings
    assert found.embedding["p"] == pytest.approx(1 / 5000)
    assert found.flagged["share"] < 0.5
    assert found.plain()["findings"] == list(found.findings)


def test_of_few_patients_only_single_images_are_looked_at(fingerprint):
    found = compare(fingerprint, novelties(fingerprint, known(3, 19, shift=5.0)))
    assert (found.tested, found.findings, found.embedding) == (False, ("images that are set apart",), {})
    assert {one["p"] for one in found.measures} == {None}
    assert found.flagged["share"] > 0.9
    assert not compare(fingerprint, novelties(fingerprint, known(4, 19))).drift


def test_images_of_one_patient_are_no_further_evidence(fingerprint):
    new = known(7, 400, per_patient=16)
    alone = compare(fingerprint, novelties(fingerprint, new))
    together = compare(fingerprint, novelties(fingerprint, new), [str(one) for one in new.patients])
    assert (alone.patients, together.patients) == (400, 25)
    assert together.embedding["here"] == 25
    assert np.median([one["p"] for one in together.measures]) > np.median([one["p"] for one in alone.measures])


def test_the_same_images_give_the_same_comparison(fingerprint):
    new = novelties(fingerprint, known(5, 30))
    assert compare(fingerprint, new).plain() == compare(fingerprint, new).plain()
