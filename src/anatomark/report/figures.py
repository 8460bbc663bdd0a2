"""Pictures of landmarks and registrations: plain values in, Matplotlib figures out, no global state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from anatomark.geometry.similarity import apply_transform
from anatomark.geometry.warp import warp

Point = tuple[float, float]

_COLOURS = ("#ffb000", "#22d3ee", "#f472b6", "#a3e635")
_METHOD_COLOURS = ("#9aa5b1", "#2f6fb3", "#b08900", "#2b8a3e", "#7c3aed", "#0b7285")
_SALIENT_COLOUR = "#d6336c"
_LABEL_BOX = {"facecolor": "black", "alpha": 0.55, "pad": 1.5, "edgecolor": "none"}


@dataclass(frozen=True, kw_only=True)
class LandmarkPanel:
    """One column of the landmark grid.

    Attributes:
        title: what the frame is.
        image: grey frame (h, w).
        saliency: map (rows, columns) that covers the whole frame.
        landmarks: structure -> discovered landmark (x, y), px.
        truth: structure -> annotated centre (x, y), px.
        others: landmarks that show no structure, px.
    """

    title: str
    image: NDArray[np.uint8]
    saliency: NDArray[np.float32]
    landmarks: Mapping[str, Point]
    truth: Mapping[str, Point]
    others: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class AnnotatedFrame:
    """A frame with what an expert marked on it.

    Attributes:
        image: grey frame (h, w).
        centres: structure -> centre (x, y), px.
        outline: closed head outline (m, 2), px.
    """

    image: NDArray[np.uint8]
    centres: Mapping[str, Point]
    outline: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RegistrationPanel:
    """One column of the registration grid.

    Attributes:
        title: what the pair is, such as its error.
        source, target: the two frames.
        matrix: affine map from source px to target px, (2, 3).
    """

    title: str
    source: AnnotatedFrame
    target: AnnotatedFrame
    matrix: NDArray[np.float64]


def draw_landmark_grid(panels: Sequence[LandmarkPanel], structures: Sequence[str]) -> Figure:
    """Draws frames, saliency overlays and named landmarks in three rows (Droste et al. 2020, figure 2).

    Args:
        panels: one column each.
        structures: all structures, which fixes their colours.
    """
    figure, axes = _image_grid(("frame", "predicted saliency", "landmarks"), [p.title for p in panels])
    colours = _structure_colours(structures)
    for column, panel in enumerate(panels):
        for row in axes:
            _show(row[column], panel.image)
        draw_overlay(axes[1][column], panel.saliency, panel.image.shape)
        _mark(axes[2][column], panel.truth, colours, marker="o", filled=False)
        _mark(axes[2][column], panel.landmarks, colours, marker="+", filled=True, labels=True)
        if panel.others:
            axes[2][column].plot(*np.array(panel.others).T, "x", color="#b8c0c8", ms=4, mew=0.8)
    figure.supxlabel("+ discovered landmark, ○ annotated centre, x landmark without structure", fontsize=8)
    return figure


def draw_overlay(
    axes: Axes, saliency: NDArray[np.float32], size: tuple[int, ...], *, peak: float | None = None
) -> AxesImage:
    """Lays a saliency map over a frame that is drawn already; what is not salient stays clear.

    Args:
        axes: where the frame is shown.
        saliency: map (rows, columns) of any resolution, covering the frame.
        size: (height, width) of the frame, px.
        peak: value of the strongest colour, for maps that share a scale; None for the map's own maximum.

    Returns:
        What a colour bar needs.
    """
    strength = np.clip(saliency / (peak or max(float(saliency.max()), 1e-12)), 0, 1)
    extent = (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)
    alpha = 0.75 * np.sqrt(strength)
    shown = axes.imshow(strength, extent=extent, cmap="inferno", vmin=0, vmax=1, alpha=alpha, interpolation="bilinear")
    axes.set(xlim=extent[:2], ylim=extent[2:])
    return shown


def draw_registration_grid(panels: Sequence[RegistrationPanel], structures: Sequence[str]) -> Figure:
    """Draws target, source, and the source over the target's annotations before and after (figure 3).

    Args:
        panels: one pair of frames per column.
        structures: all structures, which fixes their colours.
    """
    rows = ("target", "source", "unaligned", "aligned")
    figure, axes = _image_grid(rows, [p.title for p in panels])
    colours = _structure_colours(structures)
    for column, panel in enumerate(panels):
        for row, frame in enumerate((panel.target, panel.source, panel.source, _warped(panel))):
            _show(axes[row][column], frame.image)
            if row >= 2:
                _annotate(axes[row][column], panel.target, colours, dashed=True)
            _annotate(axes[row][column], frame, colours, dashed=False)
    figure.supxlabel("solid: annotations of the frame shown; dashed, ○: the target's", fontsize=8)
    return figure


def draw_error_distribution(
    errors: Mapping[str, Mapping[str, NDArray[np.float64]]], *, title: str, unit: str
) -> Figure:
    """Draws, per structure, the share of pairs within an error, one line per method.

    Args:
        errors: structure -> method -> errors of the pairs.
        title: names the plane.
        unit: label of the x axis.
    """
    figure = Figure(figsize=(3.2 * len(errors), 2.7), layout="constrained")
    for position, (structure, methods) in enumerate(errors.items(), start=1):
        axes = figure.add_subplot(1, len(errors), position)
        for number, (method, values) in enumerate(methods.items()):
            steps = np.arange(1, len(values) + 1) / max(len(values), 1)
            salient = method == "salient"
            axes.step(
                np.sort(values),
                steps,
                where="post",
                label=method,
                color=_SALIENT_COLOUR if salient else _METHOD_COLOURS[number % len(_METHOD_COLOURS)],
                lw=2.2 if salient else 1.3,
            )
        pooled = np.concatenate(list(methods.values()))
        axes.set(xlim=(0, np.quantile(pooled, 0.95) if len(pooled) else 1), ylim=(0, 1))
        axes.set_title(structure, fontsize=9, loc="left", fontweight="bold")
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("share of pairs", fontsize=8)
    figure.axes[-1].legend(fontsize=7, frameon=False, loc="lower right")
    figure.suptitle(title, fontsize=10)
    return figure


def _image_grid(rows: Sequence[str], columns: Sequence[str]) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=(2.4 * len(columns) + 0.3, 1.95 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    axes = [[grid[r, c] for c in range(len(columns))] for r in range(len(rows))]
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=8)
    for row, name in zip(axes, rows, strict=True):
        row[0].set_ylabel(name, fontsize=9)
    return figure, axes


def _show(axes: Axes, image: NDArray[np.uint8]) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    axes.spines[:].set_visible(False)


def _structure_colours(structures: Sequence[str]) -> dict[str, str]:
    return {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(structures)}


def _mark(
    axes: Axes,
    points: Mapping[str, Point],
    colours: Mapping[str, str],
    *,
    marker: str,
    filled: bool,
    labels: bool = False,
) -> None:
    for name, (x, y) in points.items():
        face = colours[name] if filled else "none"
        axes.plot([x], [y], marker, color=colours[name], mfc=face, ms=9 if filled else 11, mew=1.6)
        if labels:
            axes.annotate(
                name,
                (x, y),
                xytext=(6, 6),
                textcoords="offset points",
                color=colours[name],
                fontsize=8,
                bbox=_LABEL_BOX,
                clip_on=True,
            )


def _annotate(axes: Axes, frame: AnnotatedFrame, colours: Mapping[str, str], *, dashed: bool) -> None:
    axes.plot(*frame.outline.T, color="white" if dashed else "#4ade80", lw=1.1, ls="--" if dashed else "-")
    _mark(axes, frame.centres, colours, marker="o" if dashed else "P", filled=not dashed)


def _warped(panel: RegistrationPanel) -> AnnotatedFrame:
    matrix = torch.from_numpy(panel.matrix)
    image = torch.from_numpy(panel.source.image).float()[None, None]
    height, width = panel.target.image.shape
    moved = warp(image, matrix[None].float(), size=(height, width))
    points = torch.tensor(list(panel.source.centres.values()), dtype=torch.float64)
    centres = apply_transform(matrix, points).tolist()
    return AnnotatedFrame(
        image=moved[0, 0].round().byte().numpy(),
        centres={name: (x, y) for name, (x, y) in zip(panel.source.centres, centres, strict=True)},
        outline=apply_transform(matrix, torch.from_numpy(panel.source.outline)).numpy(),
    )
