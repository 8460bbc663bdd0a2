"""Pictures of predicted and annotated masks: plain values in, Matplotlib figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anatomark.report.panel_grid import PREDICTED, TRUTH, draw_panels


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
    return draw_panels(rows, _draw, "white: annotated outline; blue: predicted outline")


def _draw(axes: Axes, panel: MaskPanel) -> None:
    _outline(axes, panel.truth, TRUTH, 1.6)
    _outline(axes, panel.predicted, PREDICTED, 1.2)


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str, width: float) -> None:
    if not mask.any():
        return
    # A border of nothing closes the outline of what reaches the border of the image.
    columns, rows = (np.arange(-1, n + 1) for n in mask.shape[::-1])
    axes.contour(columns, rows, np.pad(mask, 1).astype(float), levels=[0.5], colors=[colour], linewidths=width)
