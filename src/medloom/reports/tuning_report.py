"""The tuning report: what a study tried, what it found, and how much of that is luck, as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medloom.files import read_json
from medloom.reports import tuning_charts as charts
from medloom.reports.html import write_page
from medloom.reports.plain import plain_words
from medloom.wording import counted

__all__ = ["write_tuning_report"]

Facts = Mapping[str, Any]

_STATES = ("complete", "given up", "failed", "taken up again", "running")


def write_tuning_report(folder: Path) -> Path:
    """Write ``tuning_report.html`` from ``tuning.json`` in a study directory.

    Args:
        folder: The study directory.

    Returns:
        The path of the page.
    """
    facts = read_json(folder / "tuning.json")
    return write_page(
        folder / "tuning_report.html",
        "tuning_report.html",
        facts=facts,
        phantom=facts["phantom"],
        tiles=_tiles(facts),
        plain=plain_words([*_best_sentence(facts), _luck(facts)], _warnings(facts)),
        pictures=_pictures(facts),
        states=_states(facts),
        trials=_rows(facts),
        settings=_settings(facts),
    )


def _best_sentence(facts: Facts) -> list[str]:
    best, own = facts["best"], facts["own"]
    if best is None:
        return []
    beside = f"; the recipe as it is scored {own['score']:.4f}" if own else ""
    return [f"The best of {counted(len(facts['trials']), 'trial')} scored {best['score']:.4f}{beside}."]


def _tiles(facts: Facts) -> list[tuple[str, str, str]]:
    best, own, luck = facts["best"], facts["own"], facts["luck"]
    tiles = []
    if best:
        tiles.append((f"Best {facts['monitor']}", f"{best['score']:.4f}", f"trial {best['number']}"))
    if luck:
        spread = "" if luck["deviation"] is None else f" ± {luck['deviation']:.4f}"
        tiles.append(
            ("Its settings, other seeds", f"{luck['mean']:.4f}", f"{counted(len(luck['scores']), 'seed')}{spread}")
        )
    if own:
        tiles.append(("The recipe as it is", f"{own['score']:.4f}", f"trial {own['number']}"))
    tiles.append(("Trials", str(len(facts["trials"])), _states_text(facts)))
    tiles.append(("Time", _duration(facts["seconds"]), "of all trials together"))
    if price := facts.get("price"):
        hours = f"{price['seconds'] / 3600:.2f} h of the machine at {price['per_hour']:g} {price['currency']} an hour"
        tiles.append(("Cost", f"{price['total']:,.2f} {price['currency']}".strip(), hours))
    return tiles


def _warnings(facts: Facts) -> list[str]:
    found = ["The settings were chosen on these patients: only the test patients can say how good they are."]
    if facts["fast"]:
        found.append(
            "A fast study: small images and two epochs, to see that everything works. Its settings mean nothing."
        )
    by_size = any(parameter["key"].startswith("preprocess.") for parameter in facts["parameters"])
    if by_size:
        found.append(
            "Keys of the preprocessing were searched: each score is measured on images as its trial prepared them, so "
            "scores at different sizes are not quite of the same question."
        )
    return found


def _luck(facts: Facts) -> str:
    """One paragraph on how far the best score can be trusted."""
    luck, count = facts["luck"], sum(one["score"] is not None for one in facts["trials"])
    if luck is None:
        return (
            f"The best of {counted(count, 'score')} on the same validation patients is too good by some luck. How much "
            "of it is the training's own chance is not known here: --confirm 5 trains the best settings with five "
            "other seeds."
        )
    way = "better" if luck["excess"] >= 0 else "worse"
    seeds = counted(len(luck["scores"]), "other seed")
    text = (
        f"The best trial scored {facts['best']['score']:.4f}. Trained again with {seeds}, its settings scored "
        f"{luck['mean']:.4f} on average: the trial was {abs(luck['excess']):.4f} {way} than that."
    )
    if luck["chance"] is None:
        return f"{text} One more seed would show how much scores vary by chance."
    return (
        f"{text} With other seeds alone scores vary by {luck['deviation']:.4f} (standard deviation), so if all "
        f"{luck['tried']} settings were equally good, the best of them would still look {luck['chance']:.4f} better "
        "than it is."
    )


def _pictures(facts: Facts) -> list[dict[str, Any]]:
    """Title, image and what it shows, of what there is enough of."""
    if not any(one["score"] is not None for one in facts["trials"]):
        return []
    found: list[tuple[str, str | list[str], str]] = [
        (
            "History",
            charts.history(facts),
            "Each point is the best epoch of a trial; marks at the edge are trials without one.",
        )
    ]
    if facts["cost"]:
        found.append(("Score against cost", charts.front(facts), "No trial is better than the joined ones in both."))
    if facts["importances"]:
        note = "PED-ANOVA (Watanabe et al. 2023): how much of what tells the best trials from the others is each key's."
        found.append(("What matters", charts.importances(facts), note))
    found.append(("Each key", charts.slices(facts), "Lighter points are later trials."))
    together = charts.contour(facts)
    if together:
        found.append(
            ("Two keys together", together, "The two that matter most; between the points the colour is a guess.")
        )
    found.append(("All keys", charts.parallel(facts), "Each line is a trial; the lighter, the larger its score."))
    places = {"What matters": "importances", "Score against cost": "trials, front"}
    return [
        {"title": title, "uri": uri, "note": note, "place": places.get(title, "trials")} for title, uri, note in found
    ]


def _states(facts: Facts) -> list[list[str]]:
    rows = []
    for state in _STATES:
        of_it = [one for one in facts["trials"] if one["state"] == state]
        if of_it:
            rows.append([state, str(len(of_it)), _duration(sum(one["seconds"] for one in of_it))])
    return rows


def _states_text(facts: Facts) -> str:
    return ", ".join(f"{row[1]} {row[0]}" for row in _states(facts))


def _rows(facts: Facts) -> list[list[str]]:
    """A row for each trial, the best first."""
    sign = -1 if facts["larger_is_better"] else 1
    ranked = sorted(facts["trials"], key=lambda one: (one["score"] is None, sign * (one["score"] or 0), one["number"]))
    keys = [parameter["key"] for parameter in facts["parameters"]]
    return [
        [
            str(one["number"]),
            "–" if one["score"] is None else f"{one['score']:.4f}",
            *([] if facts["cost"] is None else ["–" if one["cost"] is None else f"{one['cost']:,.0f}"]),
            *(one["shown"].get(key, "–") for key in keys),
            _epochs(one),
            _duration(one["seconds"]),
            one["state"] if not one["cause"] else f"{one['state']}: {one['cause']}",
        ]
        for one in ranked
    ]


def _epochs(trial: Facts) -> str:
    best = ", ".join(str(epoch) for epoch in trial["best_epochs"])
    return "–" if trial["epochs"] is None else f"{best} of {trial['epochs']}"


def _settings(facts: Facts) -> str:
    """The best settings as options of the command line."""
    best = facts["best"]
    return "" if best is None else "\n".join(f"--set '{key}={text}'" for key, text in best["shown"].items())


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
