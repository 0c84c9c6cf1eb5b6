import numpy as np
import pandas as pd
import pytest

from medloom.data import open_source
from medloom.evaluation import evaluate
from medloom.evaluation.fingerprint import Known, fit_fingerprint, read_fingerprint
from medloom.inference.fingerprint import Fingerprint, Reference
from medloom.inference.measures import MEASURES


def known(seed, count, *, width=40, features=True, shift=0.0):
    """Images whose measures and features are drawn from one distribution, each of another patient."""
    rng = np.random.default_rng(seed)
    mixed = np.random.default_rng(99).normal(size=(8, width))
    rows = rng.normal(shift, size=(count, 8)) @ mixed + 0.1 * rng.normal(size=(count, width))
    return Known(rng.normal(shift, size=(count, MEASURES)), rows if features else None, np.arange(count) + 1000 * seed)


@pytest.fixture(scope="module")
def fitted():
    return fit_fingerprint(known(1, 200), known(2, 199), np.ones((1, 40)))


def test_of_new_images_of_the_same_source_as_many_are_set_apart_as_it_says():
    rates, said = [], []
    for seed in range(10, 40):
        found = fit_fingerprint(known(seed, 120), known(seed + 100, 99), np.ones((1, 40)))
        new = known(seed + 200, 200)
        rates.append(np.mean([one.flagged for one in found.novelties(new.measured, new.features)]))
        said.append(found.false_alarms)
    assert set(said) == {0.01}
    assert np.mean(rates) == pytest.approx(0.01, abs=0.004)


@pytest.mark.parametrize("held_out", [20, 50])
def test_with_few_validation_images_the_rate_of_false_alarms_is_larger_and_said(held_out):
    found = fit_fingerprint(known(1, 60), known(2, held_out), np.ones((1, 40)))
    assert found.false_alarms == pytest.approx(1 / (held_out + 1), rel=1e-4)


@pytest.mark.parametrize("part", ["measured", "along", "away"])
def test_another_source_is_set_apart_in_what_is_measured_along_the_directions_and_beside_them(fitted, part):
    new = known(3, 50)
    measured, features = new.measured, new.features
    if part == "measured":
        measured = measured + 4.0
    elif part == "along":
        features = features + 6 * np.random.default_rng(99).normal(size=(8, 40)).sum(axis=0)
    else:
        features = features + 3.0 * np.random.default_rng(5).normal(size=(50, 40))
    flagged = [one.flagged for one in fitted.novelties(measured, features)]
    assert np.mean(flagged) > 0.9


def test_it_is_read_back_as_it_was_written(fitted):
    again = Fingerprint.from_plain(fitted.plain())
    new = known(4, 30)
    scores = [[one.score for one in made.novelties(new.measured, new.features)] for made in (fitted, again)]
    np.testing.assert_allclose(*scores, rtol=1e-3)
    assert again.plain() == Fingerprint.from_plain(again.plain()).plain()


def test_a_fingerprint_of_an_earlier_version_tests_images_by_the_measures_that_it_knows(fitted):
    plain = fitted.plain()
    side = np.zeros((MEASURES, MEASURES))
    side[np.triu_indices(MEASURES)] = plain["measured"]["precision"]
    measured = {
        **plain["measured"],
        "centre": plain["measured"]["centre"][:41],
        "precision": side[:41, :41][np.triu_indices(41)].tolist(),
    }
    older = Fingerprint.from_plain({**plain, "references": plain["references"][:-1], "measured": measured})
    new = known(4, 30).measured
    changed = new.copy()
    changed[:, 41:] += 100
    scores = [[one.score for one in older.novelties(rows, None)] for rows in (new, changed)]
    assert scores[0] == scores[1]
    with pytest.raises(ValueError, match="other things"):
        Fingerprint.from_plain({**plain, "references": plain["references"][:-1]})


def test_a_network_is_known_again_by_what_it_makes_of_one_image(fitted):
    assert fitted.is_of(np.ones((1, 40)))
    assert not fitted.is_of(2 * np.ones((1, 40)))
    assert not fitted.is_of(np.ones((1, 41)))
    assert not fitted.is_of(None)


def test_too_few_images_or_patients_have_no_fingerprint():
    probe = np.ones((1, 40))
    assert fit_fingerprint(known(1, 29), known(2, 50), probe) is None
    assert fit_fingerprint(known(1, 50), known(2, 19), probe) is None
    few = known(1, 50)
    assert fit_fingerprint(Known(few.measured, few.features, np.arange(50) % 4), known(2, 50), probe) is None


def test_of_each_patient_one_image_is_kept():
    many = known(2, 90)
    found = fit_fingerprint(known(1, 60), Known(many.measured, many.features, np.arange(90) % 7), np.ones((1, 40)))
    assert found.embedding.sample.shape == (7, 12)


def test_a_value_that_all_images_have_gets_a_bin_of_its_own():
    found = Reference.of("height", np.full(50, np.log(256.0)), 10)
    assert found.shares == (0.0, 1.0, 0.0)
    mixed = Reference.of("height", np.array([1.0] * 50 + [2.0] * 50), 5)
    assert [share for share in mixed.shares if share] == [0.5, 0.5]


def test_bins_hold_as_many_images_each():
    found = Reference.of("grey", np.random.default_rng(0).normal(size=1000), 10)
    np.testing.assert_allclose(found.shares, 0.1, atol=0.002)
    assert found.range == pytest.approx((-1.64, 0.0, 1.64), abs=0.15)


@pytest.fixture
def measured(recipe, predictor, data, tmp_path):
    """Measure a run of 40 training and 24 validation images, and return its fingerprint."""
    folder, catalogue = data
    drawn = [dict(row) for _, row in catalogue.sample(40, replace=True, random_state=0).iterrows()]
    train = [{**row, "sample_id": f"Q{at:03d}", "patient_id": f"Q{at:03d}"} for at, row in enumerate(drawn)]
    rows = pd.concat([catalogue.assign(split="validation"), pd.DataFrame(train).assign(split="train")])

    def run(wanted):
        package = recipe.package.model_copy(update={"fingerprint": wanted})
        with open_source(folder) as source:
            changed = recipe.model_copy(update={"package": package})
            evaluate(changed, rows, source, predictor, tmp_path / "run", part="validation")
        return read_fingerprint(tmp_path / "run")

    return run


def test_a_run_has_a_fingerprint_of_its_training_and_validation_images_unless_the_recipe_says_no(measured):
    assert measured(False) is None
    found = measured(True)
    assert (found.images, found.held_out, found.patients, found.embedding) == (40, 24, 46, None)
