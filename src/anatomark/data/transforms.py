"""Transforms of a sample: image, maps, mask, points, boxes, ellipse, frustum and fixations always move together.

A geometric step only proposes an affine map; :class:`Spatial` multiplies the maps of its steps and resamples once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.data.moving import MovedBoxes, Size, move
from anatomark.geometry.similarity import apply_transform, compose, flip_matrix
from anatomark.geometry.warp import centred_similarity
from anatomark.types import AnatomarkError, Sample

Transform = Callable[[Sample], Sample]
ROUNDING_PX = 1e-3
"""Boxes are of single precision: what they exceed a pixel by less is rounding."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What a geometric step sees of a frame: the image as the steps before it leave it.

    Attributes:
        key: id of the frame.
        size: (height, width), px.
        gaze: gaze points, float64, px.
        boxes: annotated boxes by name, px.
    """

    key: str
    size: Size
    gaze: Float[Tensor, "n 2"]
    boxes: Mapping[str, Float[Tensor, "4"]] = field(default_factory=dict)


Proposal = tuple[Float[Tensor, "2 3"], Size]
"""A float64 affine map, px to px, and the size (height, width) of the image it maps onto."""

GeometricStep = Callable[[View], Proposal]


class Compose:
    """Applies transforms in order."""

    def __init__(self, *, steps: Sequence[Transform]) -> None:
        self.steps = tuple(steps)

    def __call__(self, sample: Sample) -> Sample:
        for step in self.steps:
            sample = step(sample)
        return sample


class Spatial:
    """Applies geometric steps as one affine map, resampling once."""

    def __init__(self, *, steps: Sequence[GeometricStep]) -> None:
        self.steps = tuple(steps)

    def __call__(self, sample: Sample) -> Sample:
        size: Size = (sample["image"].shape[-2], sample["image"].shape[-1])
        fixations = sample["fixations"][:, :2].double() if "fixations" in sample else torch.empty(0, 2).double()
        matrix = torch.eye(2, 3, dtype=torch.float64)
        for step in self.steps:
            boxes = MovedBoxes(sample.get("boxes", {}), matrix)
            gaze = apply_transform(matrix, fixations)
            proposal, size = step(View(key=sample["key"], size=size, gaze=gaze, boxes=boxes))
            matrix = compose(proposal, matrix)
        return move(sample, matrix, size)


class Fit:
    """Resizes to a size without changing the aspect ratio; the rest is padded evenly with black."""

    def __init__(self, *, height: int, width: int) -> None:
        self.size = (height, width)

    def __call__(self, view: View) -> Proposal:
        scale = min(self.size[0] / view.size[0], self.size[1] / view.size[1])
        offset = [(new - scale * old) / 2 + 0.5 * scale - 0.5 for new, old in zip(self.size, view.size, strict=True)]
        matrix = torch.tensor([[scale, 0, offset[1]], [0, scale, offset[0]]], dtype=torch.float64)
        return matrix, self.size


class Stretch:
    """Resizes to a size, each axis by its own factor, as networks trained on stretched frames expect."""

    def __init__(self, *, height: int, width: int) -> None:
        self.size = (height, width)

    def __call__(self, view: View) -> Proposal:
        y, x = (new / old for new, old in zip(self.size, view.size, strict=True))
        matrix = torch.tensor([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5]], dtype=torch.float64)
        return matrix, self.size


class Crop:
    """Cuts out fixed rows and columns, such as the image on a scanner's screen."""

    def __init__(self, *, top: int, left: int, height: int, width: int) -> None:
        self.corner = (top, left)
        self.size = (height, width)

    def __call__(self, view: View) -> Proposal:
        (top, left), (height, width) = self.corner, self.size
        if min(top, left) < 0 or top + height > view.size[0] or left + width > view.size[1]:
            raise AnatomarkError(
                f"frame {view.key} is {view.size[1]} x {view.size[0]} px and has no rows {top} to {top + height} and"
                f" columns {left} to {left + width}; change the Crop step"
            )
        return torch.tensor([[1, 0, -left], [0, 1, -top]], dtype=torch.float64), self.size


class CropToBox:
    """Cuts out the pixels of an annotated box, such as the abdominal wall (Cai et al. 2018); black beyond the frame.

    Args:
        name: the box; None leaves the frame whole.
        margin: added on every side, as a share of the box's side lengths.

    Raises:
        AnatomarkError: ``margin`` is negative.
    """

    def __init__(self, *, name: str | None = "abdominal_wall", margin: float = 0.0) -> None:
        if not margin >= 0:
            raise AnatomarkError(f"CropToBox: margin is {margin}; it must be 0 or more")
        self.name = name
        self.margin = margin

    def __call__(self, view: View) -> Proposal:
        if self.name is None:
            return torch.eye(2, 3, dtype=torch.float64), view.size
        if self.name not in view.boxes:
            raise AnatomarkError(
                f"frame {view.key} has no box {self.name!r} to crop to; annotate it in boxes.csv, or let the CropToBox"
                " step name no box (cai.crop_box=null)"
            )
        x0, y0, x1, y1 = view.boxes[self.name].double().tolist()
        beside, above = self.margin * (x1 - x0), self.margin * (y1 - y0)
        left, top = (math.floor(edge + 0.5 + ROUNDING_PX) for edge in (x0 - beside, y0 - above))
        right, bottom = (math.ceil(edge + 0.5 - ROUNDING_PX) for edge in (x1 + beside, y1 + above))
        size = (max(bottom - top, 1), max(right - left, 1))
        return torch.tensor([[1, 0, -left], [0, 1, -top]], dtype=torch.float64), size


class RandomCrop:
    """Cuts a random sub-image of ``min_side`` to ``max_side`` of both side lengths that keeps the gaze points.

    Where the gaze is spread wider than the sub-image, the sub-image grows to just hold it.
    """

    def __init__(self, *, min_side: float = 0.7, max_side: float = 0.9) -> None:
        if not 0 < min_side <= max_side <= 1:
            raise ValueError(f"0 < min_side <= max_side <= 1 does not hold for {min_side} and {max_side}")
        self.sides = (min_side, max_side)

    def __call__(self, view: View) -> Proposal:
        gaze, extent = view.gaze, torch.tensor([view.size[1], view.size[0]], dtype=torch.float64)
        inside = gaze[((gaze >= 0) & (gaze <= extent - 1)).all(1)]
        low, high = (inside.amin(0), inside.amax(0)) if len(inside) else (extent / 2, extent / 2)
        drawn = torch.empty((), dtype=torch.float64).uniform_(*self.sides)
        share = torch.maximum(drawn, ((high - low + 1) / extent).amax()).clamp(max=1.0)
        crop = (share * extent).ceil().clamp(max=extent)
        # Whole corners that keep every gaze point inside the outer edges of the sub-image's pixels.
        first = (high - crop + 0.5).ceil().clamp(min=0)
        last = torch.maximum(torch.minimum((low + 0.5).floor(), extent - crop), first)
        corner = first + (torch.rand(2, dtype=torch.float64) * (last - first + 1)).floor()
        matrix = torch.cat([torch.eye(2, dtype=torch.float64), -corner[:, None]], dim=1)
        return matrix, (int(crop[1]), int(crop[0]))


class RandomFlip:
    """Mirrors left and right with probability ``p``."""

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, view: View) -> Proposal:
        flip = bool(torch.rand(()) < self.p)
        return (flip_matrix(view.size[1]) if flip else torch.eye(2, 3, dtype=torch.float64)), view.size


class RandomSimilarity:
    """Rotates by up to ``degrees`` either way and scales by up to ``1 + scale`` either way, about the centre."""

    def __init__(self, *, degrees: float = 0.0, scale: float = 0.0) -> None:
        self.degrees = degrees
        self.scale = scale

    def __call__(self, view: View) -> Proposal:
        angle, log_scale = (2 * torch.rand(2, dtype=torch.float64) - 1).tolist()
        matrix = centred_similarity(
            view.size, angle=math.radians(self.degrees) * angle, scale=(1 + self.scale) ** log_scale
        )
        return matrix, view.size


class RandomGamma:
    """Raises grey values in [0, 1] to a random power; ``amount`` 0.25 means powers from 0.75 to 1.25, and 0 none."""

    def __init__(self, *, amount: float = 0.25) -> None:
        self.amount = amount

    def __call__(self, sample: Sample) -> Sample:
        if self.amount == 0:
            return sample
        power = 1 + self.amount * (2 * float(torch.rand(())) - 1)
        return {**sample, "image": sample["image"].clamp(0, 1) ** power}


class RandomBrightness:
    """Multiplies grey values by a random factor in ``1 +- amount`` and clips at white, as a display does.

    Without the clipping a later :class:`Standardise` would take the factor out again.
    """

    def __init__(self, *, amount: float = 0.25) -> None:
        self.amount = amount

    def __call__(self, sample: Sample) -> Sample:
        factor = 1 + self.amount * (2 * float(torch.rand(())) - 1)
        return {**sample, "image": (sample["image"] * factor).clamp(0, 1)}


class Standardise:
    """Zero mean and unit variance per image; a constant image becomes zero."""

    def __call__(self, sample: Sample) -> Sample:
        image = sample["image"]
        return {**sample, "image": (image - image.mean()) / image.std().clamp(min=1e-6)}


class MinMax:
    """Brings the grey values of each image to [0, 1]; a constant image becomes 0."""

    def __call__(self, sample: Sample) -> Sample:
        low, high = sample["image"].aminmax()
        span = high - low
        return {**sample, "image": (sample["image"] - low) / torch.where(span > 0, span, 1)}
