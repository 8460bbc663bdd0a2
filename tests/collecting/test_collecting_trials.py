"""A study whose trials are cross-validations, written by hand: its trials are compared, not their folds."""

import csv
import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from anatomark.collecting.figures import best_so_far, draw_best_so_far, draw_parallel
from anatomark.collecting.groups import group_jobs, spreads
from anatomark.collecting.jobs import Sweep, read_sweep
from anatomark.collecting.plan import read_plan
from anatomark.collecting.ranking import rank
from anatomark.collecting.report import collect_sweep, make_report
from anatomark.collecting.trials import with_trials
from anatomark.errors import AnatomarkError
from anatomark.finished import mark_finished
from sweep_fixture import config, saliency_report, write_failure, write_job, write_multirun, write_report

STUDY = "anatomark.sweeps.sweeper.StudySweeper"
LR = "model.optimizer.lr"
KLD = {  # trial -> the best value of its folds
    "0": [1.0, 1.5, 2.0],
    "1": [0.6, 1.1, 1.6],
    "2": [0.9, 0.3],  # pruned, though its mean so far is the smallest
    "3": [0.1],  # its second fold failed
    "4": [0.2, 0.2],  # under way
    "10": [0.7, 1.2, 2.0],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_multirun(tmp_path, sweeper=STUDY, folds=[0, 1, 2], params={LR: "tag(log, interval(1e-4, 1e-1))"})
    for trial, folds in KLD.items():
        for fold, kld in enumerate(folds):
            settings = config(lr=0.01 / (1 + int(trial)), fold=fold)
            write_job(tmp_path / trial / str(fold), settings, kld=(3.0, kld), nss=-kld)
        if trial not in "34":
            mark_finished(tmp_path / trial, float(np.mean(folds)), pruned=trial == "2")
    write_failure(tmp_path / "3" / "1", "no memory", words=[f"{LR}=0.0025", "data.fold=1"])
    return tmp_path


@pytest.fixture
def sweep(folder: Path) -> Sweep:
    return with_trials(read_sweep(folder))


def test_every_trial_ended_as_its_study_sees_it(sweep: Sweep) -> None:
    assert [(trial.name, trial.status) for trial in sweep.trials] == [
        ("0", "finished"),
        ("1", "finished"),
        ("2", "pruned"),
        ("3", "failed"),
        ("4", "unfinished"),
        ("10", "finished"),
    ]
    by_name = {trial.name: trial for trial in sweep.trials}
    assert by_name["3"].problem == "job 3/1: no memory"
    assert {name: trial.objective for name, trial in by_name.items()} == pytest.approx(
        {"0": 1.5, "1": 1.1, "2": 0.6, "3": None, "4": None, "10": 1.3}
    )
    assert by_name["3"].parameters == {LR: 0.0025}
    history = by_name["10"].history
    assert history is not None
    assert (history.epochs, history.best_epoch) == (6, None)
    assert history.best["test/nss"] == pytest.approx(-1.3)
    assert by_name["4"].history is None
    assert [job.name for job in sweep.jobs][-3:] == ["10/0", "10/1", "10/2"]
    assert len(sweep.jobs) == 15


def test_a_fold_without_an_objective_is_a_failed_trial(folder: Path) -> None:
    (folder / "0" / "result.json").unlink()
    (folder / "0" / "2" / "result.json").write_text(json.dumps({"objective": None}))
    trial = with_trials(read_sweep(folder)).trials[0]
    assert (trial.status, trial.problem) == ("failed", "job 0/2: it has no objective")
    (folder / "0" / "result.json").write_text('{"objective"')
    with pytest.raises(AnatomarkError, match=r"0/result\.json is damaged"):
        with_trials(read_sweep(folder))


def test_trials_are_ranked_and_not_their_folds(sweep: Sweep) -> None:
    ranking = rank(sweep, metric=None, mode=None)
    assert ranking is not None
    assert (ranking.metric, ranking.mode, ranking.best) == ("val/kld", "min", "1")
    means = {"0": 1.5, "1": 1.1, "2": 0.6, "10": 1.3}
    folds = {f"{trial}/{fold}": kld for trial, of_trial in KLD.items() for fold, kld in enumerate(of_trial)}
    assert dict(ranking.scores) == pytest.approx(folds | means)
    other = rank(sweep, metric="test/nss", mode="min")
    assert other is not None
    assert other.best == "0"
    with pytest.raises(AnatomarkError, match=r"metric=test/f1: no finished trial measured it"):
        rank(sweep, metric="test/f1", mode="max")


def test_the_spread_of_a_trial_is_over_its_folds(sweep: Sweep) -> None:
    groups = group_jobs(sweep)
    assert [dict(group.parameters) for group in groups[:2]] == [{"trial": "0", LR: 0.01}, {"trial": "1", LR: 0.005}]
    found = spreads(groups[1], rank(sweep, metric=None, mode=None))["val/kld"]
    values = np.array(KLD["1"])
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert (found.over, found.n) == ("folds", 3)
    assert (found.mean, found.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_equal_parameters_are_two_trials_still(folder: Path) -> None:
    for fold in range(3):
        write_job(folder / "0" / str(fold), config(lr=0.005, fold=fold))
    groups = group_jobs(with_trials(read_sweep(folder)))
    assert [len(group.jobs) for group in groups] == [3, 3, 2, 2, 2, 3]


def test_figures_show_trials(sweep: Sweep) -> None:
    ranking = rank(sweep, metric=None, mode=None)
    assert ranking is not None
    assert best_so_far(sweep, ranking) == ([0, 1, 10], pytest.approx([1.5, 1.1, 1.1]))
    (axes,) = draw_best_so_far(sweep, ranking).axes
    assert axes.get_xlabel() == "trial"
    points = {dots.get_label(): dots.get_offsets().tolist() for dots in axes.collections}
    assert points.keys() == {"finished", "pruned", "failed", "unfinished"}
    assert points["pruned"] == [pytest.approx([2, 0.6])]
    assert [x for x, _ in points["failed"] + points["unfinished"]] == [3, 4]
    (axes,) = draw_parallel(sweep, ranking).axes
    assert len(axes.patches) == 4


def test_the_page_lists_trials_and_every_job(folder: Path) -> None:
    cc = {0: {"a": 0.5, "b": 0.7}, 1: {"c": 0.2}, 2: {"d": 0.4, "e": 0.4}}
    for fold, tested in cc.items():
        write_report(folder / "1" / str(fold), "saliency", saliency_report(tested))
    (folder / "1" / "report").mkdir()
    (folder / "1" / "report" / "index.html").touch()  # of evaluate.py run=.../1
    report = make_report(collect_sweep(folder, metric=None, mode=None))
    assert report.title == "Study of 6 trials in 15 jobs: 3 finished, 1 pruned, 1 failed, 1 unfinished"
    trials, jobs, *_, problems = report.tables
    assert [(row[0], row[2], row[3]) for row in trials.rows] == [
        ("1 (best)", "finished", "3 of 3"),
        ("10", "finished", "3 of 3"),
        ("0", "finished", "3 of 3"),
        ("2", "pruned", "2 of 3"),
        ("3", "failed", "1 of 3"),
        ("4", "unfinished", "2 of 3"),
    ]
    assert trials.columns[:6] == ["trial", LR, "status", "folds", "epochs", "val/kld"]
    assert trials.rows[0][5] == "1.100 \N{PLUS-MINUS SIGN} 0.500 [-0.142, 2.342]"
    assert [row[-1] for row in trials.rows] == ["page", *["\N{EN DASH}"] * 5]
    assert len(jobs.rows) == 15
    assert not any("best" in str(row[0]) for row in jobs.rows)
    assert [row[0] for row in problems.rows] == ["3/1"]
    assert len(list(csv.DictReader(StringIO(report.files["jobs.csv"])))) == 15
    rows = list(csv.DictReader(StringIO(report.files["trials.csv"])))
    assert [row["trial"] for row in rows] == list(KLD)
    assert float(rows[1]["val/kld"]) == pytest.approx(1.1)
    assert [trial["objective"] for trial in report.values["trials"]] == pytest.approx([1.5, 1.1, 0.6, None, None, 1.3])
    (pooled,) = report.values["subjects"]
    assert (pooled["parameters"]["trial"], pooled["n_subjects"]) == ("1", 5)
    assert pooled["scores"]["cc"]["value"] == pytest.approx(2.2 / 5)
    reasons = [one["reason"] for one in report.values["not_pooled"]]
    assert reasons[0] == f"not evaluated; python evaluate.py run={folder}/0/JOB for JOB 0, 1, 2"


def test_the_folds_of_a_study(tmp_path: Path) -> None:
    for folds, expected in ((3, (0, 1, 2)), ([2, 0], (2, 0)), (None, ())):
        write_multirun(tmp_path, sweeper=STUDY, folds=folds)
        assert read_plan(tmp_path).folds == expected
    write_multirun(tmp_path, sweeper=STUDY, folds="many")
    with pytest.raises(AnatomarkError, match=r"multirun\.yaml is damaged"):
        read_plan(tmp_path)
