"""Jobs that differ by seed and fold alone are one method, measured several times: mean, spread and interval."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t

from anatomark.collecting.jobs import Job, Sweep
from anatomark.collecting.parameters import same, value_at
from anatomark.collecting.ranking import Ranking
from anatomark.report.writer import flatten

SEED, FOLD, TRIAL = "seed", "data.fold", "trial"
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Group:
    """One method.

    Attributes:
        parameters: varied key -> value, without seed and fold; of a trial of several jobs, after its name under
            "trial", all but the fold.
        jobs: all of its jobs.
    """

    parameters: Mapping[str, Any]
    jobs: tuple[Job, ...]

    @property
    def finished(self) -> list[Job]:
        return [job for job in self.jobs if job.status == "finished"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a metric varies over the jobs of a group.

    Attributes:
        mean: over folds of the mean over their seeds; over seeds where there is one fold.
        over: "folds" or "seeds": what was averaged last, and what the spread is over.
        n: how many of them.
        sd: their standard deviation (n - 1); None for one.
        low: lower bound of Student's interval of the mean; None for one.
        high: upper bound.
        seed_sd: where seeds and folds both vary and every seed has the same folds, the standard deviation over seeds
            of the mean over folds; else None.
    """

    mean: float
    over: str
    n: int
    sd: float | None
    low: float | None
    high: float | None
    seed_sd: float | None


def group_jobs(sweep: Sweep) -> list[Group]:
    """Groups the jobs of a sweep, in the order in which their parameters first appear; those of one trial together.

    Jobs of which nothing says what their parameters were belong to no group.
    """
    own = [key for key in sweep.keys if key != FOLD and (key != SEED or sweep.trials)]
    found: dict[tuple[str, ...], list[Job]] = {}
    for job in sweep.jobs:
        if job.config is not None or all(key in job.parameters for key in sweep.keys):
            of_trial = [trial_of(job)] if sweep.trials else []
            found.setdefault((*of_trial, *(same(job.parameters[key]) for key in own)), []).append(job)
    return [Group(parameters=_parameters(sweep, jobs[0], own), jobs=tuple(jobs)) for jobs in found.values()]


def trial_of(job: Job) -> str:
    """The name of the trial that a job is a fold of."""
    return job.name.rpartition("/")[0]


def _parameters(sweep: Sweep, job: Job, own: Sequence[str]) -> dict[str, Any]:
    named = {TRIAL: trial_of(job)} if sweep.trials else {}
    return {**named, **{key: job.parameters[key] for key in own}}


def measured(job: Job, ranking: Ranking | None) -> dict[str, float]:
    """All single numbers of a job: its score, its metrics and those of its reports."""
    numbers = {ranking.metric: ranking.scores[job.name]} if ranking and job.name in ranking.scores else {}
    history = dict(job.history.best) if job.history else {}
    reports = {name: value for evaluator, values in job.reports.items() for name, value in flatten(values, evaluator)}
    return {**numbers, **{name: value for name, value in history.items() if name not in numbers}, **reports}


def spreads(group: Group, ranking: Ranking | None) -> dict[str, Spread]:
    """Metric -> its spread over the finished jobs, of those metrics that all of them have."""
    jobs = [(job, measured(job, ranking)) for job in group.finished]
    common = [name for name in (jobs[0][1] if jobs else {}) if all(name in numbers for _, numbers in jobs)]
    return {name: spread([(*replicate(job), numbers[name]) for job, numbers in jobs]) for name in common}


def replicate(job: Job) -> tuple[str, str]:
    """Seed and fold of a job."""
    assert job.config is not None
    return same(value_at(job.config, SEED)), same(value_at(job.config, FOLD))


def spread(values: Sequence[tuple[str, str, float]]) -> Spread:
    """The spread of values of seeds and folds.

    Args:
        values: seed, fold, value.
    """
    by_seed, by_fold = _means(values, 0), _means(values, 1)
    over, units = ("folds", by_fold) if len(by_fold) > 1 else ("seeds", by_seed)
    n, mean = len(units), fmean(units)
    sd = stdev(units) if n > 1 else None
    half = None if sd is None else float(t.ppf((1 + LEVEL) / 2, n - 1)) * sd / n**0.5
    crossed = len({(seed, fold) for seed, fold, _ in values}) == len(by_seed) * len(by_fold)
    return Spread(
        mean=mean,
        over=over,
        n=n,
        sd=sd,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        seed_sd=stdev(by_seed) if over == "folds" and len(by_seed) > 1 and crossed else None,
    )


def _means(values: Sequence[tuple[str, str, float]], which: int) -> list[float]:
    """Mean per seed (0) or fold (1)."""
    found: dict[Any, list[float]] = {}
    for value in values:
        found.setdefault(value[which], []).append(value[2])
    return [fmean(same_unit) for same_unit in found.values()]


def describe_group(group: Group, ranking: Ranking | None) -> dict[str, Any]:
    """A group as plain values."""
    return {
        "parameters": dict(group.parameters),
        "jobs": [job.name for job in group.jobs],
        "n_finished": len(group.finished),
        "metrics": {name: asdict(found) for name, found in spreads(group, ranking).items()},
    }
