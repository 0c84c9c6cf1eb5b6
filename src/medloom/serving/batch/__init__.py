"""Many inputs through a model: one output for each, one table, and a journal by which a stopped batch goes on."""

from __future__ import annotations

from medloom.serving.batch.run import Batch, Listing, Outcome, Pace, run_batch
from medloom.serving.batch.small import inputs_of, predict_files, write_results

__all__ = ["Batch", "Listing", "Outcome", "Pace", "inputs_of", "predict_files", "run_batch", "write_results"]
