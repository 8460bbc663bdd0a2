"""Whether the training of a run has finished, and what to do about one that has not."""

from collections.abc import Sequence
from pathlib import Path

RESULT = "result.json"
"""What a training leaves in its run folder last of all."""


def is_finished(run: Path) -> bool:
    """Whether the training of a run folder has ended well."""
    return (run / RESULT).is_file()


def finish_command(runs: Sequence[Path]) -> str:
    """The command that finishes each of some trainings."""
    return f"python train.py run={runs[0] if len(runs) == 1 else 'FOLDER'} resume=true"
