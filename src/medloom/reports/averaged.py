"""What a report says of a training by workers whose results were averaged."""

from __future__ import annotations

from medloom.reports.facts import Facts
from medloom.wording import counted

__all__ = ["averaged_rows", "averaged_warnings"]


def averaged_rows(training: Facts) -> dict[str, str]:
    """Return rows of the table of a training; none where one process trained.

    Args:
        training: As in ``training.json``.

    Example:
        >>> averaged_rows({"average": {"workers": 2, "of": "gradients", "every": 1, "rounds": 30, "orders": 61,
        ...     "again": 1, "refused": {"corrupt": 1}, "shorts": 0}})
        {'Workers': '2, gradients averaged', 'Rounds': '30; 1 shard tried again; 1 result refused (corrupt)'}
    """
    found = training.get("average")
    if not found:
        return {}
    every = f" every {found['every']} steps" if found["every"] > 1 else ""
    refused = sum(found["refused"].values())
    said = [f"{found['rounds']:,}"]
    if found["again"]:
        said.append(f"{counted(found['again'], 'shard')} tried again")
    if refused:
        said.append(f"{counted(refused, 'result')} refused ({', '.join(sorted(found['refused']))})")
    if found["shorts"]:
        said.append(f"{found['shorts']:,} without all images")
    return {"Workers": f"{found['workers']:,}, {found['of']} averaged{every}", "Rounds": "; ".join(said)}


def averaged_warnings(training: Facts) -> list[str]:
    """Return why a training by workers was not that of whole batches, and how often images were missing in it.

    Args:
        training: As in ``training.json``; of a run with folds or seeds, with the facts of each.
    """
    members = training.get("folds") or training.get("seeds") or [training]
    averaged = [one["average"] for one in members if one.get("average")]
    said = [f"{text}." for one in averaged for text in one["unequal"]]
    shorts, rounds = (sum(one[key] for one in averaged) for key in ("shorts", "rounds"))
    if shorts:
        said.append(f"{shorts:,} of {rounds:,} training steps went on without some of their images.")
    return list(dict.fromkeys(said))
