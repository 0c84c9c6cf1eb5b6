"""Codes for what a model calls by a word: the few terms that classes are commonly named by, and what is measured.

A class is known by a word of its name. One whose words are none of these is tissue with the name as its label, so that
nothing is claimed of it; a name that denies something, such as ``no tumour``, is known by no word.

Source: DICOM PS3.16, context groups 7150, 7151 and 7159 (segmentation properties), 7469 (measurements); SNOMED CT.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ABNORMAL", "ANATOMY", "FIGURES", "SCHEME", "WORDS", "Code", "category_of", "code_of", "own_code"]

SCHEME = "99MEDLOOM"
"""Scheme of the codes that no standard has."""

_LONGEST_CODE, _LONGEST_MEANING = 16, 64


class Code(NamedTuple):
    """A coded term: value, scheme and meaning."""

    value: str
    scheme: str
    meaning: str


TISSUE = Code("85756007", "SCT", "Tissue")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY = Code("91723000", "SCT", "Anatomical Structure")

_ABNORMALITIES: dict[str, tuple[str, str]] = {
    "tumour": ("108369006", "Neoplasm"),
    "neoplasm": ("108369006", "Neoplasm"),
    "lesion": ("52988006", "Lesion"),
    "mass": ("4147007", "Mass"),
    "nodule": ("27925004", "Nodule"),
    "cyst": ("367643001", "Cyst"),
    "oedema": ("79654002", "Edema"),
    "necrosis": ("6574001", "Necrosis"),
    "haemorrhage": ("50960005", "Hemorrhage"),
    "abscess": ("44132006", "Abscess"),
    "ulcer": ("56208002", "Ulcer"),
    "metastasis": ("128462008", "Metastasis"),
    "pneumothorax": ("36118008", "Pneumothorax"),
    "abnormality": (ABNORMAL.value, ABNORMAL.meaning),
}
_STRUCTURES: dict[str, tuple[str, str]] = {
    "lung": ("39607008", "Lung"),
    "heart": ("80891009", "Heart"),
    "liver": ("10200004", "Liver"),
    "kidney": ("64033007", "Kidney"),
    "spleen": ("78961009", "Spleen"),
    "brain": ("12738006", "Brain"),
    "pancreas": ("15776009", "Pancreas"),
    "prostate": ("41216001", "Prostate"),
    "bladder": ("89837001", "Bladder"),
    "bone": ("272673000", "Bone"),
    "hippocampus": ("5366008", "Hippocampus"),
    "aorta": ("15825003", "Aorta"),
    "breast": ("76752008", "Breast"),
    "thyroid": ("69748006", "Thyroid"),
    "stomach": ("69695003", "Stomach"),
    "colon": ("71854001", "Colon"),
    "trachea": ("44567001", "Trachea"),
    "skin": ("39937001", "Skin"),
    "retina": ("5665001", "Retina"),
    "vertebra": ("51282000", "Vertebra"),
    "rib": ("113197003", "Rib"),
}
WORDS: dict[str, tuple[Code, Code]] = {
    **{word: (ABNORMAL, Code(value, "SCT", meaning)) for word, (value, meaning) in _ABNORMALITIES.items()},
    **{word: (ANATOMY, Code(value, "SCT", meaning)) for word, (value, meaning) in _STRUCTURES.items()},
}
"""Category and type by word. What is abnormal comes first: a ``lung nodule`` is a nodule."""

_SAME = {
    "tumor": "tumour", "neoplasia": "neoplasm", "glioma": "tumour", "edema": "oedema", "hemorrhage": "haemorrhage",
    "bleeding": "haemorrhage", "necrotic": "necrosis", "abnormal": "abnormality", "metastases": "metastasis",
    "vertebrae": "vertebra", "masses": "mass", "abscesses": "abscess",
}  # fmt: skip
_DENIALS = frozenset(("no", "non", "not", "without", "absent", "negative", "free", "healthy", "normal"))

_ONE = Code("1", "UCUM", "no units")
FIGURES: dict[str, tuple[Code, Code]] = {
    "area_mm2": (Code("42798000", "SCT", "Area"), Code("mm2", "UCUM", "square millimeter")),
    "volume_ml": (Code("118565006", "SCT", "Volume"), Code("ml", "UCUM", "milliliter")),
    "probability": (Code("122157", "DCM", "Probability"), _ONE),
    "threshold": (Code("122411", "DCM", "Threshold Value"), _ONE),
    "pixels": (Code("pixels", SCHEME, "Number of pixels"), _ONE),
    "voxels": (Code("voxels", SCHEME, "Number of voxels"), _ONE),
    "regions": (Code("regions", SCHEME, "Number of separate regions"), _ONE),
    "value": (Code("value", SCHEME, "Predicted value"), _ONE),
    "expected": (Code("expected", SCHEME, "Expected agreement"), _ONE),
}
"""Term and unit of everything that is measured."""


def code_of(name: str) -> Code:
    """Return the term for a class by the words of its name; tissue where none is known.

    Example:
        >>> code_of("enhancing_tumor").meaning, code_of("lung nodule").meaning, code_of("class1").meaning
        ('Neoplasm', 'Nodule', 'Tissue')
    """
    return _known(name)[1]


def category_of(name: str) -> Code:
    """Return whether a class is abnormal, anatomy, or tissue of which nothing is known."""
    return _known(name)[0]


def own_code(name: str) -> Code:
    """Return the term for a class of the whole image: a known one, or the name itself in a scheme of our own."""
    category, known = _known(name)
    if category != TISSUE:
        return known
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "class"
    return Code(plain[:_LONGEST_CODE], SCHEME, name[:_LONGEST_MEANING])


def _known(name: str) -> tuple[Code, Code]:
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    if not _DENIALS.isdisjoint(words):
        return TISSUE, TISSUE
    plain = {
        form
        for word in words
        for form in (_SAME.get(word, word), _SAME.get(word[:-1], word[:-1]) if word[-1] == "s" else word)
    }
    return next((terms for word, terms in WORDS.items() if word in plain), (TISSUE, TISSUE))
