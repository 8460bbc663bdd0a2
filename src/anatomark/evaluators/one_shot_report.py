"""Tables and conventions of the one-shot evaluator."""

from collections.abc import Mapping
from typing import Any

from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.evaluators.one_shot_reliability import SIGNALS
from anatomark.types import Table

PUBLISHED = {
    "one-shot, Wang 2021 (published)": 0.705,
    "without localisation, Wang 2021 (published)": 9.49,
    "second rater, Wang 2021 (published)": 0.61,
}
"""Mean errors of Wang et al. 2021, table 1, mm: 20 temporal bones, private data."""

PUBLISHED_LANDMARKS = {"centre": 0.58, "top": 0.74, "round_window": 0.79}
"""Their means per landmark; shown where the landmarks are these."""

CONVENTIONS = {
    "errors": "distance to the expert's point, mm; standard deviations over volumes with n - 1",
    "start, localisation": "the reference's landmarks moved by the way from its structure's centre to the first or last"
    " centre in the target",
    "inertia": "the reference's landmarks under the pose",
    "overall_mean_mm": "mean over all landmarks of all volumes that did not fail, untrusted ones included",
    "reliability": "signals are larger where a landmark is less to be relied on; Spearman's correlation with the error",
    **SIGNALS,
}


def build_tables(values: Mapping[str, Any]) -> list[Table]:
    """Builds the tables of whatever was measured.

    Args:
        values: the values of the report.
    """
    tables = [_method_table(values)]
    if values["stages"]:
        tables.append(_stage_table(values["stages"]))
    if values["landmarks"]:
        tables.append(_landmark_table(values))
    tables.append(_volume_table(values))
    if values["reliability"]["spearman"]:
        tables.append(_reliability_table(values["reliability"]))
    return tables


def _method_table(values: Mapping[str, Any]) -> Table:
    methods = {
        "one-shot": values,
        "one-shot, trusted volumes": values.get("trusted_only", {}),
        "without localisation": values.get("naive", {}),
        "second rater": values.get("second_rater", {}),
    }
    rows: list[list[str | float | int]] = [
        [method, scores["overall_mean_mm"], len(scores["volumes"]), len(scores.get("failed", ()))]
        for method, scores in methods.items()
        if "overall_mean_mm" in scores
    ]
    if _are_the_papers(values["landmarks"]):
        rows += [[method, error, 20, NOT_MEASURED] for method, error in PUBLISHED.items()]
    return Table(
        title="Mean landmark error",
        columns=["method", "error, mm", "volumes", "failed"],
        rows=rows,
        note="Without localisation: the same registrations of the whole volumes. Second rater: the distance between two"
        " experts' points. Failed volumes have no error; of the paper's numbers only the order compares.",
    )


def _are_the_papers(landmarks: Mapping[str, Any]) -> bool:
    return set(PUBLISHED_LANDMARKS) <= set(landmarks)


def _stage_table(stages: Mapping[str, Mapping[str, float]]) -> Table:
    return Table(
        title="Landmark error and time by stage",
        columns=["stage", "error, mm", "seconds per volume"],
        rows=[[stage, _cell(entry.get("mean_mm")), entry["seconds"]] for stage, entry in stages.items()],
        note="Start and localisation move the reference's landmarks only, so that a turned target keeps its error until"
        " the principal axes (inertia) turn them.",
    )


def _landmark_table(values: Mapping[str, Any]) -> Table:
    naive = values.get("naive", {}).get("landmarks", {})
    rater = values.get("second_rater", {}).get("landmarks", {})
    columns = ["landmark", "error, mm", "SD", "volumes"]
    columns += ["without localisation, mm"] * bool(naive) + ["second rater, mm"] * bool(rater)
    rows: list[list[str | float | int]] = [
        [
            name,
            entry["mean_mm"],
            _cell(entry.get("sd_mm")),
            entry["n"],
            *(_cell(other.get(name, {}).get("mean_mm")) for other in (naive, rater) if other),
        ]
        for name, entry in values["landmarks"].items()
    ]
    rest: list[str | float | int] = [NOT_MEASURED] * (len(columns) - 4)
    if _are_the_papers(values["landmarks"]):
        rows += [
            [f"{name}, Wang 2021 (published)", error, NOT_MEASURED, 20, *rest]
            for name, error in PUBLISHED_LANDMARKS.items()
        ]
    return Table(title="Landmark errors", columns=columns, rows=rows, note="SD over volumes, n - 1.")


def _volume_table(values: Mapping[str, Any]) -> Table:
    naive = values.get("naive", {})
    rows: list[list[str | float | int]] = [
        [
            key,
            _cell(values["volumes"].get(key)),
            _cell(naive.get("volumes", {}).get(key)),
            measures["correlation"],
            measures["mass_ratio"],
            _cell(measures.get("folding")),
            measures["seconds"],
            "; ".join(values["untrusted"].get(key, ["yes"])),
        ]
        for key, measures in values["measures"].items()
    ]
    rows += [
        [key, NOT_MEASURED, _cell(naive.get("volumes", {}).get(key)), *[NOT_MEASURED] * 4, f"failed: {reason}"]
        for key, reason in values["failures"].items()
    ]
    return Table(
        title="Volumes",
        columns=[
            "volume",
            "error, mm",
            "without localisation, mm",
            "correlation",
            "mass ratio",
            "folding",
            "seconds",
            "trusted",
        ],
        rows=rows,
        note="Correlation: of the linearly aligned intensities about the structure. Mass ratio: probability over the"
        " structure, of the volume of the reference's mask. Folding: share of voxels whose Jacobian determinant is not"
        " positive. Do not use the landmarks of volumes that are not trusted.",
    )


def _reliability_table(reliability: Mapping[str, Any]) -> Table:
    return Table(
        title="Which signal ranks landmarks by reliability",
        columns=["signal", "Spearman, pooled", "Spearman, mean within volumes", "ranks"],
        rows=[
            [
                SIGNALS[name],
                scores["pooled"],
                _cell(scores.get("within_volume")),
                "yes" if name == reliability["signal"] else NOT_MEASURED,
            ]
            for name, scores in reliability["spearman"].items()
        ],
        note="Rank correlation with the error: 1 where a signal orders landmarks exactly by it, 0 where it knows"
        " nothing. A ranking only: no signal estimates an error.",
    )


def _cell(value: float | None) -> float | str:
    return NOT_MEASURED if value is None else value
