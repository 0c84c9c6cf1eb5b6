"""Look at a folder or zip and work out a recipe: what it holds, with the evidence for each line.

A detector (``detectors``) reads the files as one family of layouts would and says which keys of the recipe follow and
why. Its reading is tried on the files (``trial``): what is said was counted by the layout that ``prepare`` uses.
``choice`` takes one, or asks where two are about equally likely; ``settings`` adds what the pixels and the device say,
and ``written`` puts it all down as a commented recipe.
"""

from __future__ import annotations

from medloom.data.survey.choice import Undecided
from medloom.data.survey.device import Device, find_device
from medloom.data.survey.findings import Finding
from medloom.data.survey.weights import Weights
from medloom.data.survey.whole import Survey, survey
from medloom.data.survey.written import written

__all__ = ["Device", "Finding", "Survey", "Undecided", "Weights", "find_device", "survey", "written"]
