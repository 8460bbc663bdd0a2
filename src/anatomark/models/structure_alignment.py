"""How a structure that was found is turned against the reference's: one of four rotations (Wang et al. 2021)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.inertia import Moments, four_rotations, inscribed_ball, weighted_correlation
from anatomark.geometry.oblique import cut_patch
from anatomark.geometry.volumes import Volume


class Reference(NamedTuple):
    """The structure in the reference, as the network sees it.

    Attributes:
        key: id of the volume.
        axes: directions of the reference's voxels as columns, LPS.
        moments: of the network's own probability; those of the mask would bias the pose.
        patch: the reference about the structure, at the resolution of the sign search.
    """

    key: str
    axes: Float[Tensor, "3 3"]
    moments: Moments
    patch: Float[Tensor, "k j i"]


@dataclass(frozen=True, kw_only=True)
class SignSearch:
    """Chooses among the four rotations by the intensities.

    Attributes:
        side: side of the patches that are compared, their own voxels.
        stride: side of these in voxels of the volume.
        outside: the value around a volume.
    """

    side: int
    stride: int
    outside: float

    def cut(self, volume: Volume, centre_mm: Float[Tensor, "3"], axes: Float[Tensor, "3 3"]) -> Float[Tensor, "k j i"]:
        """What is compared; the arguments are those of :func:`~anatomark.geometry.oblique.cut_patch`."""
        size = (self.side,) * 3
        return cut_patch(volume, centre_mm, axes, size=size, stride=self.stride, outside=self.outside).voxels

    def __call__(
        self, volume: Volume, found: Moments, reference: Reference
    ) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "4"]]:
        """The rotation under which the intensities correlate best, and the correlations of all four, on the CPU."""
        rotations = four_rotations(reference.moments.covariance_mm2, found.covariance_mm2)
        patches = [self.cut(volume, found.centre_mm, rotation @ reference.axes) for rotation in rotations]
        # A ball looks the same from everywhere; the structure alone may, too, when it is turned by 180 degrees.
        weight = inscribed_ball(reference.patch)
        scores = torch.stack([weighted_correlation(reference.patch, patch, weight).cpu() for patch in patches])
        return rotations[int(scores.argmax())], scores


def nearest(rotation: Float[Tensor, "3 3"], candidates: Float[Tensor, "n 3 3"]) -> Float[Tensor, "3 3"]:
    """The candidate that differs from a rotation by the smallest angle: whose trace against it is largest."""
    return candidates[int((candidates * rotation).sum((1, 2)).argmax())]
