"""Several runs of one command: which of them are finished, and what ``run=`` means where it names their folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from anatomark.errors import AnatomarkError
from anatomark.files import write_whole
from anatomark.finished import Result, is_finished, read_result
from anatomark.runs import choice_word, describe_config, display_path, load_config, merge_overrides

_JOB, _MULTIRUN = "job.json", "multirun.yaml"


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What ``job.json`` says, which every job of a multirun leaves in its folder when it ends.

    Attributes:
        overrides: the words of the command line that made it.
        error: what ended it, on one line; None where it ended well.
    """

    overrides: list[str]
    error: str | None


def expand_runs(run: object) -> list[Path]:
    """The run folders that ``run=`` names: each as it is, all runs of a multirun, or the folds of a study's trial.

    Args:
        run: a path or a list of them; of a name such as 777 the command line makes a number, which means the name.

    Raises:
        AnatomarkError: a multirun holds no run, or one that did not finish.
    """
    several = run if isinstance(run, Sequence) and not isinstance(run, str) else [run]
    return [folder for named in several for folder in _expand(Path(str(named)))]


def _expand(folder: Path) -> list[Path]:
    sweep = next((place for place in (folder, folder.parent) if (place / _MULTIRUN).is_file()), None)
    if (folder / "config.yaml").is_file() or sweep is None:
        return [folder]
    started = {path.parent for name in ("config.yaml", "train.log") for path in folder.glob(f"**/{name}")}
    runs = sorted(started - {folder}, key=_job_order)
    if not runs and sweep != folder:
        return [folder]
    if not runs:
        raise AnatomarkError(f"{folder} is the folder of a multirun that holds no run; train again")
    unfinished = [str(run.relative_to(folder)) for run in runs if not is_finished(run)]
    if unfinished:
        raise AnatomarkError(
            f"{folder}: {len(unfinished)} of {len(runs)} runs did not finish ({', '.join(unfinished)}); give their"
            f" command again with hydra.sweep.dir={sweep}, or evaluate the others by run=[A,B,...]"
        )
    if sweep != folder and not is_finished(folder):
        raise AnatomarkError(
            f"{folder}: {len(runs)} folds of the trial are trained, but it did not finish; give the study's command"
            f" again with hydra.sweep.dir={sweep}, or evaluate its folds by run=[A,B,...]"
        )
    return runs


def load_configs(runs: Sequence[Path], cfg: DictConfig, words: Sequence[str]) -> list[DictConfig]:
    """The configurations of runs with what the command line changes in them.

    ``checkpoint=`` alone means that checkpoint of each run, in place of those that the run's own rows name.

    Args:
        runs: run folders.
        cfg: what Hydra composed from the choices of the first run and the command line.
        words: the words it composed from.
    """
    saved = [load_config(run) for run in runs]
    # The choices of the first run are among the words to compose with; the other runs made their own.
    made = {choice_word(group, choice) for group, choice in saved[0].choices.items() if choice}
    merged = [merge_overrides(config, cfg, [word for word in words if word not in made]) for config in saved]
    keys = {word.split("=", 1)[0].lstrip("+~").split(".")[0] for word in words}
    if "checkpoint" in keys and "rows" not in keys:
        for config in merged:
            config.rows = None
    return merged


def _job_order(run: Path) -> tuple[Any, ...]:
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in run.parts)


def finished_earlier(folder: Path, cfg: DictConfig, choices: Mapping[str, Any]) -> Result | None:
    """The result of a run that an earlier, interrupted multirun finished in this folder; None where there is none.

    Raises:
        AnatomarkError: the folder holds a finished run of another configuration.
    """
    result = read_result(folder)
    if result is None:
        return None
    if other := differing_keys(folder, cfg, choices):
        raise AnatomarkError(
            f"{display_path(folder)} holds a finished run of another configuration ({', '.join(other)} differ);"
            " choose another hydra.sweep.dir, or remove it"
        )
    return result


def differing_keys(folder: Path, cfg: DictConfig, choices: Mapping[str, Any]) -> list[str]:
    """The keys by which the configuration of a run differs from a wanted one.

    Args:
        folder: run folder.
        cfg: what Hydra composed.
        choices: the option of each group that made it.

    Raises:
        AnatomarkError: the configuration of the run cannot be read.
    """
    content = OmegaConf.to_container(load_config(folder), resolve=False)
    assert isinstance(content, dict)
    saved = {str(key): value for key, value in content.items()}
    wanted = describe_config(cfg, choices)
    # As text, in which NaN equals itself.
    return sorted(key for key in saved.keys() | wanted.keys() if _text(saved.get(key)) != _text(wanted.get(key)))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def record_job(folder: Path, job: JobRecord) -> None:
    """Writes ``job.json``."""
    write_whole(folder / _JOB, json.dumps(asdict(job), indent=1) + "\n")


def read_job(folder: Path) -> JobRecord | None:
    """Reads ``job.json``; None where the job did not end, or is none of a multirun.

    Raises:
        AnatomarkError: the file is damaged.
    """
    path = folder / _JOB
    if not path.is_file():
        return None
    try:
        job = JobRecord(**json.loads(path.read_text(encoding="utf-8")))
        words = job.overrides
        if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            raise TypeError(f"its overrides are {words!r}, no list of words")
        if not isinstance(job.error, str | None):
            raise TypeError(f"its error is {job.error!r}, no text")
    except (ValueError, TypeError, RecursionError) as error:
        raise AnatomarkError(f"{path} is damaged ({' '.join(str(error).split())}); remove it") from error
    return job


def ended_jobs(folder: Path) -> dict[str, JobRecord]:
    """The jobs of a multirun's folder that ended, by the names of their folders, in the order of their numbers.

    Raises:
        AnatomarkError: the ``job.json`` of one is damaged.
    """
    ended = sorted((path.parent for path in folder.glob(f"**/{_JOB}")), key=_job_order)
    return {str(job.relative_to(folder)): record for job in ended if (record := read_job(job))}
