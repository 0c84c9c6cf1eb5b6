"""``folder-classes``: a folder for each class, below ``train``, ``val`` and ``test`` or all in one tree.

``chest_xray/train/NORMAL/IM-0115-0001.jpeg``: the folder that holds a file is its class, and the innermost folder above
that is called ``train``, ``val`` or ``test`` (or valid, validation, dev, training, testing, in any case) is its
published part. What is above does not matter. Kaggle's archive of the chest set holds it twice, the second time one
folder deeper; such a copy is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from medloom.data.kinds import KINDS, truth_of
from medloom.data.labels import Labels
from medloom.data.layouts.base import PART_OF, Item, Listing, Problem, Read, list_images, natural_key
from medloom.data.layouts.labels import ANY_LABELS, LabelError, LabelRule, Meaning, clean, refuse_columns, understand
from medloom.data.layouts.patients import HINT, PatientPattern
from medloom.errors import RecipeError
from medloom.recipe import LabelsRecipe, Recipe
from medloom.wording import counted

__all__ = ["FolderClasses", "build"]


@dataclass(frozen=True)
class _Found:
    """An image in a class's folder."""

    path: str
    root: str
    part: str
    folder: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it is below its root."""
        return self.part, self.folder, self.path.rpartition("/")[2]


class FolderClasses:
    """Samples whose class is the folder that they are in.

    Args:
        patient_pattern: Regular expression with one group that finds the patient in a file's name; None: every image is
            a patient of its own.
        rule: Kind and classes that the recipe wants.

    Raises:
        RecipeError: If the labels cannot be classes.

    Example:
        >>> layout = FolderClasses(r"p(\\d+)")
        >>> items = layout.find(["train/cat/p1_1.png", "train/dog/p2_1.png"], open).items
        >>> [(item.patient, item.labels, item.published) for item in items]
        [('1', (0.0,), 'train'), ('2', (1.0,), 'train')]
    """

    def __init__(self, patient_pattern: str | None = None, rule: LabelRule = ANY_LABELS) -> None:
        if rule.kind in KINDS and not Labels.of(KINDS[rule.kind]).one_class:
            raise RecipeError(f"target.kind: folders are classes and cannot be {rule.kind}; use layout csv")
        self._rule = replace(rule, columns=("class",))
        self._patient = PatientPattern(patient_pattern)

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the images in class folders.

        Args:
            names: Relative POSIX paths.
            read: Gives the bytes of a file without a suffix.

        Returns:
            The samples. Images in folders of no known class, straight in a part's folder, or outside every part where
            others are in one, are problems.

        Raises:
            DataError: If there is one class only.
        """
        images = list_images(names, read)
        inside = [found for name in images if (found := _locate(name)) is not None]
        chosen, copies = _without_copies(inside)
        if not chosen:
            return Listing((), notes=_count_notes(len(images), 0))
        divided = any(found.part for found in chosen)
        problems = [_problem(found, divided=divided) for found in chosen]
        whole = [found for found, problem in zip(chosen, problems, strict=True) if problem is None]
        meaning = understand([[clean(found.folder)] for found in whole], self._rule)
        items: list[Item] = []
        wrong = [problem for problem in problems if problem is not None]
        for found in whole:
            self._take(found, meaning, items, wrong)
        items.sort(key=lambda item: (natural_key(item.patient), natural_key(item.sample)))
        notes = (*_count_notes(len(images) - len(inside), copies), *_shared_notes(items, meaning))
        listing = meaning.listing(items, wrong, notes)
        return replace(listing, patients=self._patient.source, patients_hint=HINT)

    def expects(self) -> str:
        """Return what files it looks for."""
        return "<class>/<image>, or <train, val or test>/<class>/<image>"

    def rules(self) -> dict[str, Any]:
        """Return what decides which pixels belong to a sample."""
        return {"layout": "folder-classes", "version": 1}

    def _take(self, found: _Found, meaning: Meaning, items: list[Item], problems: list[Problem]) -> None:
        try:
            labels = meaning.numbers([clean(found.folder)])
        except LabelError as error:
            problems.append(Problem("label", found.path, f"in a folder of an {error}; see target.classes"))
            return
        patient, known = self._patient(found.path), self._patient.finds(found.path)
        files = (found.path,)
        items.append(Item(patient, found.path, files, "", labels, published=found.part, known=known))


def build(recipe: Recipe) -> FolderClasses:
    """Return the layout with a recipe's classes and patient pattern."""
    labels = LabelsRecipe.of(recipe)
    refuse_columns(labels)
    return FolderClasses(labels.data.labels.patient_pattern, truth_of(recipe).label_rule(recipe) or ANY_LABELS)


def _locate(path: str) -> _Found | None:
    """Class and part of a file; None outside every folder."""
    *folders, _ = path.split("/")
    if not folders:
        return None
    above = folders[:-1]
    places = [place for place, folder in enumerate(above) if folder.lower() in PART_OF]
    part = PART_OF[above[places[-1]].lower()] if places else ""
    return _Found(path, "/".join(above[: places[-1]] if places else above), part, folders[-1])


def _without_copies(files: Sequence[_Found]) -> tuple[list[_Found], int]:
    """Leave out a tree that lies below another one and holds nothing that the other does not."""
    places: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for found in files:
        places[found.root].add(found.place)
    copies = {root for root in places if any(_below(root, other) and places[root] <= places[other] for other in places)}
    chosen = [found for found in files if found.root not in copies]
    return chosen, len(files) - len(chosen)


def _below(root: str, other: str) -> bool:
    return root != other and (other == "" or root.startswith(f"{other}/"))


def _problem(found: _Found, *, divided: bool) -> Problem | None:
    if divided and found.folder.lower() in PART_OF:
        return Problem("label", found.path, f"lies in {found.folder} itself; expected a folder for its class in there")
    if divided and not found.part:
        return Problem("split", found.path, "lies outside the folders train, val and test, which others are in")
    return None


def _count_notes(outside: int, copies: int) -> tuple[str, ...]:
    alone = counted(outside, "image is", "images are")
    notes = [f"{alone} in no folder, so of no class: left out"] if outside else []
    if copies:
        twice = counted(copies, "file is there twice", "files are there twice")
        notes.append(f"{twice} in a folder further down; the second copies are left out")
    return tuple(notes)


def _shared_notes(items: Sequence[Item], meaning: Meaning) -> tuple[str, ...]:
    """Say when one patient has several classes: right for some sets, for others a sign of too short a pattern."""
    classes: dict[str, set[float]] = defaultdict(set)
    for item in items:
        classes[item.patient].update(item.labels or ())
    several = sum(len(found) > 1 for found in classes.values())
    if not several:
        return ()
    have = counted(several, "patient has", "patients have")
    return (
        f"{have} images of several classes. If the numbers in the file names begin anew in each "
        "class, these are different people: take what tells them apart into the group of data.labels.patient_pattern.",
    )
