"""``medloom image build``."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer

from medloom.cli.output import say
from medloom.errors import UserError
from medloom.packaging.images.builders import build_command, find_builder, push_command, run
from medloom.packaging.images.context import ImageKind, ImagePlan, ServingRuntime, TorchBuild, write_context
from medloom.packaging.images.ecr import ecr_steps, open_ecr, steps_by_hand

__all__ = ["command"]

_HERE = "CONTEXT"
_Word = TypeVar("_Word")


def command(
    kind: Annotated[str, typer.Argument(metavar="serve|train", help="What the image is for.")],
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="A bundle that is put into it and served by default.")
    ] = None,
    runtime: Annotated[
        str, typer.Option("--runtime", metavar="onnx|openvino", help="What a serving image computes with.")
    ] = "onnx",
    torch: Annotated[
        str | None,
        typer.Option("--torch", metavar="cuda|cpu", help="PyTorch of a training image; default: cuda, with CUDA."),
    ] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="NAME:TAG", help="Name of the image; default: medloom-serve:VERSION.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="REPOSITORY", help="Push it there; Amazon's ECR: log in, make it if need be."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write the build context there, and build nothing."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="IMAGE", help="Image to begin with; one with Python and pip.")
    ] = None,
    platform: Annotated[
        str | None, typer.Option("--platform", metavar="OS/ARCH", help="Such as linux/arm64; default: this machine's.")
    ] = None,
    builder: Annotated[
        str | None,
        typer.Option("--builder", metavar="docker|podman|buildah", help="What builds it; default: what is there."),
    ] = None,
    builder_option: Annotated[
        list[str] | None,
        typer.Option("--builder-option", metavar="OPTION", help="Handed on to the builder; several times."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
) -> None:
    """Build a container image: `serve` answers and predicts in bulk, `train` does everything.

    Docker, Podman or Buildah builds it, whichever is there. What is installed is what this Medloom was tested with,
    each file checked against its hash, and Medloom is the code that runs this command. In the image /opt/medloom holds
    a bill of materials (sbom.json, CycloneDX), licences.txt, and sizes.json. The image takes a command of medloom as
    its arguments.
    """
    plan = _plan(kind, runtime, torch, bundle)
    if output is not None and not dry_run:
        write_context(plan, output)
        say(f"wrote the build context to {output}; build it with: docker build --tag {tag or plan.tag} {output}")
        return
    name = tag or plan.tag
    if push is not None:
        name = push if ":" in push.rpartition("/")[2] else f"{push}:{name.rpartition(':')[2]}"
    found = find_builder(builder) if builder is not None or not dry_run else _likely()
    options = builder_option or []

    def built(context: Path) -> list[str]:
        return build_command(found, context, name, base=base, platform=platform, options=options)

    if dry_run:
        _print([built(Path(_HERE)), push_command(found, name)][: 1 if push is None else 2], ecr_steps(found, name))
        return
    with tempfile.TemporaryDirectory(prefix="medloom-image-") as folder:
        write_context(plan, Path(folder) / "context")
        run(built(Path(folder) / "context"))
    say(f"built {name}")
    if push is None:
        say(
            "\n  ".join(
                ["to push it, give --push REPOSITORY, or to Amazon's ECR by hand:", *steps_by_hand(found, name)]
            )
        )
    else:
        _push(found, name)


def _push(builder: str, name: str) -> None:
    made = open_ecr(builder, name)
    if made is not None:
        say(f"made the repository {made} in ECR; AWS bills what lies in it")
    run(push_command(builder, name))
    say(f"pushed {name}")


def _plan(kind: str, runtime: str, torch: str | None, bundle: Path | None) -> ImagePlan:
    from medloom.pipeline import bundle_of

    what = _one_of(get_args(ImageKind), kind, "an image")
    if torch is not None and what == "serve":
        raise UserError(f"--torch {torch}: a serving image has no PyTorch; leave it out, or build train")
    return ImagePlan(
        what,
        _one_of(get_args(ServingRuntime), runtime, "--runtime"),
        None if bundle is None else bundle_of(bundle),
        _one_of(get_args(TorchBuild), torch or "cuda", "--torch"),
    )


def _one_of(known: tuple[_Word, ...], given: str, what: str) -> _Word:
    """Return the known word that was given."""
    for one in known:
        if one == given:
            return one
    raise UserError(f"{what} is one of {', '.join(map(str, known))}; got {given!r}")


def _likely() -> str:
    """The builder of this machine, or Docker where there is none: to print commands none is needed."""
    try:
        return find_builder()
    except UserError:
        return "docker"


def _print(commands: list[list[str]], steps: list[str]) -> None:
    """What would be run; the context is written to a temporary folder, which is called CONTEXT here."""
    first, *others = [shlex.join(command) for command in commands]
    print("\n".join([first, *(steps if others else []), *others]))
