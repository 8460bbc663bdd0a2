"""Several runs in one report, such as the folds of a cross-validation: mean and standard deviation over them."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

Scores = Mapping[str, float | None]


def spread(folds: Sequence[Scores]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation (n - 1) over folds.

    Args:
        folds: metric -> value of each fold, None where it could not be measured.

    Returns:
        ``fold_mean`` and ``fold_sd``, metric -> value; None for a metric that some fold lacks, whose mean would be over
        other folds than that of the rest. Empty for fewer than two folds.
    """
    if len(folds) < 2:
        return {}
    mean: dict[str, float | None] = {}
    deviation: dict[str, float | None] = {}
    for metric in dict.fromkeys(name for fold in folds for name in fold):
        values = [fold.get(metric) for fold in folds]
        measured = [value for value in values if value is not None]
        whole = len(measured) == len(values)
        mean[metric] = fmean(measured) if whole else None
        deviation[metric] = stdev(measured) if whole else None
    return {"fold_mean": mean, "fold_sd": deviation}
