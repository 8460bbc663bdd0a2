"""Tables and conventions of the localisation report."""

from collections.abc import Mapping, Sequence
from typing import Any

from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.evaluators.localisation_values import METRICS
from anatomark.types import Table

_COLUMNS = ("mean IoU", "pointing game, %", "pointing game, any structure, %")


def describe_conventions(
    *, threshold: str | float, component: str, target: str, fractions: Sequence[float]
) -> dict[str, str]:
    """How each number was computed."""
    rules = {
        "median": "at least 1.3 times the median, or median + 0.3 (maximum - median) where the median is 0 or 1.3 times"
        " it above the maximum",
        "mean": "at least the mean",
    }
    rule = rules.get(str(threshold), f"at least {threshold} of the maximum")
    part = "their largest part, connected also at corners" if component == "largest" else "all of them"
    return {
        "map": "the only one, or that of the most probable class; interpolated bilinearly to the image, stretched to"
        " [0, 1]",
        "truth": target,
        "box": f"around pixels of {rule}: {part}",
        "max_box_acc": "share of frames with IoU >= delta at the best of the thresholds "
        f"{fractions[0]:g} to {fractions[-1]:g} of the maximum, chosen on the test frames; largest part",
        "pointing_game": "share of frames with the centre of the map's highest cell in the true box, without tolerance",
        "pointing_game_any": "the same for any of the frame's boxes",
        "folds": "each run by itself; mean and standard deviation (n - 1) over runs",
    }


def build_tables(values: Mapping[str, Any]) -> list[Table]:
    """Boxes per class and fold, MaxBoxAcc, and the pointing game per structure.

    Args:
        values: the report's values.
    """
    return [_box_table(values), _max_box_acc_table(values["max_box_acc"]), _structure_table(values["structures"])]


def _box_table(values: Mapping[str, Any]) -> Table:
    lines: dict[str, Mapping[str, Any]] = {**values["classes"], "all frames": values}
    if "fold_mean" in values:
        lines |= {fold["run"]: fold for fold in values["folds"]}
    rows = [[name, *_cells(line), line["n_frames"]] for name, line in lines.items()]
    if "fold_mean" in values:
        rows += [["mean over folds", *_cells(values["fold_mean"]), NOT_MEASURED]]
        rows += [["standard deviation", *_cells(values["fold_sd"]), NOT_MEASURED]]
    return Table(
        title="Predicted against annotated boxes, test frames",
        columns=["frames of", *_COLUMNS, "frames"],
        rows=rows,
        note=f"Boxes {values['conventions']['box']}. {values['n_frames']} frames of {values['n_subjects']} subjects;"
        f" {values['n_skipped']} without {values['conventions']['truth'].removeprefix('a ')} skipped.",
    )


def _cells(line: Mapping[str, Any]) -> list[float]:
    iou, *shares = (line[metric] for metric in METRICS)
    return [iou, *(_percent(share) for share in shares)]


def _max_box_acc_table(accuracies: Mapping[str, Any]) -> Table:
    rows: list[list[str | float | int]] = [
        [f"IoU >= {delta}", _percent(entry["value"]), entry["threshold"]]
        for delta, entry in accuracies.items()
        if delta != "mean"
    ]
    rows.append(["mean", _percent(accuracies["mean"]), NOT_MEASURED])
    return Table(
        title="MaxBoxAcc, test frames",
        columns=["box counts from", "MaxBoxAcc, %", "best threshold"],
        rows=rows,
        note="The threshold, a fraction of the maximum, is chosen on the test frames themselves.",
    )


def _structure_table(structures: Mapping[str, Mapping[str, Any]]) -> Table:
    return Table(
        title="Pointing game per structure, test frames",
        columns=["structure", "maximum inside, %", "frames"],
        rows=[[name, _percent(v["pointing_game"]), v["n_frames"]] for name, v in structures.items()],
        note="Of the frames in which the structure is annotated. A map has one maximum, so the rates of structures seen"
        " together add up to 100 % at most where they do not overlap.",
    )


def _percent(share: float) -> float:
    # Rounded so that 0.967 does not come out as 96.70000000000002.
    return round(100 * share, 10)
