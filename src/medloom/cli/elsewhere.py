"""``medloom evaluate BUNDLE --data OTHER``: a finished model on images of another source."""

from __future__ import annotations

from pathlib import Path

import typer

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.output import ExitCode, print_result, table, warn
from medloom.data.opening import images_at, name_of
from medloom.errors import UserError
from medloom.events import Events

__all__ = ["evaluate_bundle", "is_bundle"]

_FOLDER = Path("validations")


def is_bundle(given: str | None) -> bool:
    """Whether what was named is a bundle, and no run."""
    path = Path(given or "")
    return bool(given) and (path.is_file() or (path / "bundle.json").is_file())


def evaluate_bundle(
    bundle: str,
    images: str | None,
    folder: Path | None,
    recipe: str | None,
    settings: list[str],
    name: str,
    record: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measure a bundle on other images and say what was found.

    Args:
        bundle: The bundle.
        images: Folder or zip with the images and their truth.
        folder: Where to write; beside others in ``validations`` by default.
        recipe: Says how the images are arranged.
        settings: Values of it to override.
        name: What the source is called.
        record: Where to write the bundle anew.
        as_json: Whether the result is printed as JSON.
    """
    if images is None:
        raise UserError("a bundle is measured on images that are named: --data PATH, a folder or zip with their labels")
    where = folder or _FOLDER / name_of(images_at(images))
    with pipeline.problems_listed(where), Display() as display:
        made = pipeline.validate_elsewhere(
            bundle,
            images,
            where,
            recipe=recipe,
            settings=settings,
            name=name,
            record=record,
            events=Events([display]),
        )
    for text in made.summary["elsewhere"]["findings"]:
        warn(text)
    print_result(dict(made.summary), _text(made), as_json=as_json)
    if made.set_aside:
        raise typer.Exit(ExitCode.SET_ASIDE)


def _text(made: pipeline.Elsewhere) -> str:
    from medloom.evaluation import beside_rows

    lines = [table(beside_rows(made.summary)), f"Report: {made.page}"]
    return "\n".join([*lines, *([f"Bundle with this validation: {made.bundle}"] if made.bundle else [])])
