"""The paired test against every permutation written out and its null hypothesis, the interval against a plain loop."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap, kstest, permutation_test

from anatomark.metrics.paired import bootstrap_interval, swap_test
from anatomark.types import AnatomarkError


def pooled_f1(sums: np.ndarray) -> np.ndarray:
    tp, fp, fn = sums.T
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1)


def draw_counts(rng: np.random.Generator, n_subjects: int, hit_rate: float) -> np.ndarray:
    positives = rng.integers(5, 20, n_subjects)
    tp = rng.binomial(positives, hit_rate)
    return np.stack([tp, rng.binomial(20, 0.1, n_subjects), positives - tp], axis=1).astype(float)


def enumerated_p(first: np.ndarray, second: np.ndarray) -> float:
    """Share of all assignments of the two results to the two methods that differ at least as much."""

    def f1(rows: list[np.ndarray]) -> float:
        tp, fp, fn = (sum(float(row[i]) for row in rows) for i in range(3))
        return 2 * tp / (2 * tp + fp + fn)

    pairs = list(zip(first, second, strict=True))
    differences = [
        f1([pair[side] for pair, side in zip(pairs, sides, strict=True)])
        - f1([pair[1 - side] for pair, side in zip(pairs, sides, strict=True)])
        for sides in product((0, 1), repeat=len(pairs))
    ]
    return float(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12))


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_enumeration_of_all_swaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = draw_counts(rng, 8, 0.9), draw_counts(rng, 8, 0.75)
    found = swap_test(first, second, score=pooled_f1, n_permutations=40_000)
    exact = enumerated_p(first, second)
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000) + 1e-4)
    assert found.difference == pytest.approx(float((pooled_f1(first.sum(0)[None]) - pooled_f1(second.sum(0)[None]))[0]))
    assert found.n_subjects == 8


def test_means_equal_the_sign_flip_test_of_scipy() -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(0.4, 1, (10, 1))
    second = rng.normal(0, 1, (10, 1))
    expected = permutation_test(
        (first[:, 0], second[:, 0]), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", vectorized=False
    )
    found = swap_test(first, second, score=lambda sums: sums[:, 0] / 10, n_permutations=40_000)
    assert found.difference == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.01)


def test_p_is_uniform_where_both_methods_are_the_same() -> None:
    rng = np.random.default_rng(0)
    ps = [
        swap_test(rng.normal(size=(12, 1)), rng.normal(size=(12, 1)), score=lambda s: s[:, 0], n_permutations=999).p
        for _ in range(400)
    ]
    assert kstest(ps, "uniform").pvalue > 0.01


def test_a_clear_difference_has_the_smallest_p_and_none_has_p_1() -> None:
    counts = draw_counts(np.random.default_rng(1), 40, 0.9)
    worse = counts + np.array([-3.0, 5.0, 3.0])
    assert swap_test(counts, worse, score=pooled_f1, n_permutations=999).p == 1 / 1000
    same = swap_test(counts, counts, score=pooled_f1)
    assert (same.difference, same.p) == (0.0, 1.0)


def test_the_order_changes_the_sign_only() -> None:
    rng = np.random.default_rng(2)
    first, second = draw_counts(rng, 15, 0.9), draw_counts(rng, 15, 0.8)
    ab, ba = swap_test(first, second, score=pooled_f1), swap_test(second, first, score=pooled_f1)
    assert ab.difference == -ba.difference
    assert ab.p == pytest.approx(ba.p, abs=0.02)
    assert swap_test(first, second, score=pooled_f1) == ab  # one seed, one result


def ratio(sums: np.ndarray) -> np.ndarray:
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)


def test_what_cannot_be_measured_is_refused_and_never_makes_p_smaller() -> None:
    # The first method calls something on one subject, the second on the other: half of all swaps leave one without.
    first, second = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 4.0]])
    assert swap_test(first, second, score=ratio).p == 1.0
    with pytest.raises(AnatomarkError, match="can be measured"):
        swap_test(first, np.zeros((2, 2)), score=ratio)


def test_no_subject_is_refused() -> None:
    with pytest.raises(AnatomarkError, match="needs subjects"):
        swap_test(np.ones((0, 1)), np.ones((0, 1)), score=lambda sums: sums[:, 0])


def test_the_interval_equals_a_loop_over_the_same_resamples() -> None:
    rng = np.random.default_rng(3)
    first, second = draw_counts(rng, 9, 0.9), draw_counts(rng, 9, 0.7)
    drawn = np.random.default_rng(11).integers(9, size=(500, 9))
    differences = []
    for subjects in drawn:
        f1 = []
        for rows in (first, second):
            tp, fp, fn = (sum(rows[subject][i] for subject in subjects) for i in range(3))
            f1.append(2 * tp / (2 * tp + fp + fn))
        differences.append(f1[0] - f1[1])
    found = bootstrap_interval(first, second, score=pooled_f1, n_resamples=500, seed=11)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])), abs=1e-12)
    wide = bootstrap_interval(first, second, score=pooled_f1, level=0.8, n_resamples=500, seed=11)
    assert (wide.low, wide.high) == pytest.approx(tuple(np.percentile(differences, [10, 90])), abs=1e-12)


def test_the_interval_of_means_equals_the_paired_bootstrap_of_scipy() -> None:
    rng = np.random.default_rng(6)
    hard = rng.normal(0, 3, (40, 1))  # a subject that is hard is so for both methods
    first, second = hard + rng.normal(0.4, 1, (40, 1)), hard + rng.normal(0, 1, (40, 1))
    expected = bootstrap(
        (first[:, 0], second[:, 0]),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = bootstrap_interval(first, second, score=lambda sums: sums[:, 0] / 40)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03)
    assert found.high - found.low < 1.1  # 1.96 sd(first - second) / sqrt(40) each way: without pairing 2.7


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        hard = rng.normal(0, 2, (60, 1))
        first, second = hard + rng.normal(0.3, 1, (60, 1)), hard + rng.normal(0, 1, (60, 1))
        found = bootstrap_interval(first, second, score=lambda sums: sums[:, 0] / 60, n_resamples=400)
        held += found.low <= 0.3 <= found.high
    assert 0.91 <= held / 400 <= 0.98  # 0.95 within three standard errors, less some for a quantile of 60 subjects


def test_identical_rows_differ_by_nothing_and_the_order_changes_the_sign_only() -> None:
    rng = np.random.default_rng(2)
    first, second = draw_counts(rng, 15, 0.9), draw_counts(rng, 15, 0.8)
    same = bootstrap_interval(first, first.copy(), score=pooled_f1)
    assert (same.low, same.high, same.n_unmeasured) == (0, 0, 0)
    ab, ba = (bootstrap_interval(*rows, score=pooled_f1) for rows in ((first, second), (second, first)))
    assert (ab.low, ab.high) == pytest.approx((-ba.high, -ba.low))
    assert bootstrap_interval(first, second, score=pooled_f1) == ab  # one seed, one result


def test_resamples_without_a_score_are_left_out_and_counted() -> None:
    # Only the first of two subjects has what the ratio needs: a quarter of the resamples lacks it.
    first, second = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[1.0, 4.0], [0.0, 0.0]])
    found = bootstrap_interval(first, second, score=ratio)
    assert (found.low, found.high) == (0.5, 0.5)
    assert found.n_unmeasured / 10_000 == pytest.approx(0.25, abs=0.02)
    with pytest.raises(AnatomarkError, match="can be measured"):
        bootstrap_interval(first, np.zeros((2, 2)), score=ratio)
    with pytest.raises(AnatomarkError, match="two of them, and got 1"):
        bootstrap_interval(first[:1], second[:1], score=ratio)
