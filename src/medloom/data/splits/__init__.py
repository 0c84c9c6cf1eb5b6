"""Which patients train, validate and test: by patient, stratified, the same for the same seed."""

from __future__ import annotations

from medloom.data.splits.assign import SPLITS, split_patients
from medloom.data.splits.given import read_given_split
from medloom.data.splits.halves import choosing_half
from medloom.data.splits.kept import UNKNOWN, Before, kept_parts
from medloom.data.splits.lists import as_listed
from medloom.data.splits.published import split_as_published
from medloom.data.splits.rule import SplitRule
from medloom.data.splits.shares import training_shares
from medloom.data.splits.validation import validation_folds
from medloom.data.splits.warnings import split_warnings

__all__ = [
    "SPLITS",
    "UNKNOWN",
    "Before",
    "SplitRule",
    "as_listed",
    "choosing_half",
    "kept_parts",
    "read_given_split",
    "split_as_published",
    "split_patients",
    "split_warnings",
    "training_shares",
    "validation_folds",
]
