"""Options of a kind that Typer does not know: whose value may be left out, or that take several values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["with_values"]

_OF_PREDICTIONS = {
    "--series": re.compile(r"[0-9]+(\.[0-9]+)*"),
    "--uncertainty": re.compile(r"entropy|mutual-information|variance"),
}
_OPTIONS = {"predict": _OF_PREDICTIONS, "batch": _OF_PREDICTIONS}
"""By command and option, what a value of it looks like; anything else is the next argument."""


_SEVERAL = {"learning-curve": {"--shares": re.compile(r"[0-9.eE+-]+(,[0-9.eE+-]+)*")}}
"""The same of options that take as many values as follow, which are joined by commas."""


def with_values(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which each such option has one value: an empty one where it stood alone, or several joined.

    What names a file or folder that exists is never taken for the value; ``--series=0`` always is one.

    Args:
        arguments: As given on the command line, the command first.

    Example:
        >>> with_values(["predict", "--series", "scans", "--series", "1"])
        ['predict', '--series=', 'scans', '--series=1']
        >>> with_values(["learning-curve", "--shares", "0.1", "0.5", "1", "mine.yaml"])
        ['learning-curve', '--shares=0.1,0.5,1', 'mine.yaml']
    """
    options = _OPTIONS.get(arguments[0], {}) if arguments else {}
    several = _SEVERAL.get(arguments[0], {}) if arguments else {}
    found, rest = list[str](), list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*found, argument, *rest]
        if shape := options.get(argument):
            value = rest.pop(0) if rest and shape.fullmatch(rest[0]) and not Path(rest[0]).exists() else ""
            argument = f"{argument}={value}"
        if shape := several.get(argument):
            values = []
            while rest and shape.fullmatch(rest[0]):
                values.append(rest.pop(0))
            argument = f"{argument}={','.join(values)}" if values else argument
        found.append(argument)
    return found
