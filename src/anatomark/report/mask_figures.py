"""Pictures of predicted and annotated masks: plain values in, Matplotlib figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_PREDICTED, _TRUTH = "#22d3ee", "white"
_COLUMN_INCHES = 2.0
_TITLE_LETTERS = 32


@dataclass(frozen=True, kw_only=True)
class MaskPanel:
    """One frame of the picture.

    Attributes:
        title: what the frame is.
        image: grey frame (h, w).
        truth: annotated structure (h, w).
        predicted: predicted structure (h, w).
    """

    title: str
    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]


def draw_masks(rows: Mapping[str, Sequence[MaskPanel]]) -> Figure:
    """Draws frames with the outlines of annotated and predicted structures.

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
    figure.supxlabel("white: annotated outline; blue: predicted outline", fontsize=8)
    return figure


def _draw(axes: Axes, panel: MaskPanel) -> None:
    height, width = panel.image.shape
    axes.imshow(panel.image, cmap="gray")
    axes.set(xticks=[], yticks=[], xlim=(-1.5, width + 0.5), ylim=(height + 0.5, -1.5))
    axes.spines[:].set_visible(False)
    axes.set_title(
        "\n".join(line for part in panel.title.split("\n") for line in wrap(part, _TITLE_LETTERS)), fontsize=7
    )
    _outline(axes, panel.truth, _TRUTH, 1.6)
    _outline(axes, panel.predicted, _PREDICTED, 1.2)


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str, width: float) -> None:
    if not mask.any():
        return
    # A border of nothing closes the outline of what reaches the border of the image.
    columns, rows = (np.arange(-1, n + 1) for n in mask.shape[::-1])
    axes.contour(columns, rows, np.pad(mask, 1).astype(float), levels=[0.5], colors=[colour], linewidths=width)
