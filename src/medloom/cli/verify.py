"""``medloom verify``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result
from medloom.wording import counted, one_line

__all__ = ["BundleArgument", "ProvidersOption", "RuntimeOption", "command"]


def _bundle(given: Path) -> Path:
    """Understand a run, by its name or folder, as the bundle in it."""
    from medloom.pipeline import bundle_of

    return bundle_of(given)


BundleArgument = Annotated[
    Path,
    typer.Argument(metavar="BUNDLE", help="A model.tar.gz, its folder, or a run that has one.", callback=_bundle),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", help="onnx, openvino or torch; default: the bundle's own choice."),
]
ProvidersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="What the runtime computes with, such as CUDAExecutionProvider (onnx), GPU (openvino), cuda (torch); "
        "repeat in order of preference [default: the processor].",
    ),
]


def command(bundle: BundleArgument, runtime: RuntimeOption = None, as_json: JsonOption = False) -> None:
    """Check a bundle and replay its golden example.

    Every file is compared with its checksum, then the model is asked about an example whose answer was
    packaged with it.
    """
    from medloom.packaging import verify  # numpy and SciPy: only where they are used

    report = verify(bundle, runtime=runtime)
    phantom = " (learned from phantoms)" if report.phantom else ""
    files = counted(report.files, "file matches its checksum", "files match their checksums")
    text = (
        f"{report.name}{phantom}: sound. {files}; with {report.runtime} in {report.precision} the "
        f"golden example is off by {report.max_difference:.1g} in probability (at most {report.tolerance:g}) and in "
        f"{counted(report.differing_px, 'pixel')} of the mask. {_validated(report.validations)}"
    )
    print_result(asdict(report), text, as_json=as_json)


def _validated(names: Sequence[str]) -> str:
    return f"Validated elsewhere: {', '.join(map(one_line, names))}." if names else "Not validated elsewhere."
