"""``medloom sagemaker pull``."""

from __future__ import annotations

from medloom.cli.options import RUNS, JsonOption, RunArgument, RunsOption
from medloom.cli.output import print_result
from medloom.cli.sagemaker_following import pulled
from medloom.cli.sagemaker_options import RegionOption, known_job, wanted
from medloom.pipeline.names import run_folder
from medloom.wording import size_text

__all__ = ["command"]


def command(
    run: RunArgument, runs: RunsOption = RUNS, region: RegionOption = None, as_json: JsonOption = False
) -> None:
    """Bring a run back as an ordinary run directory; also while it still trains, as far as it is.

    What is here already is not fetched again. The run then evaluates, serves and goes on here as any other.
    """
    from medloom.backends.sagemaker.jobs import job_facts

    known = known_job(run, runs, wanted(region, None, None, ""))
    account, job = known.account, known.training()
    facts = job_facts(account, job)
    brought = pulled(account, facts.plain["CheckpointConfig"]["S3Uri"], run_folder(run, runs))
    folder = brought.folder
    text = f"{brought.files} files, {size_text(brought.bytes)}, {brought.fetched} fetched now: {folder}"
    if (folder / "model.tar.gz").is_file():
        text += f"\nNext:\n  medloom evaluate {folder}\n  medloom serve {folder / 'model.tar.gz'}"
    else:
        text += f"\nThe training is not finished: it is {facts.status.state} there."
    value = {"run": str(folder), "files": brought.files, "fetched": brought.fetched, "state": str(facts.status.state)}
    print_result(value, text, as_json=as_json)
