"""The error gallery of labels: the most confident mistakes, or largest errors, with what the network looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image as PillowImage

from medloom.data import Source
from medloom.evaluation.classification import TargetInfo
from medloom.evaluation.label_reading import Floats, read_inputs
from medloom.files import write_bytes, write_json
from medloom.imaging import encode_png
from medloom.inference import LabelPredictor
from medloom.inference.encoding import to_grey
from medloom.recipe import Recipe

__all__ = ["SHOWN", "WORST_BY", "Heatmap", "choose_errors", "choose_mistakes", "write_label_gallery"]

Heatmap = Callable[[Floats, Floats | None, int], Floats | None]
"""From ``(1, C, h, w)``, encoded metadata and an output's number to ``(h, w)`` in 0..1, or None."""

SHOWN = 8
"""Most items of a gallery."""

WORST_BY = {"real": "spreads"}
"""Entry of an item by which the worst comes first, where it is not ``score``."""

_COLUMNS = ["sample_id", "truth", "decision", "score", "output"]
_SIDE_PX = 320
_HEAT = np.array([255, 40, 0], np.float32)


def choose_mistakes(table: pd.DataFrame, target: TargetInfo) -> pd.DataFrame:
    """Choose the cases that were decided wrongly with the most confidence.

    Args:
        table: Rows of ``cases.csv``, of one split.
        target: What is predicted: classes or labels.

    Returns:
        ``sample_id, truth, decision, score, output``: names of the true and the decided class, the probability of
        the decision, and the output that a heat map is made for. A case with several labels comes once for each that
        is wrong.
    """
    if target.kind == "multi-label":
        found = pd.concat([_of_label(table, *label) for label in enumerate(target.names)], ignore_index=True)
    else:
        found = _of_classes(table, target)
    return _worst(found, target)


def choose_errors(table: pd.DataFrame, target: TargetInfo, known: ArrayLike) -> pd.DataFrame:
    """Choose the predicted numbers that are furthest from the true ones.

    Args:
        table: Rows of ``cases.csv``, of one split.
        target: What is predicted: numbers.
        known: True values of all samples, shape (N, targets). An error is as large as it is in standard deviations
            of its target there, so that targets of different units can be compared, and folds with each other.

    Returns:
        ``sample_id, target, truth, predicted, error, spreads, output``: the error is predicted minus true, in the
        unit of the target; ``spreads`` is its size in standard deviations; and the output that a heat map is made
        for. A case with several targets comes once for each that is among the worst.
    """
    values = np.asarray(known, float)
    spread, size = values.std(axis=0), np.abs(values).max(axis=0)
    units = np.where(spread > 1e-12 * size, spread, 1.0)  # a constant has no spread
    parts = [_of_number(table, index, name, float(units[index])) for index, name in enumerate(target.names)]
    return _worst(pd.concat(parts, ignore_index=True), target)


def _worst(found: pd.DataFrame, target: TargetInfo) -> pd.DataFrame:
    by = WORST_BY.get(target.kind, "score")
    return found.sort_values(by, ascending=False, kind="stable").head(SHOWN)


def _of_number(table: pd.DataFrame, index: int, name: str, spread: float) -> pd.DataFrame:
    """Cases whose number was not predicted exactly."""
    truth, predicted = table[f"truth_{index}"].to_numpy(float), table[f"score_{index}"].to_numpy(float)
    found = pd.DataFrame(
        {
            "sample_id": table["sample_id"].to_numpy(),
            "target": name,
            "truth": truth,
            "predicted": predicted,
            "error": predicted - truth,
            "spreads": np.abs(predicted - truth) / spread,
            "output": index,
        }
    )
    return found[found["error"] != 0.0]


def _of_classes(table: pd.DataFrame, target: TargetInfo) -> pd.DataFrame:
    """Cases of another class than was decided."""
    wrong = table[table["truth"] != table["decision"]]
    decision = wrong["decision"].to_numpy(int)
    if target.kind == "binary":
        score = np.where(decision == 1, wrong["score"], 1.0 - wrong["score"])
    else:
        score = wrong[target.score_columns].to_numpy(float)[np.arange(len(wrong)), decision]
    return pd.DataFrame(
        {
            "sample_id": wrong["sample_id"].to_numpy(),
            "truth": [target.names[index] for index in wrong["truth"].to_numpy(int)],
            "decision": [target.names[index] for index in decision],
            "score": score,
            "output": np.zeros(len(wrong), int) if target.kind == "binary" else decision,
        },
        columns=_COLUMNS,
    )


def _of_label(table: pd.DataFrame, index: int, name: str) -> pd.DataFrame:
    """Cases that have one of several labels and were not given it, or the reverse."""
    wrong = table[table[f"truth_{index}"] != table[f"decision_{index}"]]
    given = wrong[f"decision_{index}"].to_numpy(int) == 1
    score = wrong[f"score_{index}"].to_numpy(float)
    return pd.DataFrame(
        {
            "sample_id": wrong["sample_id"].to_numpy(),
            "truth": np.where(given, f"not {name}", name),
            "decision": np.where(given, name, f"not {name}"),
            "score": np.where(given, score, 1.0 - score),
            "output": index,
        },
        columns=_COLUMNS,
    )


def write_label_gallery(
    folder: Path,
    chosen: pd.DataFrame,
    rows: pd.DataFrame,
    source: Source,
    predictor: LabelPredictor,
    recipe: Recipe,
    heatmap: Heatmap | None,
) -> None:
    """Write ``gallery.json`` and, for each chosen case, the image and its heat map in ``gallery/``.

    Args:
        folder: The run's ``evaluation`` folder.
        chosen: From ``choose_mistakes`` or ``choose_errors``.
        rows: Rows of the catalogue that hold them.
        source: Where the files are.
        predictor: What was measured.
        recipe: Says how to read the files.
        heatmap: Shows where the network looked; None for the images alone.
    """
    known = rows.set_index("sample_id").loc[list(chosen["sample_id"])]
    inputs = read_inputs(known, source, predictor, recipe.data, batch_size=1)
    items = []
    for case, (image, encoded) in zip(chosen.to_dict("records"), inputs, strict=True):
        shown = _shown(image[0])
        item: dict[str, Any] = {str(key): value for key, value in case.items() if key != "output"}
        item["file"] = _write(folder, f"gallery/{case['sample_id']}.png", shown)
        heat = heatmap(image, encoded, int(case["output"])) if heatmap else None
        if heat is not None:
            item["heatmap"] = _write(
                folder, f"gallery/{case['sample_id']}_heat_{case['output']}.png", _heated(shown, heat)
            )
        items.append(item)
    write_json(folder / "gallery.json", items)


def _write(folder: Path, name: str, picture: NDArray[np.uint8]) -> str:
    write_bytes(folder / name, encode_png(picture))
    return name


def _shown(network_input_chw: Floats) -> NDArray[np.uint8]:
    """What the network saw, for people: (H, W, 3)."""
    planes = network_input_chw if len(network_input_chw) == 3 else network_input_chw[:1]
    grey = np.stack([to_grey(plane) for plane in planes], axis=-1)
    return _fit(np.broadcast_to(grey, (*grey.shape[:2], 3)).astype(np.uint8))


def _heated(shown: NDArray[np.uint8], heat_hw: Floats) -> NDArray[np.uint8]:
    image = PillowImage.fromarray(heat_hw.astype(np.float32))
    heat = np.asarray(image.resize((shown.shape[1], shown.shape[0]), PillowImage.Resampling.BILINEAR))[..., None]
    mixed = shown * (1.0 - 0.6 * heat) + _HEAT * (0.6 * heat)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring the longer side to about ``_SIDE_PX``."""
    share = _SIDE_PX / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share)))
    return np.asarray(PillowImage.fromarray(picture).resize(size, PillowImage.Resampling.BILINEAR))
