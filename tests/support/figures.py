"""Which numbers of a page come from no file beside it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

_NUMBER = re.compile(r"(?<![\w.#])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
_INSIDE = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_HIDDEN = re.compile(r"<style>.*?</style>|<title>.*?</title>|<svg.*?</svg>|<[^>]*>", re.DOTALL)
_FACTORS = (1.0, 100.0, 1e-6, 1 / 60, 1 / 3600)
"""As it is, a percentage, megabytes, minutes, hours."""
_LONG = 20
"""Numbers of longer lists are drawn, not written."""


class Figures:
    """Every number in the files of a folder: values, counts of entries, and numbers within texts.

    Args:
        folder: Holds JSON, JSON lines, CSV and YAML.
    """

    def __init__(self, folder: Path) -> None:
        found = set(_FACTORS[1:2]) | {0.0, 1.0}
        for path in folder.rglob("*"):
            found |= {value for plain in _read(path) for value in _numbers(plain)}
        templates = files("medloom.reports") / "templates"
        prose = " ".join(one.read_text() for one in templates.iterdir() if one.name.endswith(".html"))
        self.facts = sorted(found)
        self.prose = {text.replace(",", "") for text in _NUMBER.findall(_HIDDEN.sub(" ", prose))}

    def strangers(self, page: str) -> list[str]:
        """Return the numbers that a reader sees and no file holds, in their order."""
        shown = _NUMBER.findall(_HIDDEN.sub(" ", page))
        return [text for text in dict.fromkeys(shown) if not self._known(text.replace(",", "").replace("−", "-"))]

    def _known(self, text: str) -> bool:
        if text in self.prose:
            return True
        mantissa, _, power = text.partition("e")
        digits = len(mantissa.partition(".")[2]) - int(power or 0)
        value, room = abs(float(text)), 0.5 * 10.0**-digits * (1 + 1e-6)
        return any(abs(abs(fact) * factor - value) <= room for fact in self.facts for factor in _FACTORS)


def _read(path: Path) -> Iterator[Any]:
    if path.suffix == ".json":
        yield json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        yield from map(json.loads, path.read_text().splitlines())
    elif path.suffix in (".yaml", ".yml"):
        yield yaml.safe_load(path.read_text())
    elif path.name == "patients.csv":
        with path.open(newline="") as handle:
            yield [dict(row) for row in csv.DictReader(handle)]


def _numbers(plain: Any) -> Iterator[float]:
    if isinstance(plain, bool) or plain is None:
        return
    if isinstance(plain, int | float):
        yield float(plain)
    elif isinstance(plain, str):
        yield from map(float, _INSIDE.findall(re.sub(r"(?<=\d),(?=\d{3})", "", plain)))
    elif isinstance(plain, dict):
        yield float(len(plain))
        for key, value in plain.items():
            yield from map(float, _INSIDE.findall(str(key)))
            yield from _numbers(value)
    else:
        yield float(len(plain))
        if not (len(plain) > _LONG and all(isinstance(one, int | float | None) for one in plain)):
            for value in plain:
                yield from _numbers(value)
