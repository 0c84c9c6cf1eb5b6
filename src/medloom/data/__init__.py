"""From files to a catalogue, patient-safe splits and a pixel store.

The names below are loaded when they are first used, so that commands which need one of them do not pay for
all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medloom.data.audit import audit_leakage
    from medloom.data.catalogue import COLUMNS, image_files, labels_of, meta_of, read_catalogue, write_catalogue
    from medloom.data.checks import ClassMap, read_image, read_mask
    from medloom.data.kaggle import fetch_kaggle, kaggle_credentials, store_kaggle_credentials
    from medloom.data.metadata import TableEncoding
    from medloom.data.page_reader import PageReader
    from medloom.data.phantom import PHANTOM_FILE, is_phantom, make_phantom
    from medloom.data.preparation import Prepared, prepare
    from medloom.data.pseudonyms import patient_pseudonyms
    from medloom.data.sources import Source, open_source
    from medloom.data.splits import SPLITS, split_patients
    from medloom.data.store import PixelStore, StoreWriter

_HOMES = {
    "COLUMNS": "catalogue",
    "ClassMap": "checks",
    "PHANTOM_FILE": "phantom",
    "PageReader": "page_reader",
    "PixelStore": "store",
    "Prepared": "preparation",
    "SPLITS": "splits",
    "Source": "sources",
    "StoreWriter": "store",
    "TableEncoding": "metadata",
    "audit_leakage": "audit",
    "fetch_kaggle": "kaggle",
    "image_files": "catalogue",
    "is_phantom": "phantom",
    "kaggle_credentials": "kaggle",
    "labels_of": "catalogue",
    "make_phantom": "phantom",
    "meta_of": "catalogue",
    "open_source": "sources",
    "patient_pseudonyms": "pseudonyms",
    "prepare": "preparation",
    "read_catalogue": "catalogue",
    "read_image": "checks",
    "read_mask": "checks",
    "split_patients": "splits",
    "store_kaggle_credentials": "kaggle",
    "write_catalogue": "catalogue",
}

__all__ = [
    "COLUMNS",
    "PHANTOM_FILE",
    "SPLITS",
    "ClassMap",
    "PageReader",
    "PixelStore",
    "Prepared",
    "Source",
    "StoreWriter",
    "TableEncoding",
    "audit_leakage",
    "fetch_kaggle",
    "image_files",
    "is_phantom",
    "kaggle_credentials",
    "labels_of",
    "make_phantom",
    "meta_of",
    "open_source",
    "patient_pseudonyms",
    "prepare",
    "read_catalogue",
    "read_image",
    "read_mask",
    "split_patients",
    "store_kaggle_credentials",
    "write_catalogue",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"medloom.data.{_HOMES[name]}"), name)
