"""``medloom deidentify``."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.display import progress
from medloom.cli.options import JsonOption
from medloom.cli.output import ExitCode, print_result, warn
from medloom.wording import counted, few

__all__ = ["command"]

_SHOWN = 10


def command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A DICOM file, or a folder of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="New folder to write to.")],
    allow_burned_in: Annotated[
        bool, typer.Option("--allow-burned-in", help="Export images that may have text in their pixels too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove who the patient is from DICOM files, by the Basic Profile of PS3.15.

    Names, dates, identifiers, free text and private attributes go; UIDs and patient IDs become pseudonyms that are the
    same in all files of one call. Pixels are not changed: images that may have text burned in, by what they say or by
    what is seen in their pixels, are withheld. Files are named by their number in the order of their paths. The exit
    code is 3 if some were not exported.
    """
    from medloom.imaging.deidentify import deidentify_files

    with progress("deidentify") as update:
        outcomes = deidentify_files(source, output, allow_burned_in=allow_burned_in, progress=update)
    bad = [outcome for outcome in outcomes if outcome.reason]
    reasons = [f"file {outcome.number}: {outcome.reason}" for outcome in bad]
    shown = few(reasons)
    for text in shown:
        warn(text)
    if len(shown) < len(reasons):
        warn(f"and {len(reasons) - len(shown):,} more; --json lists all of them")
    unseen = [outcome.number for outcome in outcomes if outcome.unseen]
    if unseen:
        numbers = ", ".join(map(str, unseen[:_SHOWN])) + (
            f" and {len(unseen) - _SHOWN:,} more; --json lists all of them" if len(unseen) > _SHOWN else ""
        )
        warn(f"exported though their pixels cannot be decoded, so nothing looked for text in them: files {numbers}")
    value = {
        "files": len(outcomes),
        "exported": len(outcomes) - len(bad),
        "withheld": len(bad),
        "unseen": len(unseen),
        "reasons": Counter(outcome.reason for outcome in bad),
        "results": [asdict(outcome) for outcome in outcomes],
    }
    text = f"{len(outcomes) - len(bad)} of {counted(len(outcomes), 'file')} exported to {output}; look at their pixels"
    print_result(value, text, as_json=as_json)
    if bad:
        raise typer.Exit(ExitCode.SET_ASIDE)
