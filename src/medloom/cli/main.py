"""The ``medloom`` command: names its commands, and loads only the one that was asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from medloom import __version__
from medloom.cli.optional_values import with_values
from medloom.cli.output import ExitCode, fail, message_line, messages_for_people, say
from medloom.errors import MedloomError
from medloom.extras import lacking
from medloom.files import cache_dir, is_disk_full
from medloom.jobs import ENDS_WITH_PARENT
from medloom.memory import is_out_of_memory
from medloom.signals import Terminated, announced, termination_raised

__all__ = ["COMMANDS", "command_of", "main"]

COMMANDS: dict[str, str] = {
    "run": "Prepare, train, evaluate, package and report in one go.",
    "prepare": "Check the images, split by patient, store the pixels.",
    "train": "Train the network; goes on where it was stopped.",
    "tune": "Search a recipe's settings; goes on where it was stopped.",
    "learning-curve": "Train on growing shares of the training patients.",
    "evaluate": "Measure the best weights, or the results of others.",
    "compare": "Compare finished runs on the same patients.",
    "package": "Write the bundle: weights, ONNX, preprocessing, metrics.",
    "report": "Write the data report and the run report (HTML).",
    "verify": "Check a bundle and replay its golden example.",
    "predict": "Segment or classify files, folders and zips with a bundle.",
    "batch": "Predict any number of files; goes on where it was stopped.",
    "pipeline": "Do what an event of a serverless pipeline says.",
    "drift": "Say whether images are like those a model learned from.",
    "explain": "Show what speaks for answers, and whether to rely on that.",
    "review": "Send a run's patients to its deployed model; compare.",
    "track": "Send trackers what they lack of a run.",
    "ui": "Open MLflow's pages on the tracked runs.",
    "serve": "Answer HTTP requests with a bundle.",
    "inspect": "Say what images are, and what would be refused and why.",
    "deidentify": "Remove who the patient is from DICOM files.",
    "runs list": "List the runs, how far they are and how large.",
    "runs show": "Say what a run holds and what it measured.",
    "runs delete": "Delete runs; asks first.",
    "cache list": "List stored pixels, phantoms and downloads.",
    "cache prune": "Remove from the cache what was not used lately.",
    "data get": "Download a recipe's data set from Kaggle.",
    "data phantom": "Make synthetic images in a recipe's own layout.",
    "image build": "Build a container image that serves or trains.",
    "lambda package": "Write the zip of a function that answers with a bundle.",
    "lambda deploy": "Put a bundle into a function, with its URL and events.",
    "lambda list": "List the functions in the account, with their URLs.",
    "lambda delete": "Delete a function and all that belongs to it; asks first.",
    "sagemaker train": "Train a recipe there; bring the run back.",
    "sagemaker tune": "Search settings with trials there; the study is here.",
    "sagemaker deploy": "Put a bundle behind an endpoint, also for a while.",
    "sagemaker transform": "Predict a folder of images in a job there.",
    "sagemaker batch": "Predict any number of files there with medloom batch.",
    "sagemaker status": "Say how the training of a run stands there.",
    "sagemaker logs": "Print what the training of a run printed there.",
    "sagemaker pull": "Bring a run back as an ordinary run directory.",
    "sagemaker list": "List what is in the account, and what costs now.",
    "sagemaker delete": "Delete endpoints and models, stop jobs; asks first.",
    "sagemaker policy": "Print the rights that a command needs there.",
    "recipes": "List the built-in recipes.",
    "names": "List what a recipe may name, such as encoders.",
    "init": "Write a commented recipe to edit.",
    "doctor": "Say what is installed and what this machine can do.",
}
"""Every command with its one-line help; ``data get`` lives in ``medloom.cli.data_get`` and so on."""

_HIDDEN = {"fold": "Train and measure one prepared fold.", "trials": "Do trials of a study."}
"""Commands that are started as jobs and not listed."""

_GROUPS = {
    "image": "Build container images.",
    "data": "Get or make images.",
    "runs": "List, show and delete runs.",
    "cache": "List and remove what can be made again.",
    "lambda": "Put a bundle into a function of AWS Lambda.",
    "sagemaker": "Train, deploy and predict on Amazon SageMaker.",
}

_STOPPED = "stopped; nothing half written is left, and the same command goes on"

_HELP = """From a folder of medical images to a measured, packaged, served model.

Start with: medloom run brain-mri
"""

_EPILOG = "Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 3 done but some inputs were set aside, "
_EPILOG += "74 the disk is full, 130 stopped with Ctrl-C, 143 stopped with SIGTERM."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code; see ``medloom.cli.output.ExitCode``.
    """
    arguments = with_values(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("MPLCONFIGDIR", str(cache_dir() / "matplotlib"))  # else it writes into the user's home
    if os.environ.pop(ENDS_WITH_PARENT, None):
        _end_with_parent()
    with termination_raised(), announced(_say_at_once), messages_for_people():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        if arguments == ["recipes"]:  # nothing to parse: answering at once saves the parser's tenth of a second
            _load("recipes")()
        else:
            typer.main.get_command(_build(arguments)).main(args=arguments, prog_name="medloom")
    except SystemExit as stop:
        if stop.code == ExitCode.STOPPED:
            say(_STOPPED)
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:  # before or after the parser, which turns it into an exit
        say(_STOPPED)
        return ExitCode.STOPPED
    except Terminated:
        say(f"{_STOPPED} (SIGTERM)")
        return ExitCode.TERMINATED
    except (MedloomError, OSError) as error:
        return fail(error)
    except ModuleNotFoundError as error:
        missing = lacking(error)
        if missing is None:
            raise
        return fail(missing)
    except Exception as error:
        if not is_disk_full(error) and not is_out_of_memory(error):
            raise
        return fail(error)
    return 0


def _say_at_once(text: str) -> None:
    """Print from the handler of a signal, which may have interrupted a print."""
    line = message_line("info", text)
    os.write(2, f"\n{line}\n".encode() if os.isatty(2) else f"{line}\n".encode())


def _end_with_parent() -> None:
    from medloom.backends import end_with_parent  # only for a job of the local back end

    end_with_parent()


def _build(arguments: Sequence[str]) -> typer.Typer:
    """Make the application with only the asked-for command loaded, so that ``--help`` answers at once."""
    words = [word for word in arguments if not word.startswith("-")][:2]
    asked = {" ".join(words), *words[:1]}
    everything = "_MEDLOOM_COMPLETE" in os.environ  # the shell asks for completions
    app = _typer(_HELP, _EPILOG)
    app.callback()(_options)
    groups = {name: _typer(text) for name, text in _GROUPS.items()}
    for name, text in (COMMANDS | _HIDDEN).items():
        group, _, last = name.rpartition(" ")
        function = _load(name) if everything or name in asked else _unloaded
        said = text if function is _unloaded else None
        (groups[group] if group else app).command(last, help=said, hidden=name in _HIDDEN)(function)
    for name, sub in groups.items():
        app.add_typer(sub, name=name)
    return app


def _typer(help_text: str, epilog: str | None = None) -> typer.Typer:
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
    return typer.Typer(
        help=help_text,
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=settings,
    )


def command_of(name: str) -> Any:  # noqa: ANN401 - a command of the parser that Typer brings
    """Return one command, as another one calls it.

    Args:
        name: As in ``COMMANDS``.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name)(_load(name))
    return typer.main.get_command(app)


def _load(name: str) -> Callable[..., object]:
    module = importlib.import_module(f"medloom.cli.{name.replace(' ', '_').replace('-', '_')}")
    function: Callable[..., object] = module.command
    return function


def _unloaded() -> None:
    """Stand in the list of commands for one that was not asked for."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medloom {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


if __name__ == "__main__":
    sys.exit(main())
