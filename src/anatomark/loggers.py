"""The default logger: ``metrics.csv`` in the run folder, continued when a run resumes."""

import csv
from pathlib import Path

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter


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


class _ContinuingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


def close_loggers(loggers: list[Logger], status: str) -> None:
    """Closes every logger with the run's status ("success" or "failed"), so the next run of a sweep starts its own."""
    for logger in loggers:
        logger.finalize(status)
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=0 if status == "success" else 1)
