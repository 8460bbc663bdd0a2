"""Detection and localisation of anatomy from image labels: soft-proposal networks and their CAM baseline."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.models.base import BaseModel, MapOutput, scale_to_unit
from anatomark.models.grad_cam import grad_cam
from anatomark.models.scores import ClassScores
from anatomark.models.targets import require_labels, require_present
from anatomark.nets.cam import ResponseNet, ResponseOutput
from anatomark.types import Batch, Prediction


class SoftProposalModel(BaseModel):
    """Learns every class against all others, so that a frame may show several (Toussaint et al. 2018, eq. 1).

    The maps of a prediction are the class response maps, each from 0 at its lowest to 1 at its highest cell.

    Args:
        net: the network, with soft proposals or, as the baseline, without.
        grad_cam: predict the maps of Grad-CAM too, of the backbone's features.
        **optimisation: see :class:`BaseModel`.
    """

    activation = "sigmoid"

    def __init__(self, *, net: ResponseNet, grad_cam: bool = False, **optimisation: Any) -> None:
        super().__init__(**optimisation)
        self.net = net
        self.grad_cam = grad_cam
        self.stride = net.stride
        self.scores = ClassScores(n_classes=net.n_classes)

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        loss = label_loss(self.net(batch["image"]).logits, batch)
        self.log_loss(loss, batch)
        return loss

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> MapOutput:
        return _to_output(self.net(image))

    def predict(self, batch: Batch) -> list[Prediction]:
        extracted = self.net.extract(batch["image"])
        predictions = self.describe(batch, _to_output(self.net.respond(extracted)))
        if self.grad_cam:
            others = scale_to_unit(grad_cam(lambda features: self.net.respond(features).logits, extracted))
            for prediction, other in zip(predictions, others, strict=True):
                prediction["other_maps"] = {"Grad-CAM": other}
        return predictions

    def score(self, stage: str, batch: Batch) -> None:
        logits = self.net(batch["image"]).logits
        self.log(f"{stage}/loss", label_loss(logits, batch), batch_size=len(logits), sync_dist=True)
        self.scores.update(stage, logits, require_labels(batch))

    def scores_of(self, stage: str) -> dict[str, Tensor]:
        return self.scores.compute(stage)


def label_loss(logits: Float[Tensor, "b k"], batch: Batch) -> Float[Tensor, ""]:
    """Sigmoid cross-entropy of every class, mean over classes and frames (Toussaint et al. 2018, eq. 1).

    Raises:
        AnatomarkError: a frame has no class.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), require_present(batch).float())


def _to_output(output: ResponseOutput) -> MapOutput:
    maps = scale_to_unit(output.class_maps)
    return MapOutput(maps=maps, features=output.features, logits=output.logits.float())
