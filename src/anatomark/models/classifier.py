"""Classifiers of frames, from the image, the sonographer's attention, or both: the baselines of M-SEN."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anatomark.models.base import BaseModel, MapOutput, scale_to_unit
from anatomark.models.scores import ClassScores
from anatomark.models.targets import attention_target, require_labels
from anatomark.nets.sononet import ClassifierOutput
from anatomark.types import AnatomarkError, Batch, Prediction


class ClassifierModel(BaseModel):
    """Learns classes by cross-entropy (Cai et al. 2018, table 1, and Baumgartner et al. 2017).

    Args:
        net: the network, with ``stride`` and ``n_classes``; takes the inputs in their order, ``(b 1 h w)`` each, and
            returns a :class:`~anatomark.nets.sononet.ClassifierOutput`.
        inputs: what the network sees: "image", and "attention", the sonographer's own map in [0, 1].
        sigma_px: standard deviation of a fixation's Gaussian, px of the network's input.
        **optimisation: see :class:`BaseModel`.

    Raises:
        AnatomarkError: ``inputs`` is empty, or names something else.
    """

    def __init__(
        self,
        *,
        net: nn.Module,
        inputs: Sequence[str] = ("image",),
        sigma_px: float = 30.0,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        if not inputs or not set(inputs) <= {"image", "attention"}:
            raise AnatomarkError(f"model.inputs is {list(inputs)}; it must name image, attention, or both")
        self.net = net
        self.inputs = tuple(inputs)
        self.sigma_px = sigma_px
        self.stride = int(net.stride)  # type: ignore[arg-type]
        self.scores = ClassScores(n_classes=int(net.n_classes))  # type: ignore[arg-type]

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        loss = self._loss(self._classify(batch), batch)
        self.log_loss(loss, batch)
        return loss

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> MapOutput:
        """Frames to class maps.

        Raises:
            AnatomarkError: the network takes more than the frame.
        """
        if self.inputs != ("image",):
            raise AnatomarkError(
                f"{type(self).__name__} sees {' and '.join(self.inputs)} here, so the frame alone is not enough; use a"
                " model that sees the image alone"
            )
        return _to_output(self.net(image))

    def predict(self, batch: Batch) -> list[Prediction]:
        return self.describe(batch, _to_output(self._classify(batch)))

    def _classify(self, batch: Batch) -> ClassifierOutput:
        output: ClassifierOutput = self.net(*(self._input(name, batch) for name in self.inputs))
        return output

    def _input(self, name: str, batch: Batch) -> Tensor:
        if name == "image":
            return batch["image"]
        watched = batch["has_gaze"].tolist()
        if not all(watched):
            unwatched = batch["samples"][watched.index(False)]["key"]
            raise AnatomarkError(
                f"frame {unwatched} has no recorded gaze, which this model takes as its input; add gaze.csv, or use a"
                " model that sees the image alone"
            )
        return attention_target(batch, sigma=self.sigma_px, stride=1)[:, None]

    def score(self, stage: str, batch: Batch) -> None:
        output = self._classify(batch)
        loss = self._loss(output, batch)
        self.log(f"{stage}/loss", loss, batch_size=len(output.logits), sync_dist=True)
        self.scores.update(stage, output.logits, require_labels(batch))

    def scores_of(self, stage: str) -> dict[str, Tensor]:
        return self.scores.compute(stage)

    def _loss(self, output: ClassifierOutput, batch: Batch) -> Tensor:
        return F.cross_entropy(output.logits.float(), require_labels(batch))


def _to_output(output: ClassifierOutput) -> MapOutput:
    maps = scale_to_unit(output.class_maps)
    return MapOutput(maps=maps, features=output.features, logits=output.logits.float())
