"""A soup of the folds: chosen on some of the held-out patients, judged on the others, and never taught by any."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim.swa_utils import update_bn

import medloom
from medloom import pipeline
from medloom.cli.texts import closing
from medloom.data import PixelStore, read_catalogue
from medloom.data.splits.given import HELD_OUT
from medloom.errors import RecipeError
from medloom.files import read_json
from medloom.packaging.bundle import read_bundle
from medloom.packaging.card import CARD
from medloom.packaging.manifest import Manifest
from medloom.pipeline import Run, served
from medloom.training import load_best
from medloom.training.soup import make_soup
from medloom.transforms.augment import normalise
from medloom.wording import counted

FOLDS = 2
SPLIT = {"folds": FOLDS, "hold_out": 0.4}
NETWORK = {"model": {"name": "test_resnet"}, "train": {"epochs": 1, "batch_size": 16}}
"""With batch norms."""


@dataclass
class Made:
    """A run that was to package a soup."""

    folder: Path
    summary: dict[str, Any]
    manifest: Manifest
    card: str
    words: str
    page: str
    seen: list[set[str]]

    @property
    def facts(self) -> dict[str, Any]:
        return self.summary["served"]


def asked(recipe):
    return recipe.model_copy(update={"package": recipe.package.model_copy(update={"serve": "soup"})})


def made(recipe, pictures, folder, *, good: bool) -> Made:
    seen = []

    def watched(recipe, places, catalogue, store):
        seen.append(set(catalogue["sample_id"]))
        return make_soup(recipe, places, catalogue, store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(served, "_FEWEST_PATIENTS", {})  # there are not enough pictures to choose in earnest
        patch.setattr(served.evaluation, "is_as_good", lambda found: good)
        patch.setattr(served.training, "make_soup", watched)
        result = medloom.run(asked(recipe), data=pictures, run=folder, workers=1, again=True)
    with read_bundle(result.bundle) as bundle:
        card, page = (bundle.folder / CARD).read_text(), (folder / "report.html").read_text()
        return Made(folder, dict(result.summary), bundle.manifest, card, closing(result), page, seen)


@pytest.fixture(scope="module")
def recipe(make_recipe):
    return make_recipe({"kind": "binary", "classes": ["0", "1"]}, split=SPLIT, **NETWORK)


@pytest.fixture(scope="module")
def refused(recipe, pictures, place):
    """A run whose soup is not as good."""
    return made(recipe, pictures, place / "soup", good=False)


@pytest.fixture(scope="module")
def taken(refused, recipe, pictures):
    """The same run, with a soup that is as good."""
    files = sorted(refused.folder.glob("fold-*/checkpoints/best.safetensors"))
    weights = [file.read_bytes() for file in files]
    found = made(recipe, pictures, refused.folder, good=True)
    assert [file.read_bytes() for file in files] == weights
    bundle = refused.folder / "taken.tar.gz"
    shutil.copyfile(refused.folder / "model.tar.gz", bundle)
    return found


def held_out(folder) -> pd.DataFrame:
    rows = read_catalogue(folder / "catalogue.csv")
    return rows[rows["split"] == HELD_OUT]


def test_who_chooses_does_not_judge(refused):
    rows = held_out(refused.folder)
    judges = set(pd.read_csv(refused.folder / "evaluation/held-out/cases.csv", dtype=str)["sample_id"])
    chose, judging = rows[~rows["sample_id"].isin(judges)], rows[rows["sample_id"].isin(judges)]
    assert judges < set(rows["sample_id"])
    assert not set(chose["patient_id"]) & set(judging["patient_id"])
    for part, cases in (("choosing", chose), ("judging", judging)):
        text = f"{len(cases)} images of {counted(cases['patient_id'].nunique(), 'patient')}"
        assert refused.facts[part]["cases_text"] == text


def test_a_soup_that_is_not_shown_to_be_as_good_is_not_packaged_and_every_place_says_so(refused):
    assert (refused.facts["asked"], refused.facts["what"]) == ("soup", "ensemble")
    assert len(refused.manifest.model.table_features) == FOLDS
    assert refused.manifest.instead_of_ensemble is None
    said = "The ensemble is packaged, not the mean of the weights of the 2 folds' networks"
    assert said in refused.manifest.measured.note
    assert refused.facts["text"] in refused.words
    assert "One network in the place of the ensemble" in refused.page
    metrics = refused.summary["held_out"]["metrics"]
    assert metrics["roc_auc"] == refused.manifest.metrics["test"]["roc_auc"]
    assert metrics["roc_auc"]["value"] == refused.facts["judging"]["ensemble"]["roc_auc"]["value"]


def test_a_soup_that_is_as_good_is_one_network_in_the_bundle_and_its_loss_is_on_the_card(taken):
    assert taken.facts["what"] == "soup"
    assert taken.manifest.model.table_features == (0,)
    replaced, judging = taken.manifest.instead_of_ensemble, taken.facts["judging"]
    assert (replaced.what, replaced.members, replaced.cases) == ("soup", FOLDS, judging["cases_text"])
    assert replaced.difference == judging["difference"]
    assert "It stands for an ensemble of 2 networks (the mean of their weights)" in taken.card
    assert f"| roc_auc | {judging['difference']['roc_auc']['value']:.3f}" in taken.card
    value = taken.summary["held_out"]["metrics"]["roc_auc"]["value"]
    assert value == judging["other"]["roc_auc"]["value"]
    assert "<td>Soup</td>" in taken.page


def test_the_bundle_answers_as_the_mean_of_the_weights_with_statistics_of_training_images(recipe, taken, pictures):
    folder = taken.folder
    predictor, run = medloom.load(folder / "taken.tar.gz"), Run.open(folder / "fold-0")
    rows, store = read_catalogue(folder / "catalogue.csv"), pipeline.find_store(run)
    states = [load_best(folder / f"fold-{number}", run.recipe).state_dict() for number in range(FOLDS)]
    expected = load_best(folder / "fold-0", run.recipe)
    expected.load_state_dict({n: ((states[0][n] + states[1][n]) / 2).to(states[0][n].dtype) for n in states[0]})
    chosen = store.rows(rows.loc[rows["split"] != HELD_OUT, "sample_id"].tolist())
    parts = (store.images, store.offset, store.scale)
    images = normalise(*(torch.from_numpy(np.asarray(part[chosen])) for part in parts))
    order = np.random.default_rng(recipe.train.seed).permutation(len(chosen))
    batches = [images[order[first : first + 16]] for first in range(0, len(order), 16)]
    update_bn([batch for batch in batches if len(batch) > 1], expected)
    expected.eval()
    picture = pictures / held_out(folder)["image"].iloc[0]
    shown = torch.from_numpy(predictor.prepare(picture.read_bytes()).network_input)[None]
    with torch.no_grad():
        probability = float(expected(shown).sigmoid())
    assert predictor.predict(picture).plain()["probabilities"]["1"] == pytest.approx(probability, abs=1e-4)


def test_nothing_of_the_held_out_patients_reaches_the_soup(taken, monkeypatch):
    folder = taken.folder
    run, rows = Run.open(folder / "fold-0"), read_catalogue(folder / "catalogue.csv")
    taught, places = rows[rows["split"] != HELD_OUT], [folder / f"fold-{number}" for number in range(FOLDS)]
    assert taken.seen == [set(taught["sample_id"])]
    store = pipeline.find_store(run)
    soup = make_soup(run.recipe, places, taught, store).state_dict()
    spoiled = PixelStore.open(store.path)
    images = np.array(store.images)
    images[store.rows(held_out(folder)["sample_id"].tolist())] = 255
    monkeypatch.setattr(spoiled, "images", images)
    again, other = (make_soup(run.recipe, places, part, spoiled).state_dict() for part in (taught, rows))
    assert all(torch.equal(tensor, again[name]) for name, tensor in soup.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in soup.items())


def test_without_held_out_patients_nothing_can_choose_and_nothing_is_trained(pictures, make_recipe, place):
    recipe = make_recipe({"kind": "binary", "classes": ["0", "1"]}, split={"folds": 2})
    with pytest.raises(
        RecipeError, match=r"package\.serve=soup: 0 patients are held out .*, and 10 are needed: .* set split\.hold_out"
    ):
        medloom.run(asked(recipe), data=pictures, run=place / "no-judges", workers=1)
    assert not list((place / "no-judges").glob("fold-*/checkpoints"))


def test_the_whole_says_what_was_asked_of_it_and_a_fold_does_not(taken):
    assert Run.open(taken.folder).recipe.package.serve == "soup"
    assert Run.open(taken.folder / "fold-0").recipe.package.serve == "ensemble"
    assert read_json(taken.folder / "evaluation/summary.json")["served"] == taken.facts
