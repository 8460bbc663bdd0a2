"""Table and conventions of the segmentation report."""

from collections.abc import Mapping
from typing import Any

from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.metrics.segmentation import METRICS
from anatomark.types import Table

_COLUMNS = {"dice": "Dice, %", "iou": "IoU, %"}


def build_table(values: Mapping[str, Any]) -> Table:
    """Means with their intervals; with several folds, a row of each.

    Args:
        values: the report's values.
    """
    lines: dict[str, Mapping[str, float]] = {"all frames": values}
    if "fold_mean" in values:
        lines |= {fold["run"]: fold for fold in values["folds"]}
        lines |= {"mean over folds": values["fold_mean"], "standard deviation": values["fold_sd"]}
    columns = ["frames of"]
    rows: list[list[str | float | int]] = [[name] for name in lines]
    for metric in METRICS:
        columns += [_COLUMNS[metric], f"95 % interval of {_COLUMNS[metric]}"]
        for row, (name, line) in zip(rows, lines.items(), strict=True):
            row += [100 * line[metric], _interval(values, metric) if name == "all frames" else NOT_MEASURED]
    return Table(
        title="Predicted against annotated structure, test frames",
        columns=columns,
        rows=rows,
        note=f"{values['n_frames']} frames of {values['n_subjects']} subjects, {values['n_empty']} of them without the"
        f" structure; {values['n_skipped']} without a mask skipped. Means over frames, then subjects; intervals over"
        " subjects drawn with replacement.",
    )


def describe_conventions(threshold: float) -> dict[str, str]:
    """How each number was computed.

    Args:
        threshold: value from which a map shows the structure.
    """
    return {
        "predicted": f"where the map is at least {threshold:g}: the only map, or that of the most probable class,"
        " interpolated bilinearly to the image the network saw",
        "dice": "2 |P and T| / (|P| + |T|), P predicted, T annotated pixels; 1 where both are empty",
        "iou": "|P and T| / |P or T|; 1 where both are empty",
        "polar": "what is found on a polar frame is compared in the frame before, where nothing outside the sector is"
        " found",
        "average": "over the frames of a subject, then over subjects",
        "intervals": "95 % of the means over subjects drawn with replacement, 10,000 draws, seed 0; null for one"
        " subject",
        "folds": "each run by itself; mean and standard deviation (n - 1) over runs",
    }


def _interval(values: Mapping[str, Any], metric: str) -> str:
    if values["intervals"] is None:
        return NOT_MEASURED
    low, high = values["intervals"][metric]
    return f"{100 * low:.1f} to {100 * high:.1f}"
