"""Measuring results that someone else's model or an earlier batch wrote, with the same metrics."""

from __future__ import annotations

from medloom.evaluation.external.masks import evaluate_masks
from medloom.evaluation.external.scores import ScoreOptions, evaluate_scores

__all__ = ["ScoreOptions", "evaluate_masks", "evaluate_scores"]
