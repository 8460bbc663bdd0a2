"""The picture of predicted maps that callbacks and reports share."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from anatomark.report.figures import draw_overlay
from anatomark.types import Prediction, Sample

_CELL_INCHES = 1.7
_GAZE_AREA_PER_MS = 0.2  # points^2: a fixation of 250 ms is a dot of 8 points


def draw_maps(shown: Sequence[tuple[Sample, Prediction]]) -> Figure:
    """Draws frames, predicted maps and targets in three rows, one column per frame.

    Where a network predicts several maps, the strongest per cell is shown. Each map is scaled to its own
    maximum.
    """
    height, width = shown[0][0]["image"].shape[-2:]
    size = (_CELL_INCHES * len(shown), 3 * _CELL_INCHES * height / width + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(3, len(shown), squeeze=False)
    for (top, middle, bottom), (sample, prediction) in zip(grid.T, shown, strict=True):
        for axes in (top, middle, bottom):
            _draw_frame(axes, sample["image"])
        top.set_title(sample["key"], fontsize=7)
        _draw_map(middle, prediction["maps"].amax(dim=0), prediction.get("map_stride", 1))
        _draw_target(bottom, sample)
    for axes, name in zip(grid[:, 0], ("frame", "prediction", "target"), strict=True):
        axes.set_ylabel(name, fontsize=8)
    return figure


def _draw_frame(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.float().mean(dim=0).cpu().numpy(), cmap="gray")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    # What lies on top must not change the view.
    axes.autoscale(enable=False)


def _draw_map(axes: Axes, values: Tensor, stride: int) -> None:
    height, width = values.shape
    draw_overlay(axes, values.float().cpu().numpy(), (height * stride, width * stride))


def _draw_target(axes: Axes, sample: Sample) -> None:
    if "attention" in sample:
        _draw_map(axes, sample["attention"][0], sample["image"].shape[-1] // sample["attention"].shape[-1])
    elif "fixations" in sample:
        x, y, duration = sample["fixations"].float().cpu().T.numpy()
        axes.scatter(x, y, s=_GAZE_AREA_PER_MS * duration, color="orange", alpha=0.6, linewidths=0)
