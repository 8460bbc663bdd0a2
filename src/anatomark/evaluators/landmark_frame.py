"""One frame as the landmark and registration evaluators keep it: points and numbers, no feature maps."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anatomark.types import AnatomarkError, Ellipse, Sample

Point = tuple[float, float]

NOT_MEASURED = "\N{EN DASH}"
"""Table cell of what could not be measured."""

NEAR_FRACTION = 0.1
"""A landmark is near a structure within this fraction of the outline's long axis (Droste et al. 2020, section 3)."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """A landmark: a local maximum of the saliency map.

    Attributes:
        point: sub-pixel (x, y), px of the sample's image.
        value: height of the map there.
        cluster: nearest feature cluster.
        structure: the structure this landmark was picked for, if any.
    """

    point: Point
    value: float
    cluster: int
    structure: str | None


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What an expert marked on one frame.

    Attributes:
        key: the frame's id.
        subject: id of the person scanned.
        run: the run that predicted the frame.
        plane: standard plane.
        split: the sample's split; "test" where absent.
        size: (width, height) of the image, px.
        structures: the plane's structures that landmarks may show.
        centres: structure -> annotated centre (x, y), px; only annotated ones.
        ellipse: outline of the head or the abdomen.
    """

    key: str
    subject: str
    run: str
    plane: str
    split: str
    size: tuple[int, int]
    structures: tuple[str, ...]
    centres: dict[str, Point]
    ellipse: Ellipse | None

    @property
    def hc_axis(self) -> float | None:
        """Length of the outline's long axis, px: the HC long axis on heads."""
        return None if self.ellipse is None else 2 * float(self.ellipse["semi_axes"][0])

    @property
    def hc_centre(self) -> Point | None:
        """Centre of the outline, px."""
        return None if self.ellipse is None else _point(self.ellipse["centre"])

    @property
    def complete(self) -> bool:
        """Whether all structures of the plane and the outline are annotated."""
        return self.ellipse is not None and len(self.centres) == len(self.structures)

    def is_near(self, point: Point, structure: str) -> bool:
        """Whether ``point`` lies within 10 % of the outline's long axis of an annotated structure."""
        if self.hc_axis is None or structure not in self.centres:
            return False
        return math.dist(point, self.centres[structure]) <= NEAR_FRACTION * self.hc_axis

    def nearest(self, point: Point) -> str | None:
        """Returns the closest structure that ``point`` is near, or None."""
        near = [s for s in self.centres if self.is_near(point, s)]
        return min(near, key=lambda s: math.dist(point, self.centres[s]), default=None)


@dataclass(frozen=True, kw_only=True)
class LandmarkFrame(Annotation):
    """One reported frame with its landmarks.

    Attributes:
        points: structure -> discovered landmark (x, y), px; only those found.
        peaks: all landmarks, highest first.
        image: grey image, uint8 (h, w), stretched to the full range; kept for complete frames only.
        saliency: the saliency map (rows, columns) at its own resolution; kept for complete frames only.
    """

    points: dict[str, Point]
    peaks: list[Peak]
    image: NDArray[np.uint8] | None = field(repr=False)
    saliency: NDArray[np.float32] | None = field(repr=False)

    @property
    def aligned(self) -> bool:
        """Whether a landmark was found for every structure."""
        return len(self.points) == len(self.structures)

    @property
    def n_near(self) -> int:
        """Number of landmarks near the structure they were picked for."""
        return sum(self.is_near(point, structure) for structure, point in self.points.items())

    @property
    def strict(self) -> bool:
        """Whether every structure has a landmark near it (the paper's selection of frames)."""
        return self.n_near == len(self.structures)


def read_annotation(sample: Sample, run: str, planes: dict[str, tuple[str, ...]]) -> Annotation:
    """Gathers a sample's annotations of its plane's structures.

    Args:
        sample: the frame; without ``plane`` it belongs to the only entry of ``planes``.
        run: the run that predicted the frame.
        planes: plane -> structures.

    Raises:
        AnatomarkError: the plane is missing or not listed.
    """
    known = ", ".join(planes)
    plane = sample.get("plane", next(iter(planes)) if len(planes) == 1 else None)
    if plane is None:
        raise AnatomarkError(
            f"frame {sample['key']} names no plane; add the column `plane` to frames.csv, or list one plane"
            f" in the evaluator's `structures` instead of {known}"
        )
    if plane not in planes:
        raise AnatomarkError(
            f"frame {sample['key']} shows plane {plane}, but `structures` lists {known}; add {plane} there"
        )
    height, width = sample["image"].shape[-2:]
    centres = {name: _centre(sample, name) for name in planes[plane]}
    return Annotation(
        key=sample["key"],
        subject=sample["subject"],
        run=run,
        plane=plane,
        split=sample.get("split", "test"),
        size=(width, height),
        structures=planes[plane],
        centres={name: centre for name, centre in centres.items() if centre is not None},
        ellipse=sample.get("ellipse"),
    )


def grey_image(image: Tensor) -> NDArray[np.uint8]:
    """Stretches the mean of the channels to [0, 255]: (c, h, w) -> (h, w)."""
    grey = image.detach().float().mean(dim=0)
    low, high = grey.aminmax()
    scaled = (grey - low) / (high - low).clamp_min(1e-12)
    grey_levels: NDArray[np.uint8] = (scaled * 255).round().byte().cpu().numpy()
    return grey_levels


def _centre(sample: Sample, name: str) -> Point | None:
    points, boxes = sample.get("points", {}), sample.get("boxes", {})
    if name in points:
        return _point(points[name])
    if name in boxes:
        return _point((boxes[name][:2] + boxes[name][2:]) / 2)
    return None


def _point(xy: Tensor) -> Point:
    return float(xy[0]), float(xy[1])
