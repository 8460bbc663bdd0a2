"""The contracts between data, models and evaluators.

Conventions of the whole project: images are ``float32`` of shape ``(C, H, W)``; pixel coordinates are ``(x, y)``,
0-based with pixel centres at integers, x to the right and y down; angles are radians unless a name ends in ``_deg``.
A saliency *map* lies in [0, 1] with its maximum at 1; a saliency *density* sums to 1.
Every coordinate of a :class:`Sample` refers to the pixels of its own ``image``, whatever was cropped, flipped or
resized before. An absent key means "not annotated".
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anatomark.errors import AnatomarkError as AnatomarkError


class Ellipse(TypedDict):
    """An ellipse in pixels, such as the outline of a fetal head.

    Attributes:
        centre: ``(x, y)`` of the centre, px.
        semi_axes: semi-major and semi-minor axis, px, the larger first.
        angle: direction of the semi-major axis against the x axis, radians in (-pi/2, pi/2], positive towards +y.
    """

    centre: Float[Tensor, "2"]
    semi_axes: Float[Tensor, "2"]
    angle: float


class Frustum(TypedDict):
    """Sector geometry of a curvilinear or phased-array frame.

    A point at depth r (px from the apex) and angle a (radians from the beam axis, positive towards +x) lies at
    ``apex + r * (sin(a + tilt), cos(a + tilt))``.

    Attributes:
        apex: ``(x, y)`` of the virtual apex, px; may lie outside the image.
        radii: near and far depth of the sector measured from the apex, px.
        half_angle: half of the opening angle, radians.
        tilt: angle between the beam axis and the +y axis, radians, positive towards +x.
    """

    apex: Float[Tensor, "2"]
    radii: Float[Tensor, "2"]
    half_angle: float
    tilt: float


@dataclass(frozen=True, kw_only=True)
class PolarGrid:
    """A polar image of a sector: rows are depths, from near to far, columns directions, from -x to +x.

    Pixel centres lie at integers, so the edges of the sector shown lie at -0.5 and ``size`` - 0.5.

    Attributes:
        apex: ``(x, y)`` of the sector's apex, px of the frame.
        near: smallest depth shown, px of the frame from the apex.
        far: largest depth shown.
        half_angle: half of the opening angle, radians.
        tilt: beam axis against +y, radians, positive towards +x.
        size: (height, width) of the polar image, px.
    """

    apex: tuple[float, float]
    near: float
    far: float
    half_angle: float
    tilt: float
    size: tuple[int, int]

    @classmethod
    def of(cls, frustum: Frustum, size: tuple[int, int], cut: float = 0.1) -> "PolarGrid":
        """A polar image of ``size`` without the first and last ``cut`` of the depth (Toussaint et al. 2018: 10 %).

        Raises:
            AnatomarkError: the geometry is that of no sector, or ``size`` or ``cut`` cannot be.
        """
        x, y, near, far = torch.cat([frustum["apex"], frustum["radii"]]).tolist()
        half_angle, tilt = frustum["half_angle"], frustum["tilt"]
        if not all(map(math.isfinite, (x, y, near, far, half_angle, tilt))):
            raise AnatomarkError("the geometry of its sector holds NaN or infinity; correct it")
        if not 0 <= near < far:
            raise AnatomarkError(
                f"its sector reaches from radius {near:g} to {far:g} px; correct them: the near one is 0 or more and"
                " below the far one"
            )
        if not 0 < half_angle < math.pi / 2:
            raise AnatomarkError(
                f"half of its sector's opening angle is {math.degrees(half_angle):g} degrees; correct it: it lies above"
                " 0 and below 90"
            )
        if min(size) < 1 or not 0 <= cut < 0.5:
            raise AnatomarkError(
                f"a polar image of {size[0]} x {size[1]} px with a cut of {cut} cannot be; use at least 1 x 1 px and a"
                " cut from 0 to below 0.5"
            )
        margin = cut * (far - near)
        return cls(apex=(x, y), near=near + margin, far=far - margin, half_angle=half_angle, tilt=tilt, size=size)


class Sample(TypedDict):
    """One frame with its hints and, for evaluation, its annotations.

    Attributes:
        key: unique id of the frame.
        subject: id of the person scanned; splits never share one.
        image: grey (or RGB) frame, ``(C, H, W)``.
        spacing_mm: pixel size (x, y) in mm; NaN where the data set gives none.
        split: "train", "val" or "test".
        plane: standard plane or view the frame shows, such as "TV"; landmarks are matched within a plane.
        label: index of the frame's class in ``data.classes``.
        present: which of ``data.classes`` the frame shows: its own and those it shows besides.
        fixations: gaze as rows (x px, y px, duration ms); no rows where gaze was recorded and nothing fixated.
        attention: target attention map, ``(1, H, W)``, for data that comes with maps instead of fixations.
        mask: the structure to segment, 0 and 1, ``(1, H, W)``; all 0 where the frame does not show it.
        points: annotated centres, name -> (x, y) px.
        boxes: annotated boxes, name -> (x0, y0, x1, y1) px, continuous edges: a box that covers the whole image is
            (-0.5, -0.5, W - 0.5, H - 0.5).
        ellipse: head outline.
        frustum: sector geometry.
        polar: where the pixels of a polar image lie in ``cartesian``.
        cartesian: the frame a polar image was made of, with everything in px of its own image.
    """

    key: str
    subject: str
    image: Float[Tensor, "c h w"]
    spacing_mm: Float[Tensor, "2"]
    split: NotRequired[str]
    plane: NotRequired[str]
    label: NotRequired[int]
    present: NotRequired[Bool[Tensor, "k"]]
    fixations: NotRequired[Float[Tensor, "n 3"]]
    attention: NotRequired[Float[Tensor, "1 h w"]]
    mask: NotRequired[Float[Tensor, "1 h w"]]
    points: NotRequired[dict[str, Float[Tensor, "2"]]]
    boxes: NotRequired[dict[str, Float[Tensor, "4"]]]
    ellipse: NotRequired[Ellipse]
    frustum: NotRequired[Frustum]
    polar: NotRequired[PolarGrid]
    cartesian: NotRequired["Sample"]


class Batch(TypedDict):
    """Samples of equal image size: tensors stacked, everything of varying length in lists.

    Attributes:
        samples: the frames as they are.
        image: their images.
        fixations: their fixations, padded to the longest with rows of zero duration, which carry no weight anywhere.
        has_gaze: the frames whose gaze was recorded, whether or not anything was fixated. The others carry no loss of
            saliency.
        label: their classes; absent where one has none.
        present: which classes they show; absent where one has no class.
        mask: their masks; absent where one has none.
    """

    samples: list[Sample]
    image: Float[Tensor, "b c h w"]
    fixations: Float[Tensor, "b n 3"]
    has_gaze: Bool[Tensor, "b"]
    label: NotRequired[Int[Tensor, "b"]]
    present: NotRequired[Bool[Tensor, "b k"]]
    mask: NotRequired[Float[Tensor, "b 1 h w"]]


class Prediction(TypedDict):
    """What any model says about one frame.

    Attributes:
        key: the frame's id, equal to its sample's.
        maps: one map per output, in [0, 1].
        map_stride: cell size of ``maps`` and ``features`` in px of the sample's image: cell c covers
            ``[c * stride - 0.5, (c + 1) * stride - 0.5]`` along each axis; 1 when absent.
        logits: class scores before the softmax.
        features: feature vectors of the map's cells.
        other_maps: maps that other methods make with the same network, of the same cells; method -> one per output, in
            [0, 1].
        points: predicted points, name -> (x, y) px of the sample's image.
        run: the run whose network made this prediction. Feature spaces of different runs cannot be compared.
    """

    key: str
    maps: Float[Tensor, "m h w"]
    map_stride: NotRequired[int]
    logits: NotRequired[Float[Tensor, "k"]]
    features: NotRequired[Float[Tensor, "f h w"]]
    other_maps: NotRequired[dict[str, Float[Tensor, "_ h w"]]]
    points: NotRequired[dict[str, Float[Tensor, "2"]]]
    run: NotRequired[str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of a report.

    Attributes:
        title: caption; names the data set, and "phantom" or "simulated" where that is what was measured.
        columns: header cells.
        rows: cells as text or numbers; numbers are formatted when shown and stay exact in the CSV.
        note: conventions and units of the numbers.
    """

    title: str
    columns: list[str]
    rows: list[list[str | float | int]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an evaluator found.

    Attributes:
        name: file stem: ``report/<name>.json`` holds ``values``, ``report/<name>*.csv`` the tables.
        title: heading on the report page.
        values: nested plain numbers, strings and lists, ready for JSON.
        tables: tables for the page and the CSV files.
        figures: figure title -> Matplotlib figure.
        files: path inside the report folder -> text of a file for other programs, such as landmarks.
    """

    name: str
    title: str
    values: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


Pairs = Iterable[tuple[Sample, Prediction]]
Evaluator = Callable[[Pairs], Report]


def require(path: Path, expected: str) -> Path:
    """Returns ``path`` if it exists, else raises :class:`AnatomarkError` that says which files were expected."""
    if not path.exists():
        raise AnatomarkError(f"{path} does not exist; expected {expected}")
    return path
