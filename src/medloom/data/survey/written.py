"""A survey as a recipe with the evidence for each line, in YAML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from medloom.data.survey.findings import Finding
from medloom.data.survey.whole import Survey
from medloom.errors import RecipeError
from medloom.recipe.reference import yaml_text
from medloom.recipe.sections.data import OriginConfig
from medloom.wording import counted

__all__ = ["written"]

_WIDTH = 110
_ORIGIN = (
    "Who drew the masks or gave the labels, from what, and how far readers agree. No file says it; what you fill in "
    "goes into the data report and the model card, and changes no result."
)
_SECTIONS = ("target", "data", "split", "preprocess", "augment", "model", "loss", "train", "evaluate", "package")


def written(found: Survey) -> str:
    """Return the recipe as commented YAML.

    Args:
        found: What was found.

    Returns:
        Text that `medloom run` takes as a recipe. It names no file and no patient.

    Raises:
        RecipeError: If a setting names a group of keys in the place of one of them.
    """
    keys = [finding.key for finding in found.findings]
    for key in keys:
        inside = next((other for other in keys if other.startswith(f"{key}.")), None)
        if inside is not None:
            raise RecipeError(f"--set {key}: it is a group of keys; set one of them, such as {inside}")
    lines = [*_header(found), f"name: {found.name}"]
    if all(finding.key != "description" for finding in found.findings):
        lines.append(f"description: {yaml_text(_description(found))}")
    findings = sorted(found.findings, key=lambda finding: _place(finding.key))
    return "\n".join([*lines, *_group(findings, 0)]) + "\n"


def _place(key: str) -> int:
    """Where a key stands: one of no section first, as whoever reads the recipe says whether there is such a key."""
    section, dot, _ = key.partition(".")
    return (_SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS)) if dot else -1


def _description(found: Survey) -> str:
    return f"Found in a folder: {found.reading}"


def _header(found: Survey) -> Iterator[str]:
    people = f" of {counted(found.patients, 'patient')}" if found.patients else ""
    yield from _comment(f"Worked out from the files: {found.reading}; {counted(found.samples, 'image')}{people}.", "")
    yield from _comment(
        "Above each line stands what speaks for it. Every other key is explained in docs/recipe.md.", ""
    )
    said = {
        "Warning": found.warnings,
        "Please check": found.checks,
        "Note": found.notes,
        "Considered": found.considered,
    }
    for title, texts in said.items():
        for text in texts:
            yield from _comment(f"{title}: {text}", "")


def _group(findings: Sequence[Finding], depth: int) -> Iterator[str]:
    indent = "  " * depth
    done: set[str] = set()
    for finding in findings:
        parts = finding.key.split(".")
        if len(parts) == depth + 1:
            yield from _line(finding, parts[-1], indent)
        elif parts[depth] not in done:
            done.add(parts[depth])
            yield f"{indent}{parts[depth]}:"
            inside = [other for other in findings if other.key.split(".")[depth : depth + 1] == [parts[depth]]]
            yield from _group([other for other in inside if other.key.count(".") > depth], depth + 1)
            yield from _unknown(parts[: depth + 1])


def _unknown(section: Sequence[str]) -> Iterator[str]:
    """Lines to fill in at the end of a section, of what no file says."""
    if list(section) == ["data"]:
        yield from _comment(_ORIGIN, "  ")
        yield "  # origin:"
        yield from (f"  #   {key}:" for key in OriginConfig.model_fields)


def _line(finding: Finding, key: str, indent: str) -> Iterator[str]:
    yield from _comment(finding.evidence, indent)
    if finding.instead:
        yield from _comment(f"Or: {finding.instead}", indent)
    if finding.check:
        yield from _comment(f"Check: {finding.check}", indent)
    yield f"{indent}{key}: {yaml_text(finding.value)}"


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent=prefix, subsequent_indent=f"{indent}#   ")
