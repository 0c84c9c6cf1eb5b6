"""The model card of a bundle: what it predicts, how good it was and on whom, for people.

Everything in it is from the manifest. It is written twice: as Markdown, and as a page that loads nothing.

Source: Mitchell et al., Model cards for model reporting, FAT* 2019, arXiv:1810.03993
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from medloom.evaluation.parts import NOT_VALIDATED
from medloom.evaluation.text import precision_texts
from medloom.packaging.card_layout import Block, Chapter, Table, as_html, as_markdown
from medloom.packaging.manifest import About, InsteadOfEnsemble, Manifest, Validation
from medloom.targets import KINDS
from medloom.wording import counted, metric_text, one_line

__all__ = ["CARD", "CARD_PAGE", "card_files"]

CARD, CARD_PAGE = "MODEL_CARD.md", "MODEL_CARD.html"
"""Their names in a bundle."""

_PARTS = {"test": "held-out test patients", "validation": "validation patients", "folds": "the held-out folds"}
_PHANTOM = "Learned from made-up images (phantoms); of no use on real ones."
_NO_USE = (
    "Its makers wrote none (package.card.intended_use of the recipe). As it stands: research and teaching, on images "
    "like those that it learned from."
)
_NEVER = (
    "Decisions about patients: it is no medical device, and nobody has approved it.",
    "Images of another kind, region, device or protocol than those that it learned from, until it was measured there.",
    "People unlike those that it learned from, as far as they are described below.",
)
_COMMANDS = (
    "`medloom verify model.tar.gz` replays its golden example",
    "`medloom predict model.tar.gz IMAGES…` on the command line",
    "`medloom serve model.tar.gz` over HTTP",
    '`medloom.load("model.tar.gz").predict(image)` in Python',
)
_MOST_TEXT = 2000


def card_files(manifest: Manifest) -> dict[str, bytes]:
    """Return the model card as files of the bundle, by their names.

    Args:
        manifest: Of the bundle; all that the card says is in it.
    """
    chapters, title = _chapters(manifest), manifest.name
    return {CARD: as_markdown(title, chapters).encode(), CARD_PAGE: as_html(f"Model card: {title}", chapters).encode()}


def _chapters(manifest: Manifest) -> list[Chapter]:
    about = manifest.about or About()
    return [
        Chapter("", _opening(manifest, about)),
        Chapter("Intended use", [_text(about.intended_use) or _NO_USE]),
        Chapter("Out of scope", [*filter(None, [_text(about.out_of_scope)]), list(_NEVER)]),
        Chapter("Limits", [[_text(one) for one in about.limits] or "None were written down."]),
        Chapter("Measured at home", _measured(manifest, about)),
        Chapter("Measured elsewhere", _elsewhere(manifest.validations)),
        Chapter("Learned from", _learned(manifest, about)),
        Chapter("Where its labels come from", [_origin(manifest)]),
        Chapter("Probabilities", [_calibrated(manifest)]),
        Chapter("Runtime and precision", _computed(manifest)),
        Chapter("Weights", _weights(manifest, about)),
        Chapter("How to use it", _how(manifest)),
        Chapter("Version", _version(manifest, about)),
    ]


def _opening(manifest: Manifest, about: About) -> list[Block]:
    target = manifest.target
    said = [
        _PHANTOM if manifest.phantom else "",
        f"{_text(about.description).rstrip('.')}." if about.description else "",
        f"Predicts {KINDS[target.kind].summary}: {', '.join(target.names)}. Made with Medloom {manifest.medloom}. It "
        "is no medical device.",
    ]
    return [*filter(None, said)]


def _measured(manifest: Manifest, about: About) -> list[Block]:
    if manifest.measured is None:
        whom = "On whom is not written in the bundle."
    else:
        note = f" {manifest.measured.note}" if manifest.measured.note else ""
        with_what = f"computed with {manifest.measured.runtime} in {manifest.measured.precision}"
        whom = (
            f"On {_PARTS[manifest.measured.part]} of the source that it learned from, {with_what}, with 95 % "
            f"intervals.{note}"
        )
    return [whom, _metrics(manifest.internal_metrics()), *_instead(manifest.instead_of_ensemble), *_groups(about)]


def _instead(found: InsteadOfEnsemble | None) -> list[Block]:
    if found is None:
        return []
    how = {"soup": "the mean of their weights", "distilled": "trained on their probabilities"}[found.what]
    return [
        f"It stands for an ensemble of {found.members} networks ({how}). Its metrics minus the ensemble's, on the same "
        f"{one_line(found.cases)}, whom none of them saw:",
        _metrics(found.difference),
    ]


def _groups(about: About) -> list[Block]:
    """The headlines of each group that is large enough."""
    names = list(dict.fromkeys(name for group in about.groups for name in group["metrics"]))
    if not names:
        return ["Metrics of groups (sex, age, site and the like) were not taken, or every group was too small."]
    rows = [
        [
            f"{_text(group['column'])}: {_text(group['value'])}",
            str(group["images"]),
            *(metric_text(group["metrics"].get(name, {"value": None})) for name in names),
        ]
        for group in about.groups
    ]
    return ["By groups; differences between small ones may be chance:", Table(["group", "images", *names], rows)]


def _elsewhere(validations: Iterable[Validation]) -> list[Block]:
    blocks: list[Block] = []
    for one in validations:
        patients = one.counts.get("patients")
        whom = "" if patients is None else f" of {counted(patients, 'patient')}"
        blocks += [
            f"{one_line(one.name)}: {counted(one.counts.get('images') or 0, 'image')}{whom}.",
            _metrics(one.metrics),
        ]
    return blocks or [NOT_VALIDATED]


def _metrics(metrics: Mapping[str, Any]) -> Table:
    rows = [
        [name, metric_text(metric)]
        for name, metric in metrics.items()
        if isinstance(metric, Mapping) and metric.get("value") is not None
    ]
    return Table(["metric", "value (95 % interval)"], rows)


def _learned(manifest: Manifest, about: About) -> list[Block]:
    counts = manifest.training_data.counts
    said = [_part(part, found) for part, found in counts.items() if isinstance(found, Mapping)]
    people = [[_text(one["column"]), one["over"], str(one["known"]), _text(one["text"])] for one in about.demographics]
    whose = Table(["of whom", "counted", "known of", "how many"], people)
    return [
        *filter(None, [_text(about.source)]),
        "; ".join(said) + "." if said else "How many patients is not written in the bundle.",
        whose if people else "Age, sex and the like of these people are not known to the bundle.",
    ]


def _part(part: str, found: Mapping[str, Any]) -> str:
    sizes: Iterable[tuple[str, Any]] = ((name, found.get(name)) for name in ("patients", "samples"))
    classes = found.get("classes")
    each = ", ".join(f"{name} {count:,}" for name, count in classes.items()) if isinstance(classes, Mapping) else ""
    return f"{part}: {', '.join(f'{size:,} {name}' for name, size in sizes if isinstance(size, int))}" + (
        f" ({_text(each)})" if each else ""
    )


def _origin(manifest: Manifest) -> Block:
    if manifest.origin is None:
        return "Who gave them, from what and how far readers agree is not stated."
    return [f"{title}: {_text(text)}" for title, text in manifest.origin.rows()]


def _calibrated(manifest: Manifest) -> str:
    if manifest.calibration is None:
        return "As the network gives them; they were not calibrated."
    return f"Calibrated on validation patients ({manifest.calibration.method})."


def _computed(manifest: Manifest) -> list[Block]:
    said = [f"Its figures are those of {manifest.runtime} in {manifest.computed_in()}, and hold with that alone."]
    if manifest.precision is not None:
        said += precision_texts(manifest.precision.model_dump())
    said += [
        f"With {one.runtime} its answers were up to {one.largest_difference:.1g} off on "
        f"{counted(one.images, 'image')} of its own."
        for one in manifest.agreement
    ]
    return [*said]


def _weights(manifest: Manifest, about: About) -> list[Block]:
    begun, licence = manifest.model.weights, _text(about.licence)
    first = "The training began with fresh weights."
    if begun is not None:
        where = f"{one_line(begun.source)}; licence {one_line(begun.licence)}"
        first = f"The training began with {one_line(begun.name)} ({where})."
    own = f"Licence of the weights here: {licence}." if licence else "Its makers named no licence for the weights here."
    return [f"Network: {one_line(manifest.model.name)}. {first}", own]


def _how(manifest: Manifest) -> list[Block]:
    channels = ", ".join(map(one_line, manifest.channels))
    plane = "" if manifest.input.plane is None else f" Images are seen in the plane {manifest.input.plane}."
    return [
        f"One image has the channels {channels}.{plane} The operating point that was measured is the default.",
        list(_COMMANDS),
    ]


def _version(manifest: Manifest, about: About) -> list[Block]:
    versions = ", ".join(f"{one_line(name)} {one_line(version)}" for name, version in manifest.versions.items())
    contact = [f"Contact: {_text(about.contact)}."] if about.contact else []
    return [
        f"Medloom {manifest.medloom}, bundle format {manifest.format}, served by {manifest.runtime}; {versions}. "
        f"Fingerprint of what it learned from: {one_line(manifest.training_data.fingerprint, 80)}.",
        *contact,
    ]


def _text(text: object) -> str:
    return one_line(str(text), _MOST_TEXT)
