"""Table and conventions of the saliency report."""

from collections.abc import Mapping, Sequence
from typing import Any

from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.geometry.attention import Weighting
from anatomark.types import Table

WEIGHTING_TEXT: dict[Weighting, str] = {"duration": "weighted by duration", "equal": "each counted once"}

PUBLISHED_ROWS = {
    "network, Droste 2020 (published)": {
        "kld": 2.43,
        "nss": 4.03,
        "auc_judd": 0.967,
        "cc": 0.316,
        "sim": 0.185,
    },
    "mean map, Droste 2020 (published)": {
        "kld": 3.41,
        "nss": 1.39,
        "auc_judd": 0.859,
        "cc": 0.149,
        "sim": 0.085,
    },
    "M-SEN BCE + GAN, Cai 2018 (published)": {
        "nss": 2.525,
        "auc_judd": 0.775,
        "cc": 0.693,
        "sim": 0.512,
        "ig": 0.543,
    },
}
"""Video frames of private data, as fractions where the paper prints percent. Cai et al. 2018 do not say which AUC."""

_COLUMNS = {
    "kld": "KLD, nats",
    "nss": "NSS",
    "auc_judd": "AUC-Judd, %",
    "cc": "CC, %",
    "sim": "SIM, %",
    "auc_borji": "AUC-Borji, %",
    "auc_shuffled": "shuffled AUC, %",
    "ig": "IG over mean map, bits",
    "ig_uniform": "IG over uniform, bits",
}


def build_tables(values: Mapping[str, Any]) -> list[Table]:
    """One row per method, the papers' below; with several folds, a second table of them.

    Args:
        values: the report's values.
    """
    ours = {"network": values["model"], "mean map of the training frames": values["baseline"]}
    measured = [metric for metric in _COLUMNS if metric in values["model"]]
    columns = [_COLUMNS[metric] for metric in measured]
    methods = Table(
        title="Predicted against measured attention, test frames",
        columns=["method", *columns],
        rows=_rows({**ours, **PUBLISHED_ROWS}, measured),
        note=f"{values['n_frames']} frames of {values['n_subjects']} subjects, {values['n_skipped']} without fixation"
        " skipped; means over frames, then subjects. The published numbers are on private data.",
    )
    if "fold_mean" not in values:
        return [methods]
    lines = {fold["run"]: fold["model"] for fold in values["folds"]}
    lines |= {"mean over folds": values["fold_mean"], "standard deviation": values["fold_sd"]}
    folds = Table(
        title="Predicted against measured attention, each fold by itself",
        columns=["fold", *columns],
        rows=_rows(lines, measured),
        note="The standard deviation divides by n - 1.",
    )
    return [methods, folds]


def describe_conventions(
    *, sigma: float, weighting: Weighting, baseline_floor: float, sim_min_max: bool, n_negatives: int, seed: int
) -> dict[str, str]:
    """How each number was computed."""
    stretch = "both stretched to [0, 1] first" if sim_min_max else "no stretching first"
    return {
        "target": f"sum of Gaussians at the fixations, {WEIGHTING_TEXT[weighting]}, sigma {sigma:g} px, sums to 1",
        "maps": "upsampled bilinearly to the image; densities are maps divided by their sum",
        "fixations": "each counts once, at its nearest pixel; those off the image are ignored",
        "kld": "sum Q ln(eps + Q / (P + eps)), Q target, P prediction, eps 2.2204e-16, nats",
        "cc": "Pearson; 0 for a constant map",
        "sim": f"sum of the smaller density, {stretch}",
        "nss": "mean over fixations of the map with mean 0, deviation 1 (n - 1); 0 for a constant map",
        "auc_judd": "exact ranks, ties one half; fixated pixels against all other pixels",
        "auc_borji": f"as auc_judd, every fixation against {n_negatives} pixels drawn uniformly, seed {seed}",
        "auc_shuffled": f"as auc_borji, against {n_negatives} draws from the training fixations, seed {seed}",
        "ig": "mean over fixations of log2(P + eps) - log2(B + eps), bits; B the mean training attention,"
        f" maximum 1, + {baseline_floor:g}, divided by its sum",
        "ig_uniform": "as ig, B uniform",
        "average": "over the frames of a subject, then over subjects",
        "folds": "each run by itself; mean and standard deviation (n - 1) over runs",
    }


def _rows(lines: Mapping[str, Mapping[str, float | None]], metrics: Sequence[str]) -> list[list[str | float | int]]:
    return [[name, *(_cell(values.get(metric), metric) for metric in metrics)] for name, values in lines.items()]


def _cell(value: float | None, metric: str) -> float | str:
    if value is None:
        return NOT_MEASURED
    percent = _COLUMNS[metric].endswith("%")
    # Rounded so that the printed 96.7 % does not come out as 96.70000000000002.
    return round(100 * value, 10) if percent else value
