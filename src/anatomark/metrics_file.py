"""``metrics.csv`` of a run folder: whole rows at any time, continued when the run resumes."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from anatomark.files import write_whole, writing

MetricRow = Mapping[str, str | float]
"""A row of ``metrics.csv``: column -> cell."""


class RunCSVLogger(CSVLogger):
    """Lightning's CSV logger, writing to ``<save_dir>/metrics.csv`` and keeping the rows of an earlier session."""

    def __init__(self, *, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> "_ContinuingWriter":
        if self._experiment is None:
            self._experiment = _ContinuingWriter(log_dir=self.log_dir)
        return self._experiment  # type: ignore[return-value]

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: ``config.yaml`` lies beside ``metrics.csv``."""

    def rows(self) -> list[dict[str, str]]:
        """All rows so far; a cell without a number is left out."""
        self.experiment.save()
        rows: list[dict[str, str]] = self.experiment.read()
        return rows

    def put_back(self, rows: Sequence[MetricRow]) -> None:
        """Goes on from earlier rows; others that the file holds are dropped."""
        self.experiment.replace(rows)


class _ContinuingWriter(ExperimentWriter):
    def save(self) -> None:
        if not self.metrics:
            return
        path, logged = Path(self.metrics_file_path), self.metrics
        if self._record_new_keys() or not path.is_file():
            write_whole(path, _text([*self.read(), *logged], self.metrics_keys, header=True))
        else:
            # One write, which a killed process has done or not.
            with writing(path), path.open("ab", buffering=0) as file:
                file.write(_text(logged, self.metrics_keys, header=False).encode())
        self.metrics = []

    def read(self) -> list[dict[str, str]]:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return []
        with path.open(newline="") as file:
            return [{key: cell for key, cell in row.items() if cell} for row in csv.DictReader(file)]

    def replace(self, rows: Sequence[MetricRow]) -> None:
        self.metrics = []
        self.metrics_keys = sorted({key for row in rows for key in row})
        if rows:
            write_whole(Path(self.metrics_file_path), _text(rows, self.metrics_keys, header=True))
        else:
            Path(self.metrics_file_path).unlink(missing_ok=True)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


def _text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, header: bool) -> str:
    text = StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
