"""What every model shares: optimisation, validation and test scores, and the one way out, :meth:`BaseModel.predict`."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from anatomark.types import AnatomarkError, Batch, Prediction

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


class BaseModel(pl.LightningModule):
    """A network with its losses; subclasses write ``training_step``, :meth:`score`, :meth:`scores_of` and
    :meth:`predict`.

    Args:
        optimizer: makes the optimiser from the trainable parameters.
        scheduler: makes the learning-rate schedule, stepped once per ``scheduler_interval``; None for a constant rate.
        scheduler_interval: "epoch" or "step".
    """

    def __init__(
        self,
        *,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        scheduler_interval: str = "epoch",
    ) -> None:
        super().__init__()
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._scheduler_interval = scheduler_interval

    @abstractmethod
    def predict(self, batch: Batch) -> list[Prediction]:
        """Returns one prediction per sample of the batch, in order, on the model's device."""

    @abstractmethod
    def score(self, stage: str, batch: Batch) -> None:
        """Adds a batch to the scores of a stage, "val" or "test"."""

    @abstractmethod
    def scores_of(self, stage: str) -> dict[str, Tensor]:
        """The scores of a stage over all ranks as ``<stage>/<name>``, and starts anew."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.score("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.score("test", batch)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.scores_of("val"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.scores_of("test"), sync_dist=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        return self.predict(batch)

    def configure_optimizers(self) -> Any:
        optimizer = self._make_optimizer(p for p in self.parameters() if p.requires_grad)
        if self._make_scheduler is None:
            return optimizer
        schedule = {"scheduler": self._make_scheduler(optimizer), "interval": self._scheduler_interval}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def require_finite(output: Tensor, network: str) -> Tensor:
    """Returns what a network says of itself, such as its logits, unless there is NaN or infinity in it.

    Raises:
        AnatomarkError: there is; ``network`` names it.
    """
    if not bool(torch.isfinite(output).all()):
        raise AnatomarkError(f"{network} predicts NaN; train again with a lower learning rate")
    return output
