"""What every model shares: optimisation, validation and test scores, and the one way out: frames to maps."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from anatomark.metrics.saliency import stretch
from anatomark.types import AnatomarkError, Batch, Prediction

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


class MapOutput(NamedTuple):
    """What a network says about frames.

    Attributes:
        maps: one map per output, in [0, 1].
        features: feature vectors of the maps' cells.
        logits: class scores; None where the network tells no classes.
    """

    maps: Float[Tensor, "b m h w"]
    features: Float[Tensor, "b f h w"]
    logits: Float[Tensor, "b k"] | None = None


class BaseModel(pl.LightningModule):
    """A network with its losses; subclasses write ``training_step``, :meth:`score`, :meth:`scores_of` and
    :meth:`forward`, and set ``stride``.

    Attributes:
        stride: side of a cell of the maps, px of the frame.
        activation: what makes probabilities of the class scores: "softmax" for exclusive classes, "sigmoid" where each
            class is learnt by itself.

    Args:
        optimizer: makes the optimiser from the trainable parameters.
        scheduler: makes the learning-rate schedule, stepped once per ``scheduler_interval``; None for a constant rate.
        scheduler_interval: "epoch" or "step".
    """

    stride: int
    activation: Literal["softmax", "sigmoid"] = "softmax"

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
    def forward(self, image: Float[Tensor, "b 1 height width"]) -> MapOutput:
        """Frames to maps; of tensors alone, so that the graph can be exported."""

    def predict(self, batch: Batch) -> list[Prediction]:
        """Returns one prediction per sample of the batch, in order, on the model's device."""
        return self.describe(batch, self(batch["image"]))

    def describe(self, batch: Batch, output: MapOutput) -> list[Prediction]:
        """What the network says about a batch, sample by sample.

        Raises:
            AnatomarkError: there is NaN or infinity in it.
        """
        require_finite(*(tensor for tensor in output if tensor is not None))
        predictions: list[Prediction] = [
            {"key": sample["key"], "maps": maps, "map_stride": self.stride, "features": features}
            for sample, maps, features in zip(batch["samples"], output.maps, output.features, strict=True)
        ]
        if output.logits is not None:
            for prediction, logits in zip(predictions, output.logits, strict=True):
                prediction["logits"] = logits
        return predictions

    def probabilities(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The probabilities of the classes."""
        return logits.softmax(1) if self.activation == "softmax" else logits.sigmoid()

    def log_loss(self, loss: Tensor, batch: Batch) -> None:
        """Logs the training loss of a batch, which makes the mean of the epoch over all devices."""
        n = len(batch["image"])
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=n, sync_dist=True)

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


def require_finite(*outputs: Tensor) -> None:
    """Refuses what a network says where there is NaN or infinity in it.

    Raises:
        AnatomarkError: there is.
    """
    if not all(bool(output.isfinite().all()) for output in outputs):
        raise AnatomarkError("the network predicts NaN; train again with a lower learning rate")


def scale_to_unit(maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """Each map from 0 at its lowest to 1 at its highest cell, in single precision; zeros where it is constant."""
    return stretch(maps.float().flatten(0, 1)).view_as(maps)
