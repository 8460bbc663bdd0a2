"""What a network found in a polar frame, brought to the frame that this one was made of, where it is annotated.

Frames that are not polar are left as they are.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.polar import points_to_cartesian, to_cartesian
from anatomark.types import PolarGrid, Sample

OUTSIDE = -1.0
"""What maps are where they say nothing, such as outside the sector: below every threshold."""

Sizes = tuple[tuple[int, ...], ...]


def frame_sizes(sample: Sample) -> Sizes:
    """Sizes of the image and, of a polar one, of the frame before; frames that agree in both share a batch."""
    return tuple(tuple(one["image"].shape[-2:]) for one in (sample, sample.get("cartesian")) if one is not None)


def maps_in_frame(full_maps: Float[Tensor, "b h w"], samples: Sequence[Sample]) -> Float[Tensor, "b y x"]:
    """Maps of the samples' size at the size of the frames before.

    Args:
        full_maps: one map per sample, in [0, 1].
        samples: their frames, of one size, see :func:`frame_sizes`.
    """
    grids = _grids(samples)
    if not grids:
        return full_maps
    height, width = samples[0]["cartesian"]["image"].shape[-2:]
    return to_cartesian(full_maps[:, None] - OUTSIDE, grids, size=(height, width))[:, 0] + OUTSIDE


def points_in_frame(points: Float[Tensor, "b 2"], samples: Sequence[Sample]) -> Float[Tensor, "b 2"]:
    """Points (x, y), px, one per sample."""
    grids = _grids(samples)
    return points_to_cartesian(points[:, None], grids)[:, 0] if grids else points


def _grids(samples: Sequence[Sample]) -> list[PolarGrid]:
    return [sample["polar"] for sample in samples if "polar" in sample]
