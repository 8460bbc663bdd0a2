"""Pictures of predicted and annotated boxes: plain values in, Matplotlib figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from anatomark.report.figures import draw_overlay

_PREDICTED, _TRUTH, _STRUCTURE = "#22d3ee", "white", "#4ade80"
_COLUMN_INCHES = 2.0
_TITLE_LETTERS = 32

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
    n_columns = max(map(len, rows.values()))
    ratios = [max(panel.image.shape[0] / panel.image.shape[1] for panel in row) for row in rows.values()]
    size = (_COLUMN_INCHES * n_columns + 0.4, sum(_COLUMN_INCHES * ratio + 0.35 for ratio in ratios) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), n_columns, squeeze=False, height_ratios=ratios)
    for line, (name, panels) in zip(grid, rows.items(), strict=True):
        for axes, panel in zip(line, panels, strict=False):
            _draw(axes, panel)
        for axes in line[len(panels) :]:
            axes.set_axis_off()
        line[0].set_ylabel(name, fontsize=9)
    shown = ["white: annotated box", "blue: predicted box"]
    if any(panel.structures for panels in rows.values() for panel in panels):
        shown.insert(1, "green: its structures")
    figure.supxlabel("; ".join(shown), fontsize=8)
    return figure


def _draw(axes: Axes, panel: BoxPanel) -> None:
    height, width = panel.image.shape
    axes.imshow(panel.image, cmap="gray")
    draw_overlay(axes, panel.saliency, (height, width))
    # Room for edges that run along the border of the image.
    axes.set(xticks=[], yticks=[], xlim=(-1.5, width + 0.5), ylim=(height + 0.5, -1.5))
    axes.spines[:].set_visible(False)
    axes.set_title(
        "\n".join(line for part in panel.title.split("\n") for line in wrap(part, _TITLE_LETTERS)), fontsize=7
    )
    for name, box in panel.structures.items():
        _outline(axes, box, _STRUCTURE, dashed=True)
        axes.annotate(name, (box[0], box[1]), color=_STRUCTURE, fontsize=6, va="bottom", annotation_clip=True)
    _outline(axes, panel.truth, _TRUTH, dashed=False)
    _outline(axes, panel.predicted, _PREDICTED, dashed=False)


def _outline(axes: Axes, box: Box, colour: str, *, dashed: bool) -> None:
    x0, y0, x1, y1 = box
    width, style = (0.9, "--") if dashed else (1.6, "-")
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, lw=width, ls=style))
