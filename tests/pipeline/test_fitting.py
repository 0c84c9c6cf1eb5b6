"""Three lines from a folder to a predictor."""

import numpy as np
import pytest

import medloom
from medloom.data.survey import Undecided
from medloom.events import Noted, Warned
from medloom.imaging import encode_png

SETTINGS = (
    "model.name=perceptron",
    "train.epochs=2",
    "train.device=cpu",
    "preprocess.size=[32,32]",
    "evaluate.bootstrap=20",
)


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten patients each; one is brighter."""
    rng = np.random.default_rng(0)
    for number in range(40):
        kind = ("dark", "bright")[number % 2]
        (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
        pixels = rng.normal(70 + 90 * (number % 2), 20, (32, 32)).clip(0, 255).astype(np.uint8)
        (tmp_path / "set" / kind / f"person{number // 2:02d}_{number % 2}.png").write_bytes(encode_png(pixels))
    return tmp_path / "set"


def test_a_folder_becomes_a_predictor_and_a_run_that_is_kept(folder, tmp_path):
    heard = []
    predictor = medloom.fit(
        folder, run=tmp_path / "run", settings=SETTINGS, preset="quick", workers=1, on_event=heard.append
    )
    bright, dark = (
        predictor.predict(next(iter(sorted((folder / kind).iterdir())))).plain()["probabilities"]["bright"]
        for kind in ("bright", "dark")
    )
    assert bright > dark
    assert "layout: folder-classes" in (tmp_path / "run/found.yaml").read_text()
    assert (tmp_path / "run/report.html").is_file()
    said = [event.text for event in heard if isinstance(event, Noted | Warned)]
    assert any("40 images" in text for text in said)


def test_a_folder_that_can_be_read_in_two_ways_is_not_guessed_at(folder, tmp_path):
    rows = "\n".join(
        f"{path.parent.name}/{path.name},{n % 2},{(n // 2) % 2}" for n, path in enumerate(sorted(folder.rglob("*.png")))
    )
    (folder / "labels.csv").write_text("image,fracture,oedema\n" + rows + "\n")
    with pytest.raises(Undecided) as caught:
        medloom.fit(folder, run=tmp_path / "run", settings=SETTINGS)
    assert len(caught.value.options) >= 2
    assert not (tmp_path / "run").exists()
