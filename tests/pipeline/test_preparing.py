"""Preparing from a program: what can be looked at, and a run that goes on from there."""

from __future__ import annotations

import numpy as np

import medloom
from medloom import pipeline

FEW = {
    "data.path": None, "data.kaggle": None, "data.phantom.patients": 6, "data.phantom.size": 32,
    "data.phantom.slices": (4, 4), "preprocess.size": (32, 32),
}  # fmt: skip


def test_one_call_gives_catalogue_pixels_and_facts_and_keeps_the_run(place):
    told = []
    prepared = medloom.prepare(
        "brain-mri-small", settings=FEW, runs=place / "prepared", on_event=told.append, workers=1
    )
    rows = prepared.store.rows(prepared.catalogue["sample_id"].tolist())
    assert prepared.store.images[rows].shape == (24, 3, 32, 32)
    has_mask = np.asarray(prepared.store.masks[rows]).any(axis=(1, 2))
    np.testing.assert_array_equal(has_mask, prepared.store.foreground_px[rows] > 0)
    assert prepared.facts["phantom"]
    assert told
    run = pipeline.open_run("brain-mri-small", place / "prepared")
    assert run.facts("prepare.json", "prepare") == prepared.facts
    assert run.recipe.preprocess.size == (32, 32)
    assert (run.folder / "data_report.html").is_file()
