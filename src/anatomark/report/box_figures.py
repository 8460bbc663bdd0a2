"""Pictures of predicted and annotated boxes: plain values in, Matplotlib figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from anatomark.report.figures import draw_overlay

_PREDICTED, _TRUTH, _STRUCTURE = "#ffb000", "#4ade80", "#22d3ee"
_COLUMN_INCHES = 2.0

Box = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class BoxPanel:
    """One frame of the picture; boxes are (x0, y0, x1, y1) px.

    Attributes:
        title: what the frame is.
        image: grey frame (h, w).
        saliency: the map (rows, columns) the box was made of.
        stride: side of a map cell, px.
        truth: annotated box.
        predicted: predicted box.
        structures: further annotated boxes by name.
    """

    title: str
    image: NDArray[np.float32]
    saliency: NDArray[np.float32]
    stride: int
    truth: Box
    predicted: Box
    structures: Mapping[str, Box]


def draw_boxes(panels: Sequence[BoxPanel]) -> Figure:
    """Draws frames with their annotated boxes above, the same with map and predicted box below.

    Args:
        panels: one column each.
    """
    height, width = panels[0].image.shape
    size = (_COLUMN_INCHES * len(panels) + 0.3, 2 * _COLUMN_INCHES * height / width + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False)
    for (top, bottom), panel in zip(grid.T, panels, strict=True):
        for axes in (top, bottom):
            _show(axes, panel)
            _outline(axes, panel.truth, _TRUTH, dashed=False)
        top.set_title(panel.title, fontsize=7)
        for name, box in panel.structures.items():
            _outline(top, box, _STRUCTURE, dashed=True)
            top.annotate(name, (box[0], box[1]), color=_STRUCTURE, fontsize=6, va="bottom", annotation_clip=True)
        covered = (panel.saliency.shape[0] * panel.stride, panel.saliency.shape[1] * panel.stride)
        low = panel.saliency.min()
        draw_overlay(bottom, panel.saliency - low, covered)
        bottom.set(xlim=top.get_xlim(), ylim=top.get_ylim())
        _outline(bottom, panel.predicted, _PREDICTED, dashed=False)
    for axes, name in zip(grid[:, 0], ("annotated", "map and box"), strict=True):
        axes.set_ylabel(name, fontsize=8)
    figure.supxlabel("green: annotated box; blue: its structures; orange: predicted box", fontsize=8)
    return figure


def _show(axes: Axes, panel: BoxPanel) -> None:
    height, width = panel.image.shape
    axes.imshow(panel.image, cmap="gray")
    # Room for edges that run along the border of the image.
    axes.set(xticks=[], yticks=[], xlim=(-1.5, width + 0.5), ylim=(height + 0.5, -1.5))
    axes.spines[:].set_visible(False)


def _outline(axes: Axes, box: Box, colour: str, *, dashed: bool) -> None:
    x0, y0, x1, y1 = box
    width, style = (0.9, "--") if dashed else (1.6, "-")
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, lw=width, ls=style))
