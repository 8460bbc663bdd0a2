"""Pictures of predicted and annotated boxes: plain values in, Matplotlib figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from anatomark.report.figures import draw_overlay
from anatomark.report.panel_grid import PREDICTED, TRUTH, draw_panels

_STRUCTURE = "#4ade80"

Box = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class BoxPanel:
    """One frame of the picture; boxes are (x0, y0, x1, y1) px.

    Attributes:
        title: what the frame is.
        image: grey frame (h, w).
        saliency: the map the box was made of, at the size of the frame, in [0, 1].
        truth: annotated box.
        predicted: predicted box.
        structures: further annotated boxes by name.
    """

    title: str
    image: NDArray[np.float32]
    saliency: NDArray[np.float32]
    truth: Box
    predicted: Box
    structures: Mapping[str, Box]


def draw_boxes(rows: Mapping[str, Sequence[BoxPanel]]) -> Figure:
    """Draws frames under their maps with annotated and predicted boxes (Toussaint et al. 2018, figure 4).

    Args:
        rows: what the frames of a row have in common -> the frames, at least one.
    """
    shown = ["white: annotated box", "blue: predicted box"]
    if any(panel.structures for panels in rows.values() for panel in panels):
        shown.insert(1, "green: its structures")
    return draw_panels(rows, _draw, "; ".join(shown))


def _draw(axes: Axes, panel: BoxPanel) -> None:
    height, width = panel.image.shape
    draw_overlay(axes, panel.saliency, (height, width))
    for name, box in panel.structures.items():
        _outline(axes, box, _STRUCTURE, dashed=True)
        axes.annotate(name, (box[0], box[1]), color=_STRUCTURE, fontsize=6, va="bottom", annotation_clip=True)
    _outline(axes, panel.truth, TRUTH, dashed=False)
    _outline(axes, panel.predicted, PREDICTED, dashed=False)


def _outline(axes: Axes, box: Box, colour: str, *, dashed: bool) -> None:
    x0, y0, x1, y1 = box
    width, style = (0.9, "--") if dashed else (1.6, "-")
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, lw=width, ls=style))
