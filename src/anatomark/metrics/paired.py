"""Is one method better than another on the same subjects, and by how much?

A permutation test that swaps the methods per subject, and bootstrap intervals over subjects: of their difference, and
of the score of one method.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from anatomark.types import AnatomarkError

Score = Callable[[Float[np.ndarray, "p m"]], Float[np.ndarray, "p"]]

_ROUNDING = 1e-12  # two sums of the same numbers in another order are one difference


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Outcome of a paired test.

    Attributes:
        difference: score of the first method minus score of the second.
        p: two-sided p value, at least 1 / (1 + number of permutations).
        n_subjects: number of subjects.
    """

    difference: float
    p: float
    n_subjects: int


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a score, or the difference of two methods, lies.

    Attributes:
        low: lower bound.
        high: upper bound.
        n_unmeasured: resamples that were left out because a method could not be scored on them.
    """

    low: float
    high: float
    n_unmeasured: int


def swap_test(
    first: Float[np.ndarray, "s m"],
    second: Float[np.ndarray, "s m"],
    *,
    score: Score,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> PairedTest:
    """Tests whether two methods score alike when a subject's results may come from either.

    Under the null hypothesis the two methods are exchangeable within every subject. Each permutation swaps
    them in every subject with probability 1/2, and ``p = (1 + hits) / (1 + permutations)``, where a hit is a
    difference at least as large, in either direction, as the measured one (Phipson and Smyth 2010). Frames of
    one subject are never separated, so their dependence does no harm.

    Args:
        first: one row per subject: what the score is made of, such as counts of hits and misses.
        second: the same subjects' numbers under the other method.
        score: maps sums over subjects, one row per permutation, to one score each. A permutation of which it is NaN,
            because it cannot be measured, counts as a hit.
        n_permutations: number of permutations.
        seed: seed of the draws.

    Raises:
        AnatomarkError: there is no subject, or a method cannot be scored on all of them.
    """
    if not len(first):
        raise AnatomarkError("a paired test needs subjects, and got none; evaluate test frames")
    swapped = np.random.default_rng(seed).integers(0, 2, (n_permutations, len(first))).astype(np.float64)
    total = (first + second).sum(axis=0)

    def difference(sums: Float[np.ndarray, "p m"]) -> Float[np.ndarray, "p"]:
        return score(sums) - score(total - sums)

    measured = float(difference(first.sum(axis=0)[None])[0])
    if not np.isfinite(measured):
        raise AnatomarkError("a paired test needs two scores that can be measured; leave out the method without")
    drawn = difference(first.sum(axis=0) + swapped @ (second - first))
    hits = int((~(np.abs(drawn) < abs(measured) - _ROUNDING)).sum())
    return PairedTest(difference=measured, p=(1 + hits) / (1 + n_permutations), n_subjects=len(first))


def bootstrap_interval(
    first: Float[np.ndarray, "s m"],
    second: Float[np.ndarray, "s m"],
    *,
    score: Score,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the difference of two scores over subjects drawn with replacement (Efron 1979).

    Both methods are scored on the same draws, so that what makes a subject hard for both cancels, and a subject is
    drawn with all its frames, so that their dependence does no harm.

    Args:
        first: one row per subject: what the score is made of, such as counts of hits and misses.
        second: the same subjects' numbers under the other method.
        score: maps sums over subjects, one row per resample, to one score each; NaN where it cannot be measured.
        level: share of the resamples between the bounds.
        n_resamples: number of resamples.
        seed: seed of the draws.

    Raises:
        AnatomarkError: there are fewer than two subjects, or no resample on which both methods can be scored.
    """
    times = _draw_subjects(len(first), n_resamples, seed)
    return _percentiles(score(times @ first) - score(times @ second), level)


def score_interval(
    numbers: Float[np.ndarray, "s m"],
    *,
    score: Score,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the score of one method, over the draws of :func:`bootstrap_interval`.

    Args:
        numbers: one row per subject: what the score is made of, such as counts of hits and misses.
        score: maps sums over subjects, one row per resample, to one score each; NaN where it cannot be measured.
        level: share of the resamples between the bounds.
        n_resamples: number of resamples.
        seed: seed of the draws.

    Raises:
        AnatomarkError: there are fewer than two subjects, or no resample that can be scored.
    """
    return _percentiles(score(_draw_subjects(len(numbers), n_resamples, seed) @ numbers), level)


def _draw_subjects(n_subjects: int, n_resamples: int, seed: int) -> Float[np.ndarray, "p s"]:
    """How often each resample holds each subject."""
    if n_subjects < 2:
        raise AnatomarkError(f"an interval over subjects needs two of them, and got {n_subjects}; evaluate more")
    drawn = np.random.default_rng(seed).integers(n_subjects, size=(n_resamples, n_subjects))
    drawn += n_subjects * np.arange(n_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _percentiles(scores: Float[np.ndarray, "p"], level: float) -> Interval:
    measured = scores[np.isfinite(scores)]
    if not len(measured):
        raise AnatomarkError("an interval needs scores that can be measured; leave out the method without")
    low, high = np.quantile(measured, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), n_unmeasured=len(scores) - len(measured))
