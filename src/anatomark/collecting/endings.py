"""How a job ended and what it left: ``result.json``, ``job.json``, ``train.log`` and ``report/*.json``."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra.errors import HydraException

from anatomark.collecting.plan import parse_words
from anatomark.errors import AnatomarkError
from anatomark.finished import read_result
from anatomark.multirun import read_job

Status = Literal["finished", "pruned", "failed", "unfinished"]
TRAINED: tuple[Status, ...] = ("finished", "pruned")
"""How a job ended that has scores."""

_FAILED = re.compile(r"^failed: .*?: (.*)$", re.MULTILINE)
_STARTED, _TRAINED = re.compile(r"^reading ", re.MULTILINE), re.compile(r"^trained: ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a job ended.

    Attributes:
        status: "unfinished" where it was stopped, is still running or was never started.
        objective: what sweeps optimise; None without one.
        problem: why it is not finished or has no objective.
    """

    status: Status
    objective: float | None = None
    problem: str = ""


def read_ending(folder: Path) -> Ending:
    """Reads how a job ended.

    Raises:
        AnatomarkError: a file of it is damaged or of another version.
    """
    if not folder.is_dir():
        return Ending(status="unfinished", problem="was never started")
    job = read_job(folder)
    log = folder / "train.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    failures = list(_FAILED.finditer(text))
    again = bool(failures and _STARTED.search(text, failures[-1].end()))
    if job is not None and job.error is not None and not again:
        return Ending(status="failed", problem=job.error)
    if (folder / "result.json").is_file():
        return _read_result(folder)
    if failures and not again:
        return Ending(status="failed", problem=failures[-1].group(1))
    if _TRAINED.search(text):
        raise AnatomarkError(
            f"{folder} says trained in its log and has no result.json: that of an older version, or removed; train it"
            " again by the sweep's command"
        )
    return Ending(status="unfinished", problem="was stopped, or is still running")


def read_words(folder: Path) -> Mapping[str, Any]:
    """The keys that a job's own words of the command line set; empty where it did not leave them.

    Raises:
        AnatomarkError: ``job.json`` is damaged.
    """
    job = read_job(folder)
    try:
        return {key: values[0] for key, values in parse_words(job.overrides if job else []).items() if values}
    except HydraException as error:
        reason = " ".join(str(error).split())
        raise AnatomarkError(f"{folder}: the words in job.json are damaged ({reason}); remove the file") from error


def read_reports(folder: Path) -> dict[str, dict[str, Any]]:
    """Evaluator -> the values of its report.

    Raises:
        AnatomarkError: a report is damaged.
    """
    remedy = f"make it again by python evaluate.py run={folder}"
    files = sorted((folder / "report").glob("*.json"))
    return {file.stem: _read_json(file, remedy) for file in files}


def _read_result(folder: Path) -> Ending:
    path, result = folder / "result.json", read_result(folder)
    assert result is not None
    number: object = result.objective
    if isinstance(number, bool) or not (number is None or isinstance(number, int | float)):
        raise AnatomarkError(f"{path} is damaged: its objective is {number!r}; remove it to train the run again")
    status: Status = "pruned" if result.pruned else "finished"
    if number is not None and not math.isfinite(number):
        return Ending(status=status, problem=f"its objective is {number}: the training diverged")
    return Ending(status=status, objective=None if number is None else float(number))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of a report")


def _read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AnatomarkError(f"{path} is damaged ({' '.join(str(error).split())}); {remedy}") from error
    if not isinstance(content, dict):
        raise AnatomarkError(f"{path} is damaged: it holds no mapping; {remedy}")
    return content
