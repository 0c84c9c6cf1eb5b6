"""``medloom package``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.options import RUNS, ImagesOption, JsonOption, RunArgument, RunsOption, SetOption
from medloom.cli.output import print_result
from medloom.events import Events
from medloom.extras import require

__all__ = ["command"]

_Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="[fp32|bf16|fp16|int8]",
        help="Compute it in fewer bits, if that loses no more than the limit; default: the recipe's package.precision.",
    ),
]
_Limit = Annotated[
    float | None,
    typer.Option(
        "--precision-limit", min=0, max=1, help="Largest loss of the task's metric on validation [default: 0.002]."
    ),
]


def command(
    run: RunArgument,
    overrides: SetOption = None,
    precision: _Precision = None,
    precision_limit: _Limit = None,
    data: ImagesOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Write the bundle of an evaluated run: one file that predicts, verifies itself and serves.

    With --precision the network is brought into fewer bits, and what that costs beside float32 is measured on the
    validation patients. Above the limit nothing is packaged and the run stays as it is. Else the run is measured again
    where it was not measured so, and its report with it, so that the figures of the bundle are those of its precision.
    """
    given = {"package.precision": precision, "package.precision_limit": precision_limit}
    settings = [*(overrides or ()), *(f"{key}={value}" for key, value in given.items() if value is not None)]
    with pipeline.opened_run(run, runs, settings, command="package") as opened, Display() as display:
        require("torch", "train")
        with pipeline.tracked(opened, Events([display])) as events:
            again = precision is not None and pipeline.measure_again(opened, images=data, events=events)
            bundle = str(pipeline.package(opened, events=events))
            if again:
                pipeline.report(opened, events=events)
    print_result({"bundle": bundle}, f"{bundle}\nNext:\n  medloom verify {bundle}", as_json=as_json)
