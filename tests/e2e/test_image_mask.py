"""The general recipe on images of one's own: PNGs, one file for each MRI sequence, some of them missing."""

import numpy as np
import pytest
from PIL import Image

from medloom.data.phantom import PhantomPlan, phantom_patient
from medloom.files import read_json

CHANNELS = ("t1", "flair", "t1c")
PATTERNS = {
    "data.image": "'images/{patient}/{sample}_{channel}.png'",
    "data.mask": "'masks/{patient}/{sample}.png'",
    "data.channels": "[t1, flair, t1c]",
    "target.mask_values": "{background: 0, tumour: 1}",
}


@pytest.fixture(scope="module")
def images(place):
    """Six patients as PNGs, one file a sequence."""
    root = place / "mine"
    plan = PhantomPlan(size=64, slices=(8, 10))
    for patient in range(1, 7):
        for number, (image, mask) in enumerate(phantom_patient(plan, patient)):
            for folder in (root / f"images/{patient:03d}", root / f"masks/{patient:03d}"):
                folder.mkdir(parents=True, exist_ok=True)
            for plane, channel in enumerate(CHANNELS):
                Image.fromarray(image[..., plane]).save(root / f"images/{patient:03d}/{number}_{channel}.png")
            Image.fromarray((mask > 0).astype(np.uint8)).save(root / f"masks/{patient:03d}/{number}.png")
    return root


def test_it_runs_to_a_bundle(images, medloom):
    code, out, err = medloom("run", "image-mask", "--data", str(images), "--run", "mine", **PATTERNS)
    assert code == 0, err
    assert "PHANTOM" not in out
    facts = read_json(medloom.folder / "runs/mine/prepare.json")
    assert facts["store"]["shape"][1] == 3
    assert sum(part["patients"] for part in facts["counts"].values()) == 6


def test_a_missing_sequence_is_refused_or_filled_as_the_recipe_says(images, medloom):
    (images / "images/003/2_t1c.png").rename(images / "spare.png")
    try:
        refused = medloom("prepare", "image-mask", "--data", str(images), "--run", "refuse", **PATTERNS)
        rule = {"data.missing_channel": "copy:t1"}
        copied = medloom("prepare", "image-mask", "--data", str(images), "--run", "copy", **PATTERNS, **rule)
    finally:
        (images / "spare.png").rename(images / "images/003/2_t1c.png")
    assert refused[0] == 2
    assert "t1c" in refused[2]
    assert copied[0] == 0, copied[2]


def test_every_bad_file_is_named_at_once_and_can_be_set_aside(images, medloom):
    bad = {
        images / "images/001/0_t1.png": b"not a picture",
        images / "masks/002/1.png": (images / "images/002/1_flair.png").read_bytes(),
    }
    good = {path: path.read_bytes() for path in bad}
    try:
        for path, content in bad.items():
            path.write_bytes(content)
        failed = medloom("prepare", "image-mask", "--data", str(images), "--run", "bad", **PATTERNS)
        policy = {"data.policy": "quarantine", "data.quarantine_limit": "0.1"}
        aside = medloom("prepare", "image-mask", "--data", str(images), "--run", "aside", **PATTERNS, **policy)
    finally:
        for path, content in good.items():
            path.write_bytes(content)
    assert failed[0] == 2
    assert "images/001/0_t1.png" in failed[2]
    assert "masks/002/1.png" in failed[2]
    assert aside[0] == 3, aside[2]
    assert "masks/002/1.png" in aside[2]
    facts = read_json(medloom.folder / "runs/aside/prepare.json")
    assert facts["found"] == facts["used"] + 2
    assert sum(entry["count"] for entry in facts["set_aside"]) == 2
