"""What a checkpoint must know besides weights and optimisers, for a resumed run to end like an uninterrupted one."""

from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import convert_tensors_to_scalars

from anatomark.metrics_file import MetricRow, RunCSVLogger

_ROWS = "metric_rows"


class RandomState(pl.Callback):
    """Keeps the state of the random numbers in checkpoints, so that a resumed run ends like an uninterrupted one."""

    def state_dict(self) -> dict[str, Any]:
        """The state after the last completed epoch."""
        return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state; a run that moves to other devices starts theirs from its seed."""
        torch.set_rng_state(state_dict["cpu"])
        if len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state_dict["cuda"])


class MetricRows(pl.Callback):
    """Keeps the rows of ``metrics.csv`` in checkpoints, so that a resumed run's are those of an uninterrupted one.

    Rows of the epoch in which a run was stopped are dropped, as it is trained again, and rows that had not reached the
    disk are put back.
    """

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the rows so far."""
        last = _row_to_come(trainer)
        if trainer.is_global_zero and (logger := _csv_logger(trainer)):
            checkpoint[_ROWS] = [*logger.rows(), *last]

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Goes on from the rows of a checkpoint, if it has any."""
        if trainer.is_global_zero and _ROWS in checkpoint and (logger := _csv_logger(trainer)):
            logger.put_back(checkpoint[_ROWS])


def _csv_logger(trainer: pl.Trainer) -> RunCSVLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, RunCSVLogger)), None)


def _row_to_come(trainer: pl.Trainer) -> list[MetricRow]:
    """The training metrics of an epoch, which Lightning logs when all callbacks are done with its end."""
    connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
    if not trainer.training or connector._first_loop_iter is not None:
        return []
    metrics = convert_tensors_to_scalars(connector.metrics["log"])
    return [{"epoch": trainer.current_epoch, "step": loop._batches_that_stepped - 1} | metrics] if metrics else []
