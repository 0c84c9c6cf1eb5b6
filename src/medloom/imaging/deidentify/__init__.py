"""DICOM files without the patient: the Basic Application Level Confidentiality Profile of PS3.15, Annex E.

`Deidentifier` cleans one file in memory, `deidentify_files` a file or a folder. Pixels are not changed: an image that
may have text burned into it, by what it says about itself or by what `has_text` finds in its pixels, is withheld.
"""

from medloom.imaging.deidentify.burned_in import has_text
from medloom.imaging.deidentify.cleaning import Cleaned, Deidentifier
from medloom.imaging.deidentify.folder import Outcome, deidentify_files
from medloom.imaging.deidentify.profile import profile_actions

__all__ = ["Cleaned", "Deidentifier", "Outcome", "deidentify_files", "has_text", "profile_actions"]
