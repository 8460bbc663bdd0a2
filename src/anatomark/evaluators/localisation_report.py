"""Tables and conventions of the localisation report."""

from collections.abc import Iterator, Mapping
from typing import Any

from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.evaluators.localisation_frames import CENTRE, MAIN
from anatomark.evaluators.localisation_rules import RULES, BoxRules
from anatomark.evaluators.localisation_values import DELTAS, METRICS
from anatomark.types import Table

_COLUMNS = ("mean IoU", "pointing game, %", "pointing game, any structure, %")
GT_KNOWN = "gt_known"

Cell = str | float | int


def describe_conventions(rules: BoxRules, *, target: str) -> dict[str, str]:
    """How each number was computed.

    Args:
        rules: how boxes were made.
        target: what the true box is.
    """
    low, high = rules.fractions[0], rules.fractions[-1]
    return {
        "map": "the only one, or that of the most probable class; interpolated bilinearly to the image the network saw,"
        " stretched to [0, 1]",
        CENTRE: "a Gaussian at the middle of the image the network saw, its deviation half of the sides: what a box is"
        " worth that has not seen the image",
        "gt_known": "the same with the map of the true class; null where maps or frames have no class",
        "truth": target,
        "box": _describe(rules.headline),
        "rules": "; ".join(f"{name}: {_describe(name)}" for name in rules.names),
        "polar": "a box or point found on a polar frame is compared in the frame before: the upright box around its"
        " outline there, cut at the border of the image",
        "mean_iou_over_classes": "mean over the classes of the frames with a true box",
        "max_box_acc": "share of frames with IoU >= delta at the best of the thresholds "
        f"{low:g} to {high:g} of the maximum, chosen on the test frames; largest part",
        "pointing_game": "share of frames with the centre of the map's highest cell in the true box, without tolerance",
        "pointing_game_any": "the same for any of the frame's boxes",
        "folds": "each run by itself; mean and standard deviation (n - 1) over runs",
    }


def _describe(rule: str) -> str:
    threshold, _, part = rule.partition("+")
    above = {
        RULES["contrast"]: "median + 0.3 (maximum - median)",
        RULES[
            "median"
        ]: "1.3 times the median, or median + 0.3 (maximum - median) where the median is 0 or 1.3 times it"
        " above the maximum",
        RULES["mean"]: "the mean",
    }.get(threshold, f"{threshold} of the maximum")
    return f"around {'the largest part, connected also at corners, of' if part else 'all'} pixels of at least {above}"


def build_tables(values: Mapping[str, Any]) -> list[Table]:
    """Boxes per class and fold, all rules and maps side by side, and the pointing game per structure.

    Args:
        values: the report's values.
    """
    return [
        _box_table(values),
        _rule_table(values),
        _max_box_acc_table(values),
        _structure_table(values["structures"]),
    ]


def _box_table(values: Mapping[str, Any]) -> Table:
    over_classes = {"mean over classes": {"mean_iou": values["mean_iou_over_classes"]}} if values["classes"] else {}
    lines: dict[str, Mapping[str, Any]] = {**values["classes"], **over_classes, "all frames": values}
    if "fold_mean" in values:
        lines |= {fold["run"]: fold for fold in values["folds"]}
        lines |= {"mean over folds": values["fold_mean"], "standard deviation": values["fold_sd"]}
    rows: list[list[Cell]] = [[name, *_cells(line), line.get("n_frames", NOT_MEASURED)] for name, line in lines.items()]
    columns = ["frames of", *_COLUMNS, "frames"]
    if (known := values[GT_KNOWN]) is not None:
        of_class: dict[str, float] = {name: scores["mean_iou"] for name, scores in known["classes"].items()}
        if known["classes"]:
            of_class["mean over classes"] = known["mean_iou_over_classes"]
        of_class["all frames"] = known["mean_iou"]
        columns.insert(2, f"mean IoU, {GT_KNOWN}")
        for row in rows:
            row.insert(2, of_class.get(str(row[0]), NOT_MEASURED))
    return Table(
        title="Predicted against annotated boxes, test frames",
        columns=columns,
        rows=rows,
        note=f"Boxes {values['conventions']['box']}. {values['n_frames']} frames of {values['n_subjects']} subjects;"
        f" {values['n_skipped']} without {values['conventions']['truth'].removeprefix('a ')} skipped.",
    )


def _cells(line: Mapping[str, Any]) -> list[Cell]:
    iou, *shares = (line.get(metric) for metric in METRICS)
    return [NOT_MEASURED if iou is None else iou, *(_percent(share) for share in shares)]


def _maps(values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and numbers of the network's own maps, those of other methods, and the maps of the true class of each."""
    for name, scores in {MAIN: values, **values["other_maps"]}.items():
        yield name, scores
        if scores[GT_KNOWN] is not None:
            yield f"{name}, {GT_KNOWN}", scores[GT_KNOWN]


def _rule_table(values: Mapping[str, Any]) -> Table:
    averages = {"mean_iou": "mean IoU", "mean_iou_over_classes": "mean IoU over classes"}
    shown = [metric for metric in averages if metric in values]
    maps = {MAIN: values, **values["other_maps"]}
    known = any(scores[GT_KNOWN] is not None for scores in maps.values())
    return Table(
        title="Maps and rules, test frames",
        columns=[
            "map",
            "rule",
            *(averages[metric] for metric in shown),
            *(f"{averages[metric]}, {GT_KNOWN}" for metric in shown if known),
        ],
        rows=[
            [
                name,
                rule,
                *(found[metric] for metric in shown),
                *(_known_iou(scores, rule, metric) for metric in shown if known),
            ]
            for name, scores in maps.items()
            for rule, found in scores["rules"].items()
        ],
        note=f"{GT_KNOWN}: by the map of the true class instead of that of the most probable one." if known else "",
    )


def _known_iou(scores: Mapping[str, Any], rule: str, metric: str) -> float | str:
    if scores[GT_KNOWN] is None:
        return NOT_MEASURED
    iou: float = scores[GT_KNOWN]["rules"][rule][metric]
    return iou


def _max_box_acc_table(values: Mapping[str, Any]) -> Table:
    return Table(
        title="MaxBoxAcc and pointing game, test frames",
        columns=["map", *(f"MaxBoxAcc, IoU >= {delta:g}, %" for delta in DELTAS), "their mean, %", "pointing game, %"],
        rows=[
            [
                name,
                *(_percent(scores["max_box_acc"][f"{delta:g}"]["value"]) for delta in DELTAS),
                _percent(scores["max_box_acc"]["mean"]),
                _percent(scores["pointing_game"]),
            ]
            for name, scores in _maps(values)
        ],
        note="The threshold of each MaxBoxAcc, a fraction of the maximum, is chosen on the test frames themselves.",
    )


def _structure_table(structures: Mapping[str, Mapping[str, Any]]) -> Table:
    return Table(
        title="Pointing game per structure, test frames",
        columns=["structure", "maximum inside, %", "frames"],
        rows=[[name, _percent(v["pointing_game"]), v["n_frames"]] for name, v in structures.items()],
        note="Of the frames in which the structure is annotated. A map has one maximum, so the rates of structures seen"
        " together add up to 100 % at most where they do not overlap.",
    )


def _percent(share: float | None) -> float | str:
    # Rounded so that 0.967 does not come out as 96.70000000000002.
    return NOT_MEASURED if share is None else round(100 * share, 10)
