"""How counts and metrics are said, and which word was probably meant."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["NOT_DEFINED", "counted", "duration_text", "few", "metric_text", "nearest", "one_line", "size_text"]

NOT_DEFINED = "not defined here"
"""What is said of a metric that the cases do not allow, such as a sensitivity without a positive case."""

_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
"""What may differ between two lines that say the same."""

_LENGTHS = ("px", "mm")


def counted(count: int, one: str, several: str = "") -> str:
    """Return a count with its noun, thousands separated.

    Args:
        count: How many.
        one: The noun for one.
        several: The noun for none and several; by default ``one`` with an s.

    Example:
        >>> counted(1, "class", "classes"), counted(1200, "image")
        ('1 class', '1,200 images')
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def few(lines: Sequence[str], most: int = 10) -> list[str]:
    """Return at most so many lines of a kind, in their order.

    Lines are of a kind if they say the same of different files, or give other numbers or names in quotes.

    Args:
        lines: Such as ``a.tif: truncated``.
        most: Of each kind; of all kinds four times as many.

    Example:
        >>> few(["1.tif: cut", "2.tif: cut", "3.tif: no mask"], most=1)
        ['1.tif: cut', '3.tif: no mask']
    """
    seen: Counter[str] = Counter()
    shown: list[str] = []
    for line in lines:
        kind = _VARIES.sub("", line.partition(": ")[2] or line)
        seen[kind] += 1
        if seen[kind] <= most and len(shown) < 4 * most:
            shown.append(line)
    return shown


def nearest(word: str, valid: Sequence[str]) -> str:
    """Return ``, did you mean 'x'?`` for the valid word nearest to ``word``, or nothing."""
    match = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f", did you mean {match[0]!r}?" if match else ""


def one_line(text: str, most: int = 300) -> str:
    """Return text that others wrote as one line that a terminal may show: control characters escaped, long ones cut.

    Args:
        text: Such as the message of a library, which may quote a file.
        most: Longest result in characters.

    Example:
        >>> one_line("first\\n  second \\x1b[31mred")
        'first second \\\\x1b[31mred'
    """
    words = " ".join(text[: most + 1].split())
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in words)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def metric_text(metric: Mapping[str, float | int | str | None], unit: str = "share") -> str:
    """Return a metric with its interval for a line of text.

    Args:
        metric: ``value``, ``low`` and ``high`` where there is an interval, and ``note`` where there is more to say.
        unit: Its unit; lengths are followed by it.

    Example:
        >>> metric_text({"value": 0.8301, "low": 0.787, "high": 0.9163})
        '0.830 (0.787 to 0.916)'
        >>> metric_text({"value": 4.2}, "mm"), metric_text({"value": None})
        ('4.200 mm', 'not defined here')
        >>> metric_text({"value": None, "note": "1 positive"})
        'not defined here (1 positive)'
    """
    value, low, high, note = (metric.get(key) for key in ("value", "low", "high", "note"))
    if value is None:
        return f"{NOT_DEFINED} ({note})" if note else NOT_DEFINED
    text = f"{value:.3f} {unit}" if unit in _LENGTHS else f"{value:.3f}"
    text = text if low is None or high is None else f"{text} ({low:.3f} to {high:.3f})"
    return f"{text}, {note}" if note else text


def size_text(size: int) -> str:
    """Return a number of bytes for reading.

    Example:
        >>> size_text(512), size_text(1_240_000), size_text(510_000_000)
        ('512 B', '1.2 MB', '510 MB')
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:.0f} {unit}"


def duration_text(seconds: float) -> str:
    """Return a time for reading, to two digits or so.

    Example:
        >>> duration_text(0.42), duration_text(8.3), duration_text(75), duration_text(9000)
        ('0.4 s', '8 s', '1 min 15 s', '2 h 30 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds < 4.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes + (rest >= 30)} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def patients_text(source: Mapping[str, Any]) -> str:
    """Say what says whose the images of a run are, and how many patients there are.

    Args:
        source: ``patient_source`` of ``prepare.json``.

    Example:
        >>> patients_text({"status": "known", "source": "PatientID of DICOM", "patients": 81, "samples_without": 0})
        'patients from PatientID of DICOM: 81'
        >>> patients_text({"status": "unknown", "source": "", "patients": 0, "samples_without": 12})
        'patients: not known; 12 images, each taken for itself'
    """
    without = counted(source["samples_without"], "image")
    if source["status"] == "unknown":
        return f"patients: not known; {without}, each taken for itself"
    more = f", and {without} of nobody known" if source["samples_without"] else ""
    return f"patients from {source['source']}: {source['patients']:,}{more}"
