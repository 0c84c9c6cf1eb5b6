"""What is measured of a model that sees neighbouring slices is what it answers to the whole stack."""

from dataclasses import replace

import numpy as np
import pandas as pd

from medloom.data import open_source
from medloom.data.context import Spot, joined_ids, surroundings
from medloom.evaluation import evaluate


class BrightAboveIsForeground:
    """A runtime whose probability is the brightness of the slice above, in its first of two channels."""

    name = "above"

    def run(self, batch, table=None):
        return np.clip(batch[:, 4:5] / 200.0, 0.0, 1.0).astype(np.float32)


def test_cases_are_those_of_a_whole_stack(recipe, predictor, data, tmp_path):
    folder, catalogue = data
    spots = [Spot((row.patient_id,), float(row.sample_id[-3:]), "page") for row in catalogue.itertuples()]
    index = surroundings(spots, 1).index
    catalogue = catalogue.assign(context=list(joined_ids(index, catalogue["sample_id"].tolist())))
    point = recipe.evaluate.model_copy(update={"threshold": 0.6, "min_region_px": 5})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"context": 1}), "evaluate": point})
    predictor = replace(predictor, runtime=BrightAboveIsForeground(), context=1)
    shuffled = catalogue.sample(frac=1, random_state=0)
    with open_source(folder) as source:
        summary = evaluate(recipe, shuffled, source, predictor, tmp_path / "run")
    cases = pd.read_csv(tmp_path / "run/evaluation/cases.csv").set_index("sample_id")
    found = predictor.at(replace(predictor.point, **summary["operating_point"]))
    for _, rows in catalogue.groupby("patient_id"):
        masks = found.predict_slices([folder / name for name in rows["image"]])
        for sample, one in zip(rows["sample_id"], masks, strict=True):
            assert cases.loc[sample, "predicted_px"] == one.area_px
    assert cases["predicted_px"].sum() > 0
