"""Rows of frames with something drawn over each."""

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

PREDICTED, TRUTH = "#22d3ee", "white"
_COLUMN_INCHES = 2.0
_TITLE_LETTERS = 32


@runtime_checkable
class Panel(Protocol):
    """A frame of the picture."""

    @property
    def title(self) -> str:
        """What the frame is."""
        ...

    @property
    def image(self) -> NDArray[np.float32]:
        """The grey frame (h, w)."""
        ...


P = TypeVar("P", bound=Panel)


def draw_panels(rows: Mapping[str, Sequence[P]], draw: Callable[[Axes, P], None], caption: str) -> Figure:
    """Draws frames row by row.

    Args:
        rows: what the frames of a row have in common -> the frames, at least one.
        draw: draws what belongs over a frame.
        caption: what its colours mean.
    """
    n_columns = max(map(len, rows.values()))
    ratios = [max(panel.image.shape[0] / panel.image.shape[1] for panel in row) for row in rows.values()]
    size = (_COLUMN_INCHES * n_columns + 0.4, sum(_COLUMN_INCHES * ratio + 0.35 for ratio in ratios) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), n_columns, squeeze=False, height_ratios=ratios)
    for line, (name, panels) in zip(grid, rows.items(), strict=True):
        for axes, panel in zip(line, panels, strict=False):
            axes.imshow(panel.image, cmap="gray")
            draw(axes, panel)
            _frame(axes, panel)
        for axes in line[len(panels) :]:
            axes.set_axis_off()
        line[0].set_ylabel(name, fontsize=9)
    figure.supxlabel(caption, fontsize=8)
    return figure


def _frame(axes: Axes, panel: Panel) -> None:
    height, width = panel.image.shape
    # Room for edges that run along the border of the image.
    axes.set(xticks=[], yticks=[], xlim=(-1.5, width + 0.5), ylim=(height + 0.5, -1.5))
    axes.spines[:].set_visible(False)
    title = "\n".join(line for part in panel.title.split("\n") for line in wrap(part, _TITLE_LETTERS))
    axes.set_title(title, fontsize=7)
