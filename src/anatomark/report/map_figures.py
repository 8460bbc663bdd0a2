"""The picture of predicted maps that callbacks and reports share."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from anatomark.geometry.attention import Weighting, render_map
from anatomark.report.figures import draw_overlay
from anatomark.types import Prediction, Sample

_CELL_INCHES = 1.7
_TITLE_LETTERS = 22  # of 8 points, per cell
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


def draw_map_grid(
    samples: Sequence[Sample],
    truth: Sequence[Float[Tensor, "_ _"]],
    maps: Mapping[str, Sequence[Float[Tensor, "_ _"]]],
    labels: Sequence[str],
) -> Figure:
    """Draws one frame per row: the image, the measured attention, then the map of each method.

    All maps share one colour scale from 0 to 1.

    Args:
        samples: the frames.
        truth: measured attention of each, in [0, 1].
        maps: method -> its map of each frame, in [0, 1], of any resolution.
        labels: what each frame shows.
    """
    height, width = samples[0]["image"].shape[-2:]
    columns = {"measured attention": truth, **maps}
    size = (_CELL_INCHES * (len(columns) + 1) + 0.8, _CELL_INCHES * len(samples) * height / width + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(samples), len(columns) + 1, squeeze=False)
    for row, (line, sample, label) in enumerate(zip(grid, samples, labels, strict=True)):
        for axes in line:
            _draw_frame(axes, sample["image"])
        line[0].set_ylabel(f"{sample['key']}\n{label}" if label else sample["key"], fontsize=7)
        for axes, shown in zip(line[1:], columns.values(), strict=True):
            scale = draw_overlay(axes, shown[row].float().cpu().numpy(), (height, width), peak=1.0)
    for axes, name in zip(grid[0], ("frame", *columns), strict=True):
        axes.set_title("\n".join(wrap(name, _TITLE_LETTERS)), fontsize=8)
    bar = figure.colorbar(scale, ax=grid, shrink=0.5, aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=7)
    return figure


def attention_map(sample: Sample, *, sigma: float, weighting: Weighting) -> Float[Tensor, "h w"]:
    """The measured attention of a frame in [0, 1]: its own map, or that of its fixations (Cai et al. 2018).

    Args:
        sample: the frame.
        sigma: standard deviation of a fixation's Gaussian, px of the image.
        weighting: of the fixations, see :func:`~anatomark.geometry.attention.render_density`.
    """
    height, width = sample["image"].shape[-2:]
    if "attention" in sample:
        return sample["attention"][0]
    fixations = sample.get("fixations", torch.zeros(0, 3))
    return render_map(fixations[None], size=(height, width), sigma=sigma, weighting=weighting)[0]


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
