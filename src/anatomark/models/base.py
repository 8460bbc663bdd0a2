"""What every model shares: optimisation and the one way out, :meth:`BaseModel.predict`."""

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
    """A network with its losses; subclasses write ``training_step`` and :meth:`predict`.

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
