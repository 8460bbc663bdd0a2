"""Pictures of a classification: plain values in, Matplotlib figures out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_COLOURS = ("#0b7285", "#d6336c", "#b08900", "#2f6fb3", "#2b8a3e", "#7c3aed", "#9aa5b1")
_DARK = 0.5  # cells with a larger share get white numbers


def draw_confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draws the share of each class's frames that were called each class, with the numbers of frames.

    Args:
        counts: number of frames, a row per true class, a column per predicted one.
        classes: their names.
    """
    numbers = np.array(counts)
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.75 * len(classes)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > _DARK else "black"
        text = f"{100 * share:.1f} %\n{numbers[row, column]}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    positions = range(len(classes))
    axes.set_xticks(positions, classes, rotation=30, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(positions, classes, fontsize=8)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="share of the row").ax.tick_params(labelsize=7)
    return figure


def draw_precision_recall(
    curves: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating], float]],
) -> Figure:
    """Draws a precision/recall curve per class.

    Args:
        curves: class -> recall (rising), precision, average precision.
    """
    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (recall, precision, area)) in enumerate(curves.items()):
        axes.step(
            np.concatenate([[0], recall]),
            np.concatenate([precision[:1], precision]),
            where="pre",
            label=f"{name} (AP {area:.3f})",
            color=_COLOURS[number % len(_COLOURS)],
            lw=1.6,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xlabel("recall", fontsize=9)
    axes.set_ylabel("precision", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    return figure
