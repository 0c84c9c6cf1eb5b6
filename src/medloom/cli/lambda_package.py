"""``medloom lambda package``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result

if TYPE_CHECKING:
    from medloom.packaging.functions.zipped import FunctionZip

__all__ = ["ArchitectureOption", "RuntimeOption", "command"]

RuntimeOption = Annotated[
    str, typer.Option("--runtime", metavar="python3.X", help="Lambda's Python: python3.12 or python3.13.")
]
ArchitectureOption = Annotated[
    str, typer.Option("--architecture", metavar="x86_64|arm64", help="The processor; an hour of arm64 costs less.")
]


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE|RUN", help="Bundle, or a run that has one.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The zip that is written.")] = Path(
        "function.zip"
    ),
    runtime: RuntimeOption = "python3.13",
    architecture: ArchitectureOption = "x86_64",
    as_json: JsonOption = False,
) -> None:
    """Write the zip of a function of AWS Lambda that answers with a bundle.

    It holds Medloom, what serving needs and the bundle, and can be made on any machine: pip takes the files for the
    function's processor and Python, each checked against its hash. The same input gives the same bytes. What would be
    larger than Lambda's 250 MB is refused.
    """
    from medloom.packaging.functions.zipped import FunctionPlan, write_function
    from medloom.pipeline import bundle_of

    made = write_function(FunctionPlan(bundle_of(bundle), runtime, architecture), output)
    print_result({**made.plain(), "runtime": runtime, "architecture": architecture}, _said(made), as_json=as_json)


def _said(made: FunctionZip) -> str:
    from medloom.packaging.functions.zipped import DIRECT_BYTES, HANDLER, UNPACKED_BYTES

    way = "it can go to Lambda itself"
    if made.packed > DIRECT_BYTES:
        way = f"above {DIRECT_BYTES // 2**20} MB it has to go through a bucket, as medloom lambda deploy does"
    largest = ", ".join(f"{name} {size / 2**20:.0f} MB" for name, size in list(made.sizes.items())[:5])
    return (
        f"{made.path}\n"
        f"packed: {made.packed / 2**20:.0f} MB; {way}\n"
        f"unpacked: {made.unpacked / 2**20:.0f} of {UNPACKED_BYTES // 2**20} MB, layers included: {largest}, ...\n"
        f"handler: {HANDLER}"
    )
