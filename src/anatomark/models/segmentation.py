"""Segmentation of one structure, on frames or on slices of volumes, in which it then searches (Wang et al. 2021)."""

from dataclasses import replace
from typing import Any, cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.volumes import Volume
from anatomark.models.base import BaseModel, MapOutput, require_finite
from anatomark.models.scores import OverlapScores
from anatomark.models.structure_alignment import Reference
from anatomark.models.structure_search import StructureSearch
from anatomark.nets.unet import ShallowUNet
from anatomark.types import AnatomarkError, Batch
from anatomark.volume_types import VolumeBatch, VolumePrediction, VolumeSample


class SegmentationModel(BaseModel):
    """Learns the mask of one structure by binary cross-entropy.

    Args:
        net: the network.
        search: how the structure is searched for in volumes; None for a model of frames alone.
        **optimisation: see :class:`BaseModel`.
    """

    def __init__(self, *, net: ShallowUNet, search: StructureSearch | None = None, **optimisation: Any) -> None:
        super().__init__(**optimisation)
        self.net = net
        self.search = search
        self.stride = net.stride
        self.scores = OverlapScores()
        self._reference: Reference | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        loss = mask_loss(self.net(batch["image"]), batch)
        self.log_loss(loss, batch)
        return loss

    def forward(self, image: Float[Tensor, "b 1 height width"]) -> MapOutput:
        features = self.net.features(image)
        return MapOutput(maps=self.net.head(features).float().sigmoid(), features=features)

    def score(self, stage: str, batch: Batch) -> None:
        logits = self.net(batch["image"])
        self.log(f"{stage}/loss", mask_loss(logits, batch), batch_size=len(logits), sync_dist=True)
        self.scores.update(stage, logits, require_mask(batch))

    def scores_of(self, stage: str) -> dict[str, Tensor]:
        return self.scores.compute(stage)

    def on_predict_start(self) -> None:
        self._reference = None  # that of other weights

    def predict_step(self, batch: Batch | VolumeBatch, batch_idx: int) -> Any:
        """Predicts frames, or searches volumes."""
        return self.locate(cast(VolumeBatch, batch)) if "volumes" in batch else self.predict(batch)

    def locate(self, batch: VolumeBatch) -> list[VolumePrediction]:
        """Searches the structure in every volume of a batch.

        Raises:
            AnatomarkError: the model has no search, the network predicts NaN, or it does not find the structure in the
                reference.
        """
        if self.search is None:
            raise AnatomarkError("model.search is null, so that volumes cannot be searched; set its options")
        key = batch["reference"]["key"]
        if self._reference is None or self._reference.key != key:
            self._reference = self.search.describe(self._segment, self._here(batch["reference"]))
        return [self.search.find(self._segment, self._here(sample), self._reference) for sample in batch["volumes"]]

    def _segment(self, slices: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
        logits: Tensor = self.net(slices[:, None])
        probability = logits[:, 0].float().sigmoid()
        require_finite(probability)  # NaN would pass for a structure that is not there
        return probability

    def _here(self, sample: VolumeSample) -> VolumeSample:
        """The sample with what the network sees on the model's device."""
        moved = sample.copy()
        moved["volume"] = self._moved(sample["volume"])
        if "mask" in sample:
            moved["mask"] = self._moved(sample["mask"])
        return moved

    def _moved(self, volume: Volume) -> Volume:
        return replace(volume, voxels=volume.voxels.to(self.device))


def mask_loss(logits: Float[Tensor, "b 1 h w"], batch: Batch) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over pixels and frames (Wang et al. 2021, section 3.2).

    Raises:
        AnatomarkError: a frame has no mask.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), require_mask(batch))


def require_mask(batch: Batch) -> Float[Tensor, "b 1 h w"]:
    """The masks of a batch.

    Raises:
        AnatomarkError: a frame has none.
    """
    if "mask" not in batch:
        without = next((sample["key"] for sample in batch["samples"] if "mask" not in sample), "")
        raise AnatomarkError(f"frame {without} has no mask, from which this model learns; add one, or leave it out")
    return batch["mask"]
