"""The folder of a sweep -> its jobs: what varied, how each ended and what it measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from omegaconf import OmegaConf

from anatomark.collecting.endings import TRAINED, Status, read_ending, read_reports, read_words
from anatomark.collecting.history import History, read_history
from anatomark.collecting.parameters import Config, same, value_at, varied_keys
from anatomark.collecting.plan import MULTIRUN, Plan, read_plan
from anatomark.errors import AnatomarkError
from anatomark.runs import display_path, load_config


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of a sweep.

    Attributes:
        name: its folder inside the sweep, such as "3".
        folder: run folder; does not exist for a job of a grid that was never started.
        status: how it ended; "unfinished" where it was stopped, is still running or was never started.
        problem: why it is not finished or cannot be ranked.
        config: content of its ``config.yaml``; None where it ended before it had one.
        parameters: varied key -> value; empty where nothing says what they were.
        objective: what sweeps optimise; None without one.
        history: what ``metrics.csv`` says; None without that file.
        reports: evaluator -> values of ``report/<evaluator>.json``.
        has_page: whether it has a report page.
    """

    name: str
    folder: Path
    status: Status
    problem: str = ""
    config: Config | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    objective: float | None = None
    history: History | None = None
    reports: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    has_page: bool = False


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep.

    Attributes:
        folder: its folder.
        keys: the parameters that vary.
        jobs: in the order of their numbers; at least one is finished.
        folds: of a study whose trials are cross-validations, those that each of them trains; else empty.
        trials: of such a study its trials, each as one job whose metrics are means over its folds.
    """

    folder: Path
    keys: tuple[str, ...]
    jobs: tuple[Job, ...]
    folds: tuple[int, ...] = ()
    trials: tuple[Job, ...] = ()

    @property
    def ranked(self) -> tuple[Job, ...]:
        """What is compared: the trials of a study of cross-validations, else the jobs."""
        return self.trials or self.jobs

    @property
    def listed(self) -> tuple[Job, ...]:
        """The jobs, and the trials if these are others."""
        return (*self.jobs, *self.trials)

    @property
    def unit(self) -> str:
        """What the ranked are called: "trial" or "job"."""
        return "trial" if self.trials else "job"

    def of_status(self, status: Status) -> list[Job]:
        """Those of the ranked that ended so."""
        return [job for job in self.ranked if job.status == status]


def read_sweep(folder: Path) -> Sweep:
    """Reads all jobs of a sweep.

    Raises:
        AnatomarkError: the folder is no sweep's, a file of it is damaged or of another version, or no job is finished.
    """
    names = _find_jobs(folder)
    plan = read_plan(folder)
    configs = {name: _load(folder / name) for name in names if (folder / name / "config.yaml").is_file()}
    planned = _planned(plan, configs)
    # What the words say of a job counts only where it ended before it had a configuration.
    said = {**planned, **{name: words for name in names if (words := read_words(folder / name))}}
    keys = varied_keys(list(configs.values()), [*plan.named, *(key for words in said.values() for key in words)])
    jobs = []
    for name in sorted({*names, *planned}, key=_order):
        config = configs.get(name)
        known = {key: value_at(config, key) for key in keys} if config else said.get(name, {})
        parameters = {key: known[key] for key in keys if key in known}
        jobs.append(_read_job(folder, name, config, parameters))
    sweep = Sweep(folder=folder, keys=tuple(keys), jobs=tuple(jobs), folds=plan.folds)
    _require_finished(sweep)
    return sweep


def _find_jobs(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise AnatomarkError(f"{folder} does not exist; give sweep= the folder of a multirun (python train.py -m ...)")
    if (folder / "config.yaml").is_file() and not (folder / MULTIRUN).is_file():
        raise AnatomarkError(
            f"{folder} is the folder of one run; give sweep= the folder of a multirun, or evaluate the run by"
            f" python evaluate.py run={folder}"
        )
    started = {path.parent for name in ("config.yaml", "train.log") for path in folder.glob(f"**/{name}")}
    names = [run.relative_to(folder).as_posix() for run in started - {folder}]
    if not (folder / MULTIRUN).is_file() and not any(name.isdecimal() for name in names):
        raise AnatomarkError(f"{folder} is no multirun: it holds no {MULTIRUN}; give sweep= the folder of one")
    if not names:
        raise AnatomarkError(f"{folder} is the folder of a multirun that holds no run of this version; train again")
    return names


def _order(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in name.split("/")]


def _load(folder: Path) -> Config:
    content = OmegaConf.to_container(load_config(folder), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _planned(plan: Plan, configs: Mapping[str, Config]) -> dict[str, Mapping[str, Any]]:
    """Job -> the values of its grid; empty where the jobs were made by another command than the last."""
    planned = {str(number): values for number, values in enumerate(plan.jobs)}
    for name, config in configs.items():
        values = planned.get(name)
        if values is None or any(same(value_at(config, key)) != same(values[key]) for key in _swept(plan)):
            return {}
    return planned


def _swept(plan: Plan) -> list[str]:
    return [key for key in plan.named if len({same(values[key]) for values in plan.jobs}) > 1]


def _read_job(sweep: Path, name: str, config: Config | None, parameters: Mapping[str, Any]) -> Job:
    folder = sweep / name
    ending = read_ending(folder)
    trained = ending.status in TRAINED
    if trained and config is None:
        raise AnatomarkError(f"{folder / 'config.yaml'} does not exist, and the job is {ending.status}; restore it")
    return Job(
        name=name,
        folder=folder,
        status=ending.status,
        problem=ending.problem,
        config=config,
        parameters=parameters,
        objective=ending.objective,
        history=_read_history(folder, config) if trained and config else None,
        reports=read_reports(folder) if ending.status == "finished" else {},
        has_page=(folder / "report" / "index.html").is_file(),
    )


def _read_history(folder: Path, config: Config) -> History | None:
    path = folder / "metrics.csv"
    if not path.is_file():  # of other loggers
        return None
    return read_history(path, monitor=config.get("monitor"), mode=str(config.get("monitor_mode")))


def _require_finished(sweep: Sweep) -> None:
    if sweep.of_status("finished"):
        return
    counts = count_statuses(sweep.jobs)
    first = next((job for job in sweep.jobs if job.problem), None)
    why = f"; job {first.name}: {first.problem}" if first else ""
    raise AnatomarkError(f"{display_path(sweep.folder)}: no job is finished ({counts}); train them first{why}")


def count_statuses(jobs: Sequence[Job]) -> str:
    """Such as "3 finished, 1 failed"."""
    counts = {status: sum(job.status == status for job in jobs) for status in get_args(Status)}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)
