"""Phantom patients: seeded synthetic images in the files and folders of the data set that they stand for.

Each patient is drawn from a generator of its own, so patient 7 of 10 and patient 7 of 1,000 are the same.
In brain MRI a threshold does not find the lesions: the skull base and deposits are as bright, the ventricles have
caps that are bright in FLAIR on both sides, the coil brightens one side, and the grey levels differ between
patients. Chest X-rays and skin photographs are described in ``chest`` and ``skin``.
"""

from __future__ import annotations

from medloom.data.phantom.files import PHANTOM_FILE, is_phantom, make_phantom, phantom_patient
from medloom.data.phantom.plan import PhantomPlan

__all__ = ["PHANTOM_FILE", "PhantomPlan", "is_phantom", "make_phantom", "phantom_patient"]
