"""Means, spreads and intervals of a sweep against SciPy and plain loops."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from anatomark.collecting.groups import group_jobs, spread, spreads
from anatomark.collecting.jobs import read_sweep
from anatomark.collecting.ranking import rank
from anatomark.collecting.subjects import pool
from anatomark.metrics.paired import score_interval
from anatomark.types import AnatomarkError
from sweep_fixture import (
    classification_report,
    config,
    saliency_report,
    write_job,
    write_multirun,
    write_report,
)


def test_a_spread_over_seeds_is_the_t_interval_of_scipy() -> None:
    values = np.random.default_rng(0).normal(2, 1, 7)
    found = spread([(str(seed), "0", float(value)) for seed, value in enumerate(values)])
    low, high = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert (found.over, found.n, found.seed_sd) == ("seeds", 7, None)
    assert (found.mean, found.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_seeds_are_averaged_within_folds() -> None:
    table = np.random.default_rng(1).normal(size=(3, 5))  # seed, fold
    found = spread([(str(s), str(f), float(table[s, f])) for s in range(3) for f in range(5)])
    expected = stats.ttest_1samp(table.mean(axis=0), 0).confidence_interval(0.95)
    assert (found.over, found.n) == ("folds", 5)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.seed_sd) == pytest.approx((table.mean(), table.mean(axis=1).std(ddof=1)))
    # Without one job, seeds were not measured on the same folds.
    uneven = spread([(str(s), str(f), float(table[s, f])) for s in range(3) for f in range(5) if (s, f) != (0, 0)])
    assert uneven.seed_sd is None
    assert uneven.mean == pytest.approx(np.mean([table[1:, 0].mean(), *table[:, 1:].mean(axis=0)]))


def test_one_value_has_no_spread() -> None:
    found = spread([("0", "0", 3.0)])
    assert (found.mean, found.n, found.sd, found.low, found.high) == (3.0, 1, None, None, None)


def test_the_interval_of_a_mean_equals_the_bootstrap_of_scipy() -> None:
    values = np.random.default_rng(2).normal(1, 2, (40, 1))
    expected = stats.bootstrap((values[:, 0],), np.mean, method="percentile", rng=np.random.default_rng(3))
    found = score_interval(values, score=lambda sums: sums[:, 0] / 40)
    interval = expected.confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.05)
    with pytest.raises(AnatomarkError, match="needs two of them"):
        score_interval(values[:1], score=lambda sums: sums[:, 0])


def write_folds(sweep: Path, n_seeds: int = 1) -> np.ndarray:
    """Two learning rates, three folds of four subjects; returns CC (rate, seed, subject)."""
    write_multirun(
        sweep, "model.optimizer.lr=0.1,0.01", "data.fold=0,1,2", f"seed={','.join(map(str, range(n_seeds)))}"
    )
    cc = np.random.default_rng(4).normal(0.5, 0.1, (2, n_seeds, 12))
    jobs = [(rate, fold, seed) for rate in range(2) for fold in range(3) for seed in range(n_seeds)]
    for number, (rate, fold, seed) in enumerate(jobs):
        settings = config(lr=(0.1, 0.01)[rate], fold=fold, seed=seed)
        run = write_job(sweep / str(number), settings, kld=(1.0 + rate + fold,), nss=float(fold))
        tested = {f"s{s}": float(cc[rate, seed, s]) for s in range(4 * fold, 4 * fold + 4)}
        write_report(run, "saliency", saliency_report(tested))
    return cc


def test_groups_are_what_differs_by_seed_and_fold_alone(tmp_path: Path) -> None:
    write_folds(tmp_path, n_seeds=2)
    sweep = read_sweep(tmp_path)
    groups = group_jobs(sweep)
    assert [dict(group.parameters) for group in groups] == [{"model.optimizer.lr": 0.1}, {"model.optimizer.lr": 0.01}]
    assert [[job.name for job in group.jobs] for group in groups] == [[*"012345"], ["6", "7", "8", "9", "10", "11"]]
    found = spreads(groups[1], rank(sweep, metric=None, mode=None))
    assert (found["val/kld"].mean, found["val/kld"].n, found["val/kld"].sd) == pytest.approx((3.0, 3, 1.0))
    assert (found["test/nss"].mean, found["test/nss"].seed_sd) == pytest.approx((1.0, 0.0))


def test_folds_are_pooled_over_subjects(tmp_path: Path) -> None:
    cc = write_folds(tmp_path, n_seeds=2)
    pooled, unpooled = pool(group_jobs(read_sweep(tmp_path)))
    assert unpooled == []
    assert [(p.n_folds, p.n_seeds, p.n_subjects) for p in pooled] == [(3, 2, 12)] * 2
    for rate, found in enumerate(pooled):
        subjects = cc[rate].mean(axis=0)
        drawn = np.random.default_rng(0).integers(12, size=(10_000, 12))
        low, high = np.percentile(subjects[drawn].mean(axis=1), [2.5, 97.5])
        score = found.scores["cc"]
        assert (score.value, score.low, score.high) == pytest.approx((subjects.mean(), low, high))
        assert found.scores["nss"].value == pytest.approx(2 * subjects.mean())


def test_counts_are_pooled_as_counts(tmp_path: Path) -> None:
    write_multirun(tmp_path, "data.fold=0,1")
    counts = [{"a": (8, 2, 1), "b": (1, 3, 4)}, {"c": (5, 0, 5)}]
    for fold, tested in enumerate(counts):
        write_report(
            write_job(tmp_path / str(fold), config(fold=fold)), "classification", classification_report(tested)
        )
    ((found,), _) = pool(group_jobs(read_sweep(tmp_path)))
    assert found.scores["precision"].value == pytest.approx(14 / 19)
    assert found.scores["f1"].value == pytest.approx(28 / (28 + 5 + 10))


def test_rows_of_one_training_are_pooled_each(tmp_path: Path) -> None:
    write_multirun(tmp_path, "data.fold=0,1")
    for fold in range(2):
        rows = {
            row: {"report": saliency_report({f"s{fold}": value, f"t{fold}": value})}
            for row, value in (("early", 0.25), ("late", 0.75))
        }
        run = write_job(tmp_path / str(fold), config(fold=fold))
        write_report(run, "saliency", {"data_set": "phantom", "rows": rows, "paired": {}})
    pooled, _ = pool(group_jobs(read_sweep(tmp_path)))
    assert [(found.row, found.scores["cc"].value) for found in pooled] == [("early", 0.25), ("late", 0.75)]


def test_what_cannot_be_pooled_says_why(tmp_path: Path) -> None:
    def reasons() -> list[str]:
        return [one.reason for one in pool(group_jobs(read_sweep(tmp_path)))[1]]

    write_multirun(tmp_path, "data.fold=0,1")
    runs = [write_job(tmp_path / str(fold), config(fold=fold)) for fold in range(2)]
    assert reasons() == [f"not evaluated; python evaluate.py run={tmp_path}/JOB for JOB 0, 1"]
    write_report(runs[0], "saliency", saliency_report({"a": 0.5, "b": 0.6}))
    assert reasons() == [f"1 of 2 jobs are evaluated; python evaluate.py run={runs[1]}"]
    write_report(runs[1], "saliency", saliency_report({"b": 0.5}))
    assert "jobs 0 and 1, of one seed, both test subject b" in reasons()[0]
    write_report(runs[1], "saliency", saliency_report({"c": 0.5}) | {"conventions": {"target": "sigma 5"}})
    assert "by other conventions" in reasons()[0]
    write_report(runs[1], "saliency", saliency_report({"c": 0.5}) | {"data_set": "OSIE"})
    assert "on another data set" in reasons()[0]
    write_report(runs[1], "saliency", saliency_report({"c": 0.5}))
    assert reasons() == []
    for run in runs:
        write_report(run, "saliency", {"mean": 1.0})
    with pytest.raises(AnatomarkError, match=r"saliency\.json is no report of this version"):
        reasons()
