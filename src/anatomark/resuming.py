"""Continuing a run: its configuration, the newest good checkpoint, and what a training that starts anew forgets."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from anatomark.errors import AnatomarkError
from anatomark.files import UNFINISHED, whole_file
from anatomark.finished import read_result
from anatomark.multirun import differing_keys
from anatomark.runs import display_path, find_checkpoint, load_config, merge_overrides, read_checkpoint

log = logging.getLogger(__name__)


def find_run(cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path | None]:
    """The configuration to train with, and the checkpoint to go on from; None for a training from the beginning.

    Args:
        cfg: what Hydra composed.
        overrides: the words of the command line.

    Raises:
        AnatomarkError: the run to continue is not named or cannot be continued, or it exists and is not to be.
    """
    if not cfg.resume:
        if cfg.run is not None:
            raise AnatomarkError(
                f"run={cfg.run} is a run that exists; add resume=true to continue it, or leave run= out"
            )
        return cfg, None
    if cfg.run is None:
        raise AnatomarkError("resume=true needs the run to continue; add run= and the folder that train.py printed")
    return merge_overrides(load_config(cfg.run), cfg, overrides), last_checkpoint(Path(cfg.run))


def find_job(cfg: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Path | None:
    """The checkpoint that a job of a multirun goes on from, where an earlier multirun left it unfinished.

    Args:
        cfg: what Hydra composed.
        folder: of the job.
        choices: the option of each group that made the configuration.

    Returns:
        Path of ``last.ckpt``; None for a training from the beginning.

    Raises:
        AnatomarkError: the folder holds the checkpoints of another configuration, which a new training would remove, or
            none that can be read; or the command line names a run to continue.
    """
    if cfg.resume or cfg.run is not None:
        raise AnatomarkError(
            "a multirun cannot continue the run of run= and resume=true; leave -m out. Unfinished jobs of a multirun go"
            " on when its command is given again with hydra.sweep.dir= and its folder"
        )
    checkpoints = any((folder / "checkpoints").glob("*.ckpt"))
    if not (folder / "config.yaml").is_file():
        if checkpoints:
            raise AnatomarkError(
                f"{display_path(folder)} holds checkpoints, but no config.yaml; restore it, or remove the folder"
            )
        return None
    if not (other := differing_keys(folder, cfg, choices)):
        checkpoint = last_checkpoint(folder)
        if checkpoint is not None:
            log.info("goes on from its last checkpoint: %s", display_path(folder))
        return checkpoint
    if checkpoints:
        raise AnatomarkError(
            f"{display_path(folder)} holds an unfinished run of another configuration ({', '.join(other)} differ);"
            f" continue it by run={display_path(folder)} resume=true, choose another hydra.sweep.dir, or remove it"
        )
    return None


def last_checkpoint(run: Path) -> Path | None:
    """The checkpoint that a run goes on from: its last one, or the newest of the others where that is damaged.

    The one that is used lies at ``last.ckpt`` afterwards; a damaged file is kept beside it. What is done is logged.

    Returns:
        Path of ``last.ckpt``; None where the run was stopped before its first checkpoint.

    Raises:
        AnatomarkError: no checkpoint can be read, or those of a finished run are gone.
    """
    folder = run / "checkpoints"
    others = {path for path in folder.glob("*.ckpt") if path.stem != "last"}
    if not others and not (folder / "last.ckpt").exists() and read_result(run) is None:
        log.warning("%s has no checkpoint yet: training starts from the beginning", display_path(run))
        return None
    last = folder / "last.ckpt" if others else find_checkpoint(run, "last")
    try:
        read_checkpoint(last)
    except AnatomarkError as fault:
        _replace(last, others, fault)
    return last


def prepare_folder(folder: Path, checkpoint: Path | None) -> None:
    """Removes what must not be taken for a part of the training that begins.

    Of an earlier training, where this one starts from the beginning in its folder, all that a run is continued from;
    else the checkpoints that the run was writing when its process was killed.

    Args:
        folder: run folder.
        checkpoint: what the training goes on from; None for one from the beginning.
    """
    checkpoints = folder / "checkpoints"
    if checkpoint is not None:
        leftovers = [*checkpoints.glob(f"*{UNFINISHED}")]
    else:
        leftovers = [folder / "metrics.csv", folder / "splits.json", *checkpoints.glob("*.ckpt*")]
    for path in leftovers:
        path.unlink(missing_ok=True)


def _replace(last: Path, others: set[Path], fault: AnatomarkError) -> None:
    """Puts the newest readable one of other checkpoints in place of the last, which has a fault."""
    progress: dict[Path, tuple[int, int]] = {}
    for path in sorted(others):
        try:
            checkpoint = read_checkpoint(path)
        except AnatomarkError:
            continue
        progress[path] = checkpoint.get("epoch", -1), checkpoint.get("global_step", -1)
    if not progress:
        raise AnatomarkError(
            f"{display_path(last.parents[1])} has no checkpoint that can be read ({last.name} and {len(others)} more);"
            f" restore one, or remove {last.parent} to train from the beginning"
        ) from fault
    newest = max(progress, key=lambda path: progress[path])
    kept = ""
    if last.exists():
        damaged = last.with_name(f"{last.name}.damaged")
        last.replace(damaged)
        kept = f"; the damaged file is kept as {damaged.name}"
    with whole_file(last) as unfinished:
        shutil.copyfile(newest, unfinished)
    log.warning(
        "%s is %s: training goes on from %s, after epoch %d%s",
        display_path(last),
        "damaged" if kept else "missing",
        newest.name,
        progress[newest][0],
        kept,
    )
