"""What a run can answer of the questions that checklists for studies ask: each with the file that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from medloom.evaluation.parts import measured, part_of
from medloom.evaluation.text import sentence_case
from medloom.recipe.sections.data import OriginConfig
from medloom.reports.demographics import demographic_table
from medloom.reports.facts import Facts, patient_source, set_aside_sentence
from medloom.reports.metrics import value_text, with_interval
from medloom.targets import KINDS
from medloom.wording import counted

__all__ = ["ANSWERS", "Answer", "Known"]

Answer = tuple[str, str] | None
"""What is said and in which file; None where only the authors know."""


@dataclass(frozen=True)
class Known:
    """What the stages of a run wrote.

    Args:
        prepared: ``prepare.json``.
        recipe: ``recipe.yaml``.
        training: ``training.json``; empty before it.
        summary: ``summary.json``; empty before it.
        environment: ``environment`` of ``run.json``.
        openings: How often the test set was opened, in words.
        limits: What a reader must know before relying on the metrics.
        gallery: ``gallery.json``.
        at: Where the evaluation is, beside the page, such as ``evaluation/``.
        appearance: Whether the bundle knows how the training images look.
    """

    prepared: Facts
    recipe: Facts
    training: Facts = field(default_factory=dict)
    summary: Facts = field(default_factory=dict)
    environment: Facts = field(default_factory=dict)
    openings: str = ""
    limits: tuple[str, ...] = ()
    gallery: Facts = field(default_factory=dict)
    at: str = "evaluation/"
    appearance: bool = False

    @property
    def part(self) -> str:
        """What was measured."""
        return part_of(self.summary)


def _kind(known: Known) -> Answer:
    target = known.prepared["target"]
    what = f"{KINDS[target['kind']].summary}: {', '.join(target['names'])}"
    return f"A deep-learning model ({known.recipe['model']['name']}) that predicts {what}.", "recipe.yaml"


def _intended(known: Known) -> Answer:
    card = known.recipe.get("package", {}).get("card", {})
    return (card["intended_use"], "recipe.yaml, package.card") if card.get("intended_use") else None


def _source(known: Known) -> Answer:
    data = known.recipe.get("data", {})
    if known.prepared["phantom"]:
        return "Made by a phantom generator; there are no people behind it.", "prepare.json, phantom"
    return (
        (f"{data['kaggle']} on Kaggle, or a folder laid out like it.", "recipe.yaml, data")
        if data.get("kaggle")
        else None
    )


def _counts(known: Known) -> Answer:
    parts = [f"{part}: {_people(one)}{_outcomes(one)}" for part, one in known.prepared.get("counts", {}).items()]
    return (f"{sentence_case('; '.join(parts))}.", "prepare.json, counts") if parts else None


def _people(one: Facts) -> str:
    whose = "" if one.get("patients") is None else f"{counted(one['patients'], 'patient')}, "
    return f"{whose}{counted(one['samples'], 'image')}"


def _outcomes(one: Facts) -> str:
    classes = ", ".join(f"{name} {count:,}" for name, count in one.get("classes", {}).items())
    marked = f"{one['foreground_samples']:,} with foreground" if "foreground_samples" in one else ""
    return f" ({classes or marked})" if classes or marked else ""


def _excluded(known: Known) -> Answer:
    found = counted(known.prepared.get("found", 0), "sample")
    said = set_aside_sentence(known.prepared) or f"None of {found} was set aside."
    return f"{said} Whom the data set itself left out is for the authors to say.", "prepare.json, set_aside"


def _missing(known: Known) -> Answer:
    said = set_aside_sentence(known.prepared) or "No sample lacked its image, mask or label."
    return said, "prepare.json, set_aside"


def _preparation(known: Known) -> Answer:
    plain = known.recipe.get("preprocess", {})
    if "size" not in plain:
        return None
    how = plain.get("normalise", {}).get("method", "not")
    size = "×".join(map(str, plain["size"]))
    channels = ", ".join(known.recipe.get("data", {}).get("channels", ()))
    said = f"Images brought to {size} pixels ({plain.get('fit', 'stretch')}), grey levels normalised ({how})"
    return f"{said}; channels {channels}. The same for all patients.", "recipe.yaml, preprocess"


def _predictors(known: Known) -> Answer:
    labels = known.recipe.get("data", {}).get("labels") or {}
    metadata = labels.get("metadata") or {}
    columns = [*metadata.get("numeric", ()), *metadata.get("categorical", ())]
    used = columns if known.recipe.get("model", {}).get("metadata", "none") != "none" else []
    also = f" and the columns {', '.join(used)}" if used else " alone"
    return f"The pixels of the image{also}.", "recipe.yaml, data, model"


def _outcome(known: Known) -> Answer:
    target, whose = known.prepared["target"], "in a table or in the names of folders"
    where = "painted in mask files" if KINDS[target["kind"]].truth_is_mask else whose
    said = f"{sentence_case(KINDS[target['kind']].summary)}: {', '.join(target['names'])}, as {where}."
    stated = _stated("reference_standard", "labelled_from", "protocol")(known)
    how = stated[0] if stated else "How it was found out is for the authors to say."
    return f"{said} {how}", "recipe.yaml, target, data.origin"


def _stated(*keys: str) -> Callable[[Known], Answer]:
    """What the recipe states of where the labels come from."""

    def answer(known: Known) -> Answer:
        origin = OriginConfig.model_validate(known.recipe.get("data", {}).get("origin") or {})
        titles = dict(zip(origin.plain(), origin.rows(), strict=True))
        said = [f"{title}: {text}" for key, (title, text) in titles.items() if key in keys]
        return (f"{'; '.join(said)}.", "recipe.yaml, data.origin") if said else None

    return answer


def _partition(known: Known) -> Answer:
    rule = known.prepared.get("split")
    if not rule:
        return None
    if rule.get("folds"):
        how = f"{counted(rule['folds'], 'fold')}, each the test part once"
    else:
        how = f"asked for {', '.join(f'{part} {rule[part]:.0%}' for part in ('train', 'validation', 'test'))}"
    by = f"by {rule['by']}{', stratified' * bool(rule['stratify'])}, seed {rule['seed']}"
    counts = _counts(known)
    return f"Drawn {by}: {how}. {counts[0] if counts else ''}".strip(), "prepare.json, split, counts"


def _disjoint(known: Known) -> Answer:
    whose = patient_source(known.prepared)
    if whose["status"] == "unknown":
        return (
            "Image: no patient is known, so images of one patient may be in two parts.",
            "prepare.json, patient_source",
        )
    checked = "no patient is in two parts, which was checked" if whose["apart"] else "some patients are in two parts"
    return f"Patient, by {whose['source']}: {checked}.", "prepare.json, patient_source, audit"


def _pseudonyms(known: Known) -> Answer:
    return (
        "What the run writes names patients and images by pseudonyms; how the images were de-identified before is for "
        "the authors to say.",
        "catalogue.csv",
    )


def _model(known: Known) -> Answer:
    model, size = known.recipe["model"], known.training.get("parameters")
    weights = f", {size:,} parameters" if size else ""
    arguments = f" with {model['args']}" if model.get("args") else ""
    loss = known.recipe.get("loss", {}).get("name", "")
    return f"{model['name']}{arguments}{weights}; loss {loss}.", "recipe.yaml, model, loss; training.json"


def _software(known: Known) -> Answer:
    packages = known.environment.get("packages", {})
    if not packages:
        return None
    names = {"Medloom": known.environment.get("medloom"), "Python": known.environment.get("python"), **packages}
    return f"{', '.join(f'{name} {version}' for name, version in names.items())}.", "run.json"


def _code(known: Known) -> Answer:
    version = known.environment.get("medloom")
    if not version:
        return None
    said = f"Medloom {version} (Apache-2.0) made it from recipe.yaml; code beside it is for the authors to name."
    return said, "run.json, recipe.yaml"


def _begun(known: Known) -> Answer:
    if not known.training:
        return None
    weights = known.training.get("weights")
    if not weights:
        return f"Fresh ones, drawn with seed {known.recipe['train']['seed']}.", "training.json, weights; recipe.yaml"
    return f"{weights['name']} from {weights['source']}, licence {weights['licence']}.", "training.json, weights"


def _training(known: Known) -> Answer:
    train = known.recipe.get("train", {})
    if not known.training:
        return None
    optimizer = train["optimizer"]
    steps = [
        name for name, step in known.recipe.get("augment", {}).items() if isinstance(step, Mapping) and step.get("p")
    ]
    said = (
        f"{known.training.get('epochs', train['epochs'])} epochs in batches of {train['batch_size']}, "
        f"{optimizer['name']} with learning rate {optimizer['lr']:g} and schedule {train['schedule']['name']}; "
        f"augmentation: {', '.join(steps) or 'none'}; {known.training.get('precision', '–')} on "
        f"{known.training.get('device', '–')}."
    )
    chosen = _selection(known)
    return f"{said} {chosen[0] if chosen else ''}".strip(), "recipe.yaml, train, augment; training.json"


def _selection(known: Known) -> Answer:
    best = known.training.get("best_epoch")
    if not best:
        return None
    monitor, epochs = known.training.get("monitor", "metric"), counted(known.training["epochs"], "epoch")
    return f"The epoch with the best {monitor} on validation: {best} of {epochs}.", "training.json"


def _ensemble(known: Known) -> Answer:
    if not known.summary:
        return None
    folds, served = known.summary.get("folds", ()), known.summary.get("served", {})
    if not folds:
        return "None: one network.", f"{known.at}summary.json"
    what = {"soup": "one network, the mean of their weights", "distilled": "one network that learned their answers"}
    said = what.get(served.get("what"), "the mean of their probabilities")
    return f"Of the networks of {counted(len(folds), 'fold')}: {said}.", f"{known.at}summary.json, folds"


def _metrics(known: Known) -> Answer:
    found = measured(known.summary).get("metrics", {})
    names = [known.summary["meanings"][name]["label"] for name in found]
    return (
        (f"{', '.join(names)}; each is explained in the report.", f"{known.at}summary.json, meanings")
        if names
        else None
    )


def _uncertainty(known: Known) -> Answer:
    how = known.summary.get("interval")
    if not how or not how["resamples"]:
        return None
    said = f"95 % intervals from {how['resamples']:,} bootstrap resamples of the {how['over']} ({how['method']})."
    return said, f"{known.at}summary.json, interval"


def _performance(known: Known) -> Answer:
    found, meanings = measured(known.summary).get("metrics", {}), known.summary.get("meanings", {})
    said = [
        f"{meanings[name]['label']} {with_interval(found[name], meanings[name]['unit'])}"
        for name in known.summary.get("headlines", ())
        if name in found
    ]
    return (f"On {known.part}: {'; '.join(said)}.", f"{known.at}summary.json, {known.part}.metrics") if said else None


def _groups(known: Known) -> Answer:
    groups = [one for one in measured(known.summary).get("groups", ()) if one["metrics"]]
    if not groups:
        return None
    name = next(one for one in known.summary["headlines"] if any(one in group["metrics"] for group in groups))
    meaning = known.summary["meanings"][name]
    said = [
        f"{group['column']} {group['value']} {value_text(group['metrics'][name]['value'], meaning['unit'])}"
        for group in groups
        if group["metrics"].get(name, {}).get("value") is not None
    ]
    return f"{meaning['label']} by group: {'; '.join(said)}.", f"{known.at}summary.json, {known.part}.groups"


def _internal(known: Known) -> Answer:
    if not known.summary:
        return None
    counts = measured(known.summary)["counts"]
    whose = "" if counts.get("patients") is None else f" of {counted(counts['patients'], 'patient')}"
    return (
        f"On {counted(counts['images'], f'{known.part} image')}{whose}. {known.openings}".strip(),
        f"{known.at}summary.json",
    )


def _external(known: Known) -> Answer:
    return (
        "Not in this run: `medloom evaluate BUNDLE --data OTHER` does it.",
        f"{known.at}summary.json" if known.summary else "",
    )


def _threshold(known: Known) -> Answer:
    if not known.summary.get("rule"):
        return None
    said = f"{known.summary.get('point_text', '')} Chosen on validation by this rule: {known.summary['rule']}."
    return said.strip(), f"{known.at}summary.json, operating_point, rule"


def _calibration(known: Known) -> Answer:
    if not known.summary:
        return None
    text = known.summary.get("calibration", {}).get("text", "") or "they were not calibrated"
    said = f"Nothing was updated after the evaluation. The probabilities before it: {text.rstrip('.')}."
    return said, f"{known.at}summary.json, calibration"


def _imbalance(known: Known) -> Answer:
    arguments, share = (
        known.recipe.get("loss", {}).get("args") or {},
        known.recipe.get("train", {}).get("positive_share"),
    )
    weighted = f"loss weights: {arguments['class_weights']}" if arguments.get("class_weights") else ""
    drawn = f"share of positive images in a batch: {share:g}" if share else ""
    return (
        f"{sentence_case('; '.join(filter(None, [weighted, drawn])) or 'nothing was balanced')}.",
        "recipe.yaml, loss, train",
    )


def _demographics(known: Known) -> Answer:
    table = demographic_table(known.prepared.get("demographics", ()))
    if not table:
        return None
    head, rows = table["head"][1:], table["rows"]
    said = [
        f"{row[0]}: {', '.join(f'{part} {cell}' for part, cell in zip(head, row[1:], strict=True))}" for row in rows
    ]
    return f"{'; '.join(said)}.", "prepare.json, demographics"


def _failures(known: Known) -> Answer:
    count = sum(len(group["items"]) for group in known.gallery.get("groups", ()))
    if not count:
        return None
    return f"The gallery of the report shows {counted(count, 'case')}, the worst first.", f"{known.at}gallery.json"


def _explained(known: Known) -> Answer:
    text = known.gallery.get("heatmaps", "")
    return (text, f"{known.at}gallery.json, heatmaps") if text else None


def _limits(known: Known) -> Answer:
    return (" ".join(known.limits), f"{known.at}summary.json, prepare.json") if known.limits else None


def _input(known: Known) -> Answer:
    if not known.appearance:
        return None
    said = "Images that cannot be read are refused; those unlike the training images get a warning, or are refused."
    return said, "appearance.json"


def _bundle(known: Known) -> Answer:
    if not known.summary:
        return None
    said = "The bundle holds the weights, every step from an image to the answer, the operating point and an example."
    return said, "model.tar.gz, bundle.json"


ANSWERS: dict[str, Callable[[Known], Answer]] = {
    "agreement": _stated("agreement"),
    "begun": _begun,
    "bundle": _bundle,
    "calibration": _calibration,
    "code": _code,
    "counts": _counts,
    "demographics": _demographics,
    "disjoint": _disjoint,
    "ensemble": _ensemble,
    "excluded": _excluded,
    "explained": _explained,
    "external": _external,
    "failures": _failures,
    "groups": _groups,
    "imbalance": _imbalance,
    "input": _input,
    "intended": _intended,
    "internal": _internal,
    "judges": _stated("labelled_by", "readers", "checked_by", "when"),
    "kind": _kind,
    "limits": _limits,
    "metrics": _metrics,
    "missing": _missing,
    "model": _model,
    "outcome": _outcome,
    "partition": _partition,
    "performance": _performance,
    "predictors": _predictors,
    "preparation": _preparation,
    "pseudonyms": _pseudonyms,
    "selection": _selection,
    "software": _software,
    "source": _source,
    "threshold": _threshold,
    "training": _training,
    "uncertainty": _uncertainty,
}
"""What the files of the checklists name in their column ``known``."""
