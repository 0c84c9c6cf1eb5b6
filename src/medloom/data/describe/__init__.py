"""What the data look like: facts and pictures for the data report, under ``data_report/`` of a run."""

from __future__ import annotations

from medloom.data.describe.report import FACTS_FILE, REPORT_FOLDER, describe
from medloom.data.truth import Preview

__all__ = ["FACTS_FILE", "REPORT_FOLDER", "Preview", "describe"]
