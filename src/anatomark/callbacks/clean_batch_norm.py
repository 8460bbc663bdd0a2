"""Batch norms that dropout has unsettled."""

from collections import deque
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import nn

from anatomark.callbacks.predictor import Predictor
from anatomark.types import AnatomarkError, Batch


class CleanBatchNorm(pl.Callback):
    """Estimates at the end of every epoch, without dropout, what batch norms go by in evaluation.

    Dropout widens what the batch norms after it see in training. In a deep network with dropout at every layer that
    adds up, until the evaluation, which drops nothing, fails a network that has learnt well (Li et al. 2019,
    "Understanding the disharmony between dropout and batch normalization").

    Args:
        n_batches: the last training batches of the epoch, which the estimate is made from.

    Raises:
        AnatomarkError: ``n_batches`` is below 1.
    """

    def __init__(self, *, n_batches: int = 8) -> None:
        super().__init__()
        if n_batches < 1:
            raise AnatomarkError(f"CleanBatchNorm: n_batches is {n_batches}; it must be at least 1")
        self._batches: deque[Batch] = deque(maxlen=n_batches)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keeps the batch, and after the last one makes the estimate."""
        self._batches.append(batch)
        if trainer.is_last_batch:
            self._estimate(pl_module)
            self._batches.clear()

    @torch.no_grad()
    def _estimate(self, model: pl.LightningModule) -> None:
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        modes = {module: module.training for module in model.modules()}
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # all batches weigh the same
            norm.train()
        for batch in self._batches:
            cast(Predictor, model).predict(batch)
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
