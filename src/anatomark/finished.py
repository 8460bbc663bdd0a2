"""Whether the training of a run has finished, what came of it, and what to do about one that has not."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from anatomark.errors import AnatomarkError
from anatomark.files import write_whole
from anatomark.quoting import quoted_word

RESULT = "result.json"
"""What a training leaves in its run folder last of all."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What ``result.json`` says, which a run folder holds once its training is done.

    Attributes:
        objective: the metric that sweeps optimise.
        pruned: whether the study of a sweep ended the training early.
    """

    objective: float | None
    pruned: bool = False


def is_finished(run: Path) -> bool:
    """Whether the training of a run folder has ended well, if early."""
    return (run / RESULT).is_file()


def is_fully_trained(run: Path) -> bool:
    """Whether the training of a run folder has ended well and was not pruned.

    Raises:
        AnatomarkError: ``result.json`` is damaged.
    """
    result = read_result(run)
    return result is not None and not result.pruned


def finish_command(runs: Sequence[Path]) -> str:
    """The command that finishes each of some trainings."""
    return f"python train.py {quoted_word('run', str(runs[0])) if len(runs) == 1 else 'run=FOLDER'} resume=true"


def mark_started(folder: Path) -> None:
    """Forgets that an earlier training in this folder was finished."""
    (folder / RESULT).unlink(missing_ok=True)


def mark_finished(folder: Path, objective: float | None, *, pruned: bool = False) -> Result:
    """Writes ``result.json``."""
    result = Result(objective=objective, pruned=pruned)
    write_whole(folder / RESULT, json.dumps(asdict(result)) + "\n")
    return result


def read_result(folder: Path) -> Result | None:
    """Reads ``result.json``; None where the run did not finish.

    Raises:
        AnatomarkError: the file is damaged.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise AnatomarkError(f"{path} is damaged; remove it to train the run again") from error
