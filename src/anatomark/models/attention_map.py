"""Attention maps alone, the paper's SS-att: a baseline of M-SEN without its classification branch."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from anatomark.losses import AttentionLoss, attention_loss, check_attention_loss
from anatomark.models.base import BaseModel, MapOutput
from anatomark.models.scores import MapScores
from anatomark.models.targets import attention_target
from anatomark.nets.msen import AttentionNet
from anatomark.types import Batch


class AttentionMapModel(BaseModel):
    """Learns the attention of every cell (Cai et al. 2018, table 2, SS-att BCE and SS-att MSE).

    Args:
        net: the network.
        sigma_px: standard deviation of a fixation's Gaussian, px of the network's input.
        saliency_loss: "bce" or "mse", see :func:`~anatomark.losses.attention_loss`.
        **optimisation: see :class:`BaseModel`.

    Raises:
        AnatomarkError: there is no such loss.
    """

    def __init__(
        self, *, net: AttentionNet, sigma_px: float = 30.0, saliency_loss: AttentionLoss = "bce", **optimisation: Any
    ) -> None:
        super().__init__(**optimisation)
        check_attention_loss(saliency_loss)
        self.net = net
        self.stride = net.stride
        self.sigma_px = sigma_px
        self.saliency_loss = saliency_loss
        self.scores = MapScores()

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        loss = self._loss(self.net(batch["image"]).attention, batch)
        self.log_loss(loss, batch)
        return loss

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> MapOutput:
        attention, features = self.net(image)
        return MapOutput(maps=attention.float().sigmoid()[:, None], features=features)

    def score(self, stage: str, batch: Batch) -> None:
        attention = self.net(batch["image"]).attention
        self.log(f"{stage}/loss", self._loss(attention, batch), batch_size=len(attention), sync_dist=True)
        target = attention_target(batch, sigma=self.sigma_px, stride=1)
        self.scores.update(stage, attention.float().sigmoid(), target, batch)

    def scores_of(self, stage: str) -> dict[str, Tensor]:
        return self.scores.compute(stage)

    def _loss(self, attention: Tensor, batch: Batch) -> Tensor:
        target = attention_target(batch, sigma=self.sigma_px, stride=self.stride)
        return attention_loss(attention, target, batch["has_gaze"], kind=self.saliency_loss)
