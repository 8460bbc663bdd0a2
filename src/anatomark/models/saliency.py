"""Saliency prediction from gaze: the network behind visually salient landmarks (Droste et al. 2020)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.attention import render_density
from anatomark.losses import density_kl
from anatomark.models.base import BaseModel, MapOutput
from anatomark.models.scores import MapScores
from anatomark.models.tta import TestTimeAugmentation
from anatomark.nets.saliency import SaliencyNet
from anatomark.types import AnatomarkError, Batch, Prediction


class SaliencyModel(BaseModel):
    """Learns where people look: a softmax over all map cells, trained by KL divergence against gaze densities.

    Frames nobody looked at carry no loss.

    Args:
        net: the network.
        sigma_px: standard deviation of a gaze point's Gaussian in px of the network's input; about 1 degree of visual
            angle in the paper.
        reduction: images are area-averaged by this factor before the network, so that trunks with fewer pools give
            maps of the same size. The map's stride is ``net.stride * reduction``.
        tta: averages predictions over moved copies of each image; None to predict once.
        **optimisation: see :class:`BaseModel`.
    """

    def __init__(
        self,
        *,
        net: SaliencyNet,
        sigma_px: float = 9.0,
        reduction: int = 1,
        tta: TestTimeAugmentation | None = None,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        if reduction < 1:
            raise AnatomarkError(f"model.reduction is {reduction}; it must be at least 1 (images as they are)")
        self.net = net
        self.sigma_px = sigma_px
        self.reduction = reduction
        self.tta = tta
        self.stride = net.stride * reduction
        self.scores = MapScores()

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        logits = self.net(self._network_input(batch["image"])).logits
        loss = density_kl(logits, self._target(batch, self.stride))
        self.log_loss(loss, batch)
        return loss

    def forward(self, image: Float[Tensor, "b c height width"]) -> MapOutput:
        """Frames to maps in a single pass, without test-time augmentation."""
        return _to_output(*self._once(image))

    def predict(self, batch: Batch) -> list[Prediction]:
        return self.describe(batch, _to_output(*self._augmented(batch["image"])))

    def score(self, stage: str, batch: Batch) -> None:
        density, _ = (self._augmented if stage == "test" else self._once)(batch["image"])
        # Scored as they are predicted, so that an evaluation of the stored maps rounds alike.
        self.scores.update(stage, _to_maps(density), self._target(batch, 1), batch)

    def scores_of(self, stage: str) -> dict[str, Tensor]:
        return self.scores.compute(stage)

    def _augmented(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._once(images) if self.tta is None else self.tta(self._once, images)

    def _once(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = self.net(self._network_input(images))
        return logits.flatten(1).softmax(1).view_as(logits), features

    def _network_input(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, self.reduction)

    def _target(self, batch: Batch, stride: int) -> Tensor:
        height, width = batch["image"].shape[-2:]
        with torch.autocast(batch["image"].device.type, enabled=False):  # a density in half precision sums to 1.002
            return render_density(batch["fixations"], size=(height, width), sigma=self.sigma_px, stride=stride)


def _to_output(density: Tensor, features: Tensor) -> MapOutput:
    return MapOutput(maps=_to_maps(density)[:, None], features=features)


def _to_maps(density: Tensor) -> Tensor:
    return density / density.amax((1, 2), keepdim=True)
