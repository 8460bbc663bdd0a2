"""What a network found in a polar frame, brought to the frame that this one was made of, where it is annotated.

Frames that are not polar are left as they are; a batch may hold both.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.polar import boxes_to_cartesian, points_to_cartesian, to_cartesian
from anatomark.types import PolarGrid, Sample


def boxes_in_frame(boxes: Float[Tensor, "b n 4"], samples: Sequence[Sample]) -> Float[Tensor, "b n 4"]:
    """The upright boxes around boxes of polar frames, cut at the border of the frame before.

    Args:
        boxes: x0, y0, x1, y1, px of the samples' images.
        samples: their frames.
    """
    rows, grids = _polar(samples)
    if not grids:
        return boxes
    moved = boxes_to_cartesian(boxes[rows], grids)
    # The sector may reach beyond the image, where nothing can be annotated.
    sizes = [samples[row]["cartesian"]["image"].shape[-2:] for row in rows]
    border = boxes.new_tensor([(width, height) for height, width in sizes]).repeat(1, 2)[:, None] - 0.5
    brought = boxes.clone()
    brought[rows] = torch.minimum(moved, border).clamp(min=-0.5)
    return brought


def points_in_frame(points: Float[Tensor, "b 2"], samples: Sequence[Sample]) -> Float[Tensor, "b 2"]:
    """Points (x, y), px, one per sample."""
    rows, grids = _polar(samples)
    if not grids:
        return points
    brought = points.clone()
    brought[rows] = points_to_cartesian(points[rows][:, None], grids)[:, 0]
    return brought


def map_in_frame(full_map: Float[Tensor, "h w"], sample: Sample) -> Float[Tensor, "y x"]:
    """A map of the size of a sample's image at the size of the frame before, zero outside the sector."""
    if "polar" not in sample:
        return full_map
    height, width = sample["cartesian"]["image"].shape[-2:]
    return to_cartesian(full_map[None, None], [sample["polar"]], size=(height, width))[0, 0]


def _polar(samples: Sequence[Sample]) -> tuple[list[int], list[PolarGrid]]:
    grids = {row: sample["polar"] for row, sample in enumerate(samples) if "polar" in sample}
    return list(grids), list(grids.values())
