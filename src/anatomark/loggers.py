"""Loggers: MLflow's local store, and what every tracked run is told."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger, MLFlowLogger, WandbLogger

from anatomark.metrics_file import RunCSVLogger as RunCSVLogger


class RunMLFlowLogger(MLFlowLogger):
    """Lightning's MLflow logger with one local store for all runs: ``<save_dir>/mlflow.db`` and ``mlflow_artifacts/``.

    A database, since MLflow refuses new runs in plain folders of files. ``MLFLOW_TRACKING_URI``, where it is set, names
    another store or a server. MLflow's reports of its use to its makers are off unless
    ``MLFLOW_DISABLE_TELEMETRY=false``.

    Args:
        save_dir: folder of the store.
        experiment_name: what runs are grouped by.
        run_name: name of the run in its group.
    """

    def __init__(self, *, save_dir: str, experiment_name: str, run_name: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        folder = Path(save_dir).resolve()
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
        if not elsewhere:
            folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            experiment_name=experiment_name,
            run_name=run_name,
            tracking_uri=elsewhere or f"sqlite:///{folder / 'mlflow.db'}",
            artifact_location=None if elsewhere else (folder / "mlflow_artifacts").as_uri(),
        )
        self._save_dir = save_dir

    @property
    def save_dir(self) -> str:
        return self._save_dir

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment_id is None:
            self._experiment_id = self._find_or_make_experiment()
        return super().experiment

    def _find_or_make_experiment(self) -> str:
        from mlflow.exceptions import MlflowException  # an extra

        client, name = self._mlflow_client, self._experiment_name
        if client.get_experiment_by_name(name) is None:
            try:
                client.create_experiment(name, artifact_location=self._artifact_location)
            except MlflowException:
                # Another job of the sweep made it meanwhile; else the next line says what is wrong.
                if client.get_experiment_by_name(name) is None:
                    raise
        return str(client.get_experiment_by_name(name).experiment_id)


def log_settings(loggers: Sequence[Logger], config: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Tells every logger what its run is: the words of the command line under ``overrides``, and the configuration.

    Args:
        loggers: the loggers of the run.
        config: its resolved configuration.
        overrides: ``key=value`` words.
    """
    changed = dict(word.lstrip("+~").partition("=")[::2] for word in overrides)
    for logger in loggers:
        logger.log_hyperparams({"overrides": changed, **config})


def close_loggers(loggers: list[Logger], status: str) -> None:
    """Closes every logger with the run's status ("success" or "failed"), so the next run of a sweep starts its own."""
    for logger in loggers:
        logger.finalize(status)
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=0 if status == "success" else 1)
