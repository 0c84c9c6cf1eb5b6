"""External validation: a model that is finished, on images of another source than those that it learned from."""

from __future__ import annotations

from medloom.evaluation.elsewhere.driver import evaluate_elsewhere

__all__ = ["evaluate_elsewhere"]
