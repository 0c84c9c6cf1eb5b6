"""What is packaged of the folds' networks: their ensemble, or one network in its place.

Every patient of the folds taught one of the networks, so none of them can say whether one network is as good as all.
What was held out of all folds can. Where it chooses (a soup is packaged or not), one half of its patients chooses and
the other half judges; where nothing is chosen, all of it judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medloom import data, evaluation, models, training
from medloom.data import SplitRule, TableEncoding
from medloom.data.kinds import truth_of
from medloom.data.splits.given import HELD_OUT
from medloom.errors import RecipeError
from medloom.evaluation.instead import FEWEST_PATIENTS
from medloom.events import Events, Noted
from medloom.models.network import Network
from medloom.pipeline.graph import Exported, export
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.names import DISTILLED
from medloom.pipeline.places import find_images, find_store, in_use
from medloom.pipeline.runs import Run
from medloom.wording import counted

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from medloom.evaluation import Together

__all__ = ["Served", "check_can_serve", "serve"]

_BASINS = (
    "Networks that begin with fresh weights mostly end in basins of their own, and the mean of their weights lies in "
    "none of them; those that begin with the same pretrained weights often share one."
)
_FEWEST_PATIENTS = {"soup": 2 * FEWEST_PATIENTS}
"""Of the patients held out: half of them choose, and as many judge."""


@dataclass(frozen=True)
class Served:
    """A network that may be packaged.

    Args:
        run: The run of the whole, with the recipe that the network was made from.
        network: The network, or the ensemble of several.
        tables: How metadata become numbers for each of them.
        summary: What the summary of the whole says of it beside the metrics over all folds.
        trained: Where its training is, if that is not that of the folds.
    """

    run: Run
    network: Network
    tables: Sequence[TableEncoding | None]
    summary: dict[str, Any]
    trained: Path | None = None

    def export(self, events: Events) -> Exported:
        """Write its graph into the run directory, and load it as the bundle will be loaded."""
        return export(self.run, self.network, self.tables, events=events)


def check_can_serve(whole: Run, fold: Run) -> None:
    """Raise if a recipe asks for one network in the place of the ensemble and nothing is held out to measure it on.

    Args:
        whole: The run of the whole.
        fold: One of its folds, prepared.

    Raises:
        RecipeError: Saying which key holds patients out.
    """
    asked, precision = whole.recipe.package.serve, whole.recipe.package.precision
    if asked == "ensemble":
        return
    if precision != "fp32":
        raise RecipeError(
            f"package.precision={precision}: with package.serve={asked} what fewer bits cost the one network is not "
            "measured on validation; take package.precision=fp32, or package.serve=ensemble"
        )
    catalogue = data.read_catalogue(fold.folder / "catalogue.csv")
    patients = catalogue.loc[catalogue["split"] == HELD_OUT, "patient_id"].nunique()
    if patients < (least := _FEWEST_PATIENTS.get(asked, 1)):
        raise RecipeError(
            f"package.serve={asked}: {counted(patients, 'patient')} {'is' if patients == 1 else 'are'} held out of all "
            f"folds, and {least} {'is' if least == 1 else 'are'} needed: every other patient taught one of the "
            "networks, so nothing could tell what one network loses against all; set split.hold_out, such as 0.2"
        )


def serve(whole: Run, folds: Sequence[Run], *, events: Events) -> Served:
    """Make what the recipe asks for, and measure it beside the ensemble on what was held out of all folds.

    Args:
        whole: The run of the whole.
        folds: Their runs, each trained and measured.
        events: Told what happens.

    Returns:
        What is to be packaged; its graph is in the run directory.
    """
    tables = [read_encoding(fold) for fold in folds]
    members = [training.load_best(fold.folder, fold.recipe) for fold in folds]
    widths = [0 if table is None else len(table.names) for table in tables]
    network = models.Ensemble(members, whole.recipe.predicts().activation, widths)
    ensemble = Served(whole, network, tables, {})
    with _together(whole, folds, events) as together:
        if together.rows.empty:
            return replace(ensemble, summary=_computed(together, ensemble.export(events)))
        if whole.recipe.package.serve == "ensemble":
            exported = ensemble.export(events)
            return _written(together, ensemble, together.measure(exported.predictor), exported)
        instead = {"soup": _soup_or_ensemble, "distilled": _distilled}[whole.recipe.package.serve]
        return instead(together, ensemble, folds, events)


@contextmanager
def _together(whole: Run, folds: Sequence[Run], events: Events) -> Iterator[Together]:
    where, catalogue = find_images(whole, None, events=events), data.read_catalogue(whole.folder / "catalogue.csv")
    with in_use(where), data.open_source(where) as source:
        places = [fold.folder for fold in folds]
        yield evaluation.Together(whole.recipe, places, catalogue, source, events.progress("evaluate"))


def _soup_or_ensemble(together: Together, ensemble: Served, folds: Sequence[Run], events: Events) -> Served:
    """The soup where it is as good, on the half of the held-out patients that chooses; the other half judges."""
    events.emit(Noted("the mean of the folds' weights as one network (a soup), beside their ensemble"))
    run, catalogue = ensemble.run, together.catalogue
    taught = catalogue[catalogue["split"] != HELD_OUT]
    network = training.make_soup(run.recipe, [fold.folder for fold in folds], taught, find_store(run, events=events))
    soup = Served(run, network, [None], {})
    of_soup = together.measure(soup.export(events).predictor)
    exported = ensemble.export(events)
    of_ensemble = together.measure(exported.predictor)
    chooses = of_soup["sample_id"].isin(together.rows.loc[_choosing(together), "sample_id"]).to_numpy()
    choosing, judging = (evaluation.compare(together, of_ensemble[who], of_soup[who]) for who in (chooses, ~chooses))
    good = evaluation.is_as_good(choosing)
    text = _soup_text(choosing, judging, len(folds), good=good)
    what = {"what": "soup" if good else "ensemble", "members": len(folds), "text": text}
    facts = {"asked": "soup", **what, "choosing": choosing, "judging": judging}
    events.emit(Noted(text))
    if not good:
        return _written(together, ensemble, of_ensemble[~chooses], exported, facts)
    return _written(together, soup, of_soup[~chooses], soup.export(events), facts)


def _distilled(together: Together, ensemble: Served, folds: Sequence[Run], events: Events) -> Served:
    """The one network that learned the answers of all; nothing is chosen, so all that was held out judges."""
    student = Run.open(ensemble.run.folder / DISTILLED)
    recipe = ensemble.run.recipe.model_copy(update={"model": student.recipe.model})
    network = training.load_best(student.folder, student.recipe)
    one = Served(Run(ensemble.run.folder, recipe), network, [read_encoding(student)], {}, student.folder)
    of_ensemble = together.measure(ensemble.export(events).predictor)
    exported = one.export(events)
    table = together.measure(exported.predictor)
    judging = evaluation.compare(together, of_ensemble, table)
    mine, theirs = (sum(one.numel() for one in of.network.parameters()) for of in (one, ensemble))
    text = (
        f"One network is packaged that learned the answers of the ensemble of the {len(folds)} folds' networks "
        f"(distilled); it has {mine:,} of their {theirs:,} parameters. On {judging['cases_text']}: "
        f"{evaluation.said(judging)}."
    )
    events.emit(Noted(text))
    facts = {"asked": "distilled", "what": "distilled", "members": len(folds), "text": text, "judging": judging}
    return _written(together, one, table, exported, facts)


def _choosing(together: Together) -> NDArray[np.bool_]:
    """Which of the held-out rows choose."""
    rows, recipe = together.rows, together.recipe
    strata = truth_of(recipe).strata(rows)
    return data.choosing_half(rows if strata is None else rows.assign(stratum=strata), SplitRule.of(recipe.split))


def _soup_text(choosing: dict[str, Any], judging: dict[str, Any], members: int, *, good: bool) -> str:
    judged = f"On {judging['cases_text']}, which chose nothing: {evaluation.said(judging)}."
    chose = f"on {choosing['cases_text']}, which chose and judge nothing"
    what = f"the mean of the weights of the {members} folds' networks (a soup)"
    if good:
        return (
            f"One network is packaged, {what}: {chose}, it is as good as their ensemble: {_first(choosing)}. {judged}"
        )
    return (
        f"The ensemble is packaged, not {what}: {chose}, the soup is not shown to be as good: "
        f"{evaluation.said(choosing)}. {judged} {_BASINS}"
    )


def _first(found: dict[str, Any]) -> str:
    return evaluation.said(found, found["headlines"][:1])


def _written(
    together: Together,
    served: Served,
    table: pd.DataFrame,
    exported: Exported,
    facts: dict[str, Any] | None = None,
) -> Served:
    """Write the metrics of what is packaged, and return it with what the summary says of it."""
    package = served.run.recipe.package
    summary = together.write(
        table,
        exported.predictor,
        served.run.folder,
        measured_with={"runtime": package.runtime, "precision": package.precision},
        heatmap=served.network.heatmap,
    )
    said = _computed(together, exported)
    said["held_out"] = {**summary["test"], "cases_text": together.cases_text(table)}
    if facts is not None:
        said["served"] = facts
    return replace(served, summary=said)


def _computed(together: Together, exported: Exported) -> dict[str, Any]:
    """How far other runtimes are from what is packaged, and what its precision cost, as a summary says them."""
    said: dict[str, Any] = {"agreement": list(exported.agreement)}
    if exported.computed:
        made = {"computed": exported.computed, "calibrated_on": exported.calibrated_on}
        said["precision"] = {**(together.precision or {}), **made}
    return said
