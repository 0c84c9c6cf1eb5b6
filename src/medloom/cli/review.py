"""``medloom review``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.options import RUNS, ImagesOption, JsonOption, RunArgument, RunsOption
from medloom.cli.output import ExitCode, print_result, say, table, warn
from medloom.errors import UserError
from medloom.evaluation.parts import Part
from medloom.events import Events

if TYPE_CHECKING:
    from medloom.pipeline.reviewing import Reviewed

__all__ = ["command"]

_SCHEME = "sagemaker://"

_Endpoint = Annotated[str | None, typer.Option("--endpoint", metavar="NAME", help="An endpoint of Amazon SageMaker.")]
_Server = Annotated[str | None, typer.Option("--server", metavar="URL", help="Or the address of a medloom serve.")]
_Token = Annotated[Path | None, typer.Option("--token-file", help="With --server: file with the token that it wants.")]
_Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Which model, where there are several.")]
_Split = Annotated[Part, typer.Option("--split", help="Which patients; test opens the test set once more.")]
_Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most N images, drawn evenly.")]
_AtOnce = Annotated[int, typer.Option("--at-a-time", min=1, max=64, help="Requests at a time.")]
_Tolerance = Annotated[
    float, typer.Option("--tolerance", min=0.0, max=1.0, help="Difference of a probability that counts as none.")
]


def command(
    run: RunArgument,
    endpoint: _Endpoint = None,
    server: _Server = None,
    token_file: _Token = None,
    model: _Model = None,
    split: _Split = "validation",
    data: ImagesOption = None,
    limit: _Limit = None,
    at_once: _AtOnce = 4,
    tolerance: _Tolerance = 1e-3,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Send a run's patients to its deployed model; compare and measure what it answers.

    Each image is one request with its file's own bytes, and its metadata where the model takes some. The report shows,
    beside what the bundle answers here: which answers differ, the metrics with intervals, those that the run reported,
    how long answers took, and the worst cases; and it warns where another bundle is served.

    Exit codes: 0 all answers agree; 1 one differs by more than --tolerance or in its operating point; 3 all agree that
    there are, and some images were set aside.
    """
    from medloom.cli.remote import client_of
    from medloom.pipeline.reviewing import Wanted, review

    if (endpoint is None) == (server is None):
        raise UserError("expected --endpoint NAME or --server URL: where the model is deployed")
    address = server or f"{_SCHEME}{str(endpoint).removeprefix(_SCHEME)}"
    name = address.removeprefix(_SCHEME).partition("://")[2] or address.removeprefix(_SCHEME)
    with (
        client_of(address, token_file, model) as client,
        pipeline.opened_run(run, runs, command="review") as opened,
        Display() as display,
    ):
        wanted = Wanted(split, limit, at_once, tolerance)
        found = review(opened, client, name, wanted, images=data, events=Events([display]))
    _report(found, as_json=as_json)


def _report(found: Reviewed, *, as_json: bool) -> None:
    from medloom.reports.reviewed import agreement_text, review_rows

    facts = found.facts
    say(f"requests: {facts['images']:,}")
    for text in facts["warnings"]:
        warn(text)
    aside = facts["set_aside"]
    if aside:
        codes = sorted({one["code"] for one in aside})
        warn(f"{len(aside):,} were set aside: {', '.join(codes)}; which is in {found.page}")
    latency = facts["latency_ms"]
    rows = [("", "endpoint", "bundle here", "reported"), *map(tuple, review_rows(dict(facts))[:12])]
    took = f"Answers took {latency['p50']:g} ms (p50), {latency['p99']:g} ms (p99)."
    text = f"{agreement_text(dict(facts))}\n{table(rows)}\n{took}"
    print_result({**facts, "page": str(found.page)}, f"{text}\nReport: {found.page}", as_json=as_json)
    if facts["agreement"]["beyond"]:
        raise typer.Exit(1)
    if aside:
        raise typer.Exit(ExitCode.SET_ASIDE)
