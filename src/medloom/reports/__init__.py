"""Turn the facts that the stages wrote into one self-contained HTML page each; compute nothing."""

from __future__ import annotations

from medloom.reports.checklists import write_checklists
from medloom.reports.data_report import write_data_report
from medloom.reports.drift_report import write_drift_report
from medloom.reports.explanation import write_explanation_page
from medloom.reports.nested_report import write_nested_report
from medloom.reports.notebook import NOTEBOOK, write_notebook
from medloom.reports.printing import print_page
from medloom.reports.rate_report import write_rate_report
from medloom.reports.run_report import caveats, write_evaluation_report, write_run_report
from medloom.reports.tuning_report import write_tuning_report

__all__ = [
    "NOTEBOOK",
    "caveats",
    "print_page",
    "write_checklists",
    "write_data_report",
    "write_drift_report",
    "write_evaluation_report",
    "write_explanation_page",
    "write_nested_report",
    "write_notebook",
    "write_rate_report",
    "write_run_report",
    "write_tuning_report",
]
