"""Metrics on arrays: pure functions that know nothing of files, tables or networks."""

from __future__ import annotations

from medloom.metrics.bootstrap import (
    Estimate,
    Resampled,
    bootstrap_interval,
    bootstrap_mean,
    bootstrap_ratio,
    percentile_interval,
    resample,
)
from medloom.metrics.calibration import (
    calibration_bins,
    chance_calibration_error,
    expected_calibration_error,
    reliability,
)
from medloom.metrics.classification import (
    accuracy,
    balanced_accuracy,
    brier_score,
    confusion_matrix,
    counts_at,
    f1_score,
    log_loss,
    matthews,
    precision,
    sensitivity,
    specificity,
)
from medloom.metrics.logistic import fit_logistic
from medloom.metrics.overlap import dice_from_counts, iou_from_counts
from medloom.metrics.paired import AreaDifference, bootstrap_p, compare_areas, holm
from medloom.metrics.power_law import FEWEST_SIZES, PowerLaw, fit_power_law, fit_power_laws
from medloom.metrics.ranking import FEWEST_CASES, average_precision, roc_auc
from medloom.metrics.regions import RegionCount, count_regions
from medloom.metrics.regression import mean_absolute_error, r_squared, root_mean_squared_error, spearman
from medloom.metrics.review import caught_by_review, most_caught
from medloom.metrics.scaling import fit_isotonic, fit_sigmoid, fit_softmax, smoothed
from medloom.metrics.shapley import shapley_values
from medloom.metrics.similarity import rank_correlation, structural_similarity
from medloom.metrics.surface import hausdorff95, outline
from medloom.metrics.two_samples import (
    Distance,
    alarm_threshold,
    bin_shares,
    energy_distance,
    energy_test,
    exceedance_p,
    homogeneity_p,
    population_stability_index,
    share_interval,
)
from medloom.metrics.weights import weighted_mean

__all__ = [
    "FEWEST_CASES",
    "FEWEST_SIZES",
    "AreaDifference",
    "Distance",
    "Estimate",
    "PowerLaw",
    "RegionCount",
    "Resampled",
    "accuracy",
    "alarm_threshold",
    "average_precision",
    "balanced_accuracy",
    "bin_shares",
    "bootstrap_interval",
    "bootstrap_mean",
    "bootstrap_p",
    "bootstrap_ratio",
    "brier_score",
    "calibration_bins",
    "caught_by_review",
    "chance_calibration_error",
    "compare_areas",
    "confusion_matrix",
    "count_regions",
    "counts_at",
    "dice_from_counts",
    "energy_distance",
    "energy_test",
    "exceedance_p",
    "expected_calibration_error",
    "f1_score",
    "fit_isotonic",
    "fit_logistic",
    "fit_power_law",
    "fit_power_laws",
    "fit_sigmoid",
    "fit_softmax",
    "hausdorff95",
    "holm",
    "homogeneity_p",
    "iou_from_counts",
    "log_loss",
    "matthews",
    "mean_absolute_error",
    "most_caught",
    "outline",
    "percentile_interval",
    "population_stability_index",
    "precision",
    "r_squared",
    "rank_correlation",
    "reliability",
    "resample",
    "roc_auc",
    "root_mean_squared_error",
    "sensitivity",
    "shapley_values",
    "share_interval",
    "smoothed",
    "spearman",
    "specificity",
    "structural_similarity",
    "weighted_mean",
]
