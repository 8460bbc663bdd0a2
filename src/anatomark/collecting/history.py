"""What ``metrics.csv`` says of one job: its numbers at the best epoch and at the last."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anatomark.errors import AnatomarkError

_COUNTERS = ("epoch", "step")


@dataclass(frozen=True, kw_only=True)
class History:
    """The numbers of a training.

    Attributes:
        epochs: how many were trained.
        best_epoch: that of the best monitored value, counted from 0; None where nothing is monitored.
        best: metric -> value of the best epoch, or of the last one where nothing is monitored; of ``test/`` metrics,
            which are measured once, that value.
        last: metric -> last value.
    """

    epochs: int
    best_epoch: int | None
    best: Mapping[str, float]
    last: Mapping[str, float]


def read_history(path: Path, *, monitor: str | None, mode: str) -> History:
    """Reads a ``metrics.csv``. Values that are not finite count as not measured.

    Args:
        path: the file.
        monitor: the metric that chooses the best epoch.
        mode: "min" or "max".

    Raises:
        AnatomarkError: the file is damaged.
    """
    per_epoch = _read(path)
    last = {metric: value for values in per_epoch.values() for metric, value in values.items()}
    trained = {
        epoch: {metric: value for metric, value in values.items() if not metric.startswith("test/")}
        for epoch, values in per_epoch.items()
    }
    trained = {epoch: values for epoch, values in trained.items() if values}
    monitored = {epoch: values[monitor] for epoch, values in trained.items() if monitor in values}
    best_epoch = None
    if monitored:
        best_epoch = (min if mode == "min" else max)(monitored, key=lambda epoch: monitored[epoch])
    tested = {metric: value for metric, value in last.items() if metric.startswith("test/")}
    best = last if best_epoch is None else {**trained[best_epoch], **tested}
    return History(epochs=len(trained), best_epoch=best_epoch, best=best, last=last)


def _read(path: Path) -> dict[int, dict[str, float]]:
    """Epoch -> metric -> the last value of the epoch."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file, strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnatomarkError(f"{path}: not a readable CSV file ({error}); train the job again") from error
    if "epoch" not in header:
        raise AnatomarkError(f"{path}: no column 'epoch'; train the job again with logger=[csv]")
    per_epoch: dict[int, dict[str, float]] = {}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise AnatomarkError(
                f"{path}, row {number}: {len(row)} cells under {len(header)} columns; restore the file or train the"
                " job again"
            )
        cells = dict(zip(header, row, strict=True))
        epoch = per_epoch.setdefault(int(_number(path, number, "epoch", cells["epoch"])), {})
        values = {c: _number(path, number, c, cell) for c, cell in cells.items() if cell and c not in _COUNTERS}
        epoch.update({metric: value for metric, value in values.items() if math.isfinite(value)})
    return dict(sorted(per_epoch.items()))


def _number(path: Path, row: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise AnatomarkError(
            f"{path}, row {row}: {column} is {cell!r}, no number; restore the file or train the job again"
        ) from error
    if column == "epoch" and not value.is_integer():
        raise AnatomarkError(f"{path}, row {row}: epoch is {cell}; restore the file or train the job again")
    return value
