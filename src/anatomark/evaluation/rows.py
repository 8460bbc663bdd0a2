"""Rows of a table: each is one checkpoint of every run that declares it, such as the folds of one method.

A configuration declares its rows under ``rows: {NAME: CHECKPOINT}``; a run whose configuration declares none is one
row, named by ``row`` or after its model, and a row set to null is left out. Runs of one row are pooled; several rows
are compared.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from anatomark.errors import AnatomarkError
from anatomark.finished import finish_command, is_fully_trained


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one run contributes to a row.

    Attributes:
        folder: run folder.
        config: its configuration.
        checkpoint: name of the checkpoint; None for the weights the model is built with.
    """

    folder: Path
    config: DictConfig
    checkpoint: str | None

    @property
    def fold(self) -> int:
        return int(self.config.data.get("fold", 0))

    @property
    def is_unfinished(self) -> bool:
        """Whether its weights are those of a training that did not finish, or was pruned."""
        return self.checkpoint is not None and not is_fully_trained(self.folder)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table.

    Attributes:
        name: what the table calls it.
        parts: one per run.
    """

    name: str
    parts: tuple[Part, ...]


def group_rows(folders: Sequence[Path], configs: Sequence[DictConfig]) -> list[Row]:
    """Groups runs by the rows they declare, in the order in which these first appear.

    Raises:
        AnatomarkError: ``rows`` of a configuration is no mapping of names to checkpoints, a row has two runs of the
            same data and seed, or rows have other folds.
    """
    parts: dict[str, list[Part]] = {}
    for folder, config in zip(folders, configs, strict=True):
        for name, checkpoint in _checkpoints(folder, config).items():
            parts.setdefault(name, []).append(Part(folder=folder, config=config, checkpoint=checkpoint))
    rows = [Row(name=name, parts=tuple(sorted(row, key=lambda part: part.fold))) for name, row in parts.items()]
    for row in rows:
        _check_methods(row)
    if len(rows) > 1:
        _check_folds(rows)
    return rows


def unfinished_runs(rows: Sequence[Row]) -> list[Path]:
    """The runs whose training did not finish; only of a run by itself are numbers given.

    Raises:
        AnatomarkError: one would be pooled or compared.
    """
    parts = [part for row in rows for part in row.parts]
    unfinished = list(dict.fromkeys(part.folder for part in parts if part.is_unfinished))
    if unfinished and len(parts) > 1:
        raise AnatomarkError(
            f"{', '.join(map(str, unfinished))} did not finish training, and only finished runs are pooled or compared;"
            f" finish by {finish_command(unfinished)}, or evaluate one by itself by run=FOLDER checkpoint=NAME"
        )
    return unfinished


def as_built(cfg: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Row:
    """The row of a model that is not trained but evaluated with the weights it is built with.

    Args:
        cfg: the configuration Hydra composed.
        folder: its run folder.
        choices: the option of each group that made the configuration.
    """
    config = cfg.copy()
    with open_dict(config):
        config.update(checkpoint=None, rows=None, choices=dict(choices))
    return Row(name=_own_row(config), parts=(Part(folder=folder, config=config, checkpoint=None),))


def _own_row(config: DictConfig) -> str:
    """What tables call a run that gives one row."""
    return str(config.get("row") or config.choices.model)


def _checkpoints(folder: Path, config: DictConfig) -> dict[str, str | None]:
    rows = config.get("rows")
    if rows is None:
        return {_own_row(config): config.checkpoint}
    named = {str(row): name for row, name in rows.items() if name is not None} if isinstance(rows, DictConfig) else {}
    if not named or not all(isinstance(name, str) for name in named.values()):
        raise AnatomarkError(f"{folder}: rows is {rows}; it must map names to checkpoints, such as rows={{mine: last}}")
    return named


def _check_methods(row: Row) -> None:
    """Refuses to pool runs that differ in neither frames nor seed, and so in their method, as those of a search do."""
    seen: dict[str, Part] = {}
    for part in row.parts:
        drawn = json.dumps([part.config.get("seed"), OmegaConf.to_container(part.config.data)], sort_keys=True)
        if drawn in seen:
            raise AnatomarkError(
                f"row {row.name!r} would pool {seen[drawn].folder} and {part.folder}, which have the same data and"
                " seed; evaluate one of them, or train them as rows of their own, row=NAME"
            )
        seen[drawn] = part


def _check_folds(rows: Sequence[Row]) -> None:
    expected = sorted({part.fold for row in rows for part in row.parts})
    for row in rows:
        runs = Counter(part.fold for part in row.parts)
        missing = [fold for fold in expected if fold not in runs]
        if missing:
            raise AnatomarkError(
                f"row {row.name!r} has no run of {_name_folds(missing)}, which other rows have;"
                " train it, or compare fewer folds by run=[A,B,...]"
            )
        fold, n_runs = runs.most_common(1)[0]
        if n_runs > 1:
            twice = ", ".join(str(part.folder) for part in row.parts if part.fold == fold)
            raise AnatomarkError(
                f"row {row.name!r} has {n_runs} runs of fold {fold} ({twice}); compare one run per fold, run=[A,B,...]"
            )


def _name_folds(folds: Sequence[int]) -> str:
    return f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
