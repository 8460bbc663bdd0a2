"""Tables and figures of the registration evaluator."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from anatomark.evaluators.landmark_frame import NOT_MEASURED, LandmarkFrame
from anatomark.report.figures import (
    AnnotatedFrame,
    RegistrationPanel,
    draw_error_distribution,
    draw_registration_grid,
)
from anatomark.types import Table

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "TV": {
        "none": {"csp": 39.3, "lv": 21.9, "hc_center": 15.1},
        "left_right": {"csp": 16.9, "lv": 8.9, "hc_center": 15.2},
        "left_right_intensity": {"csp": 15.5, "lv": 8.2, "hc_center": 13.9},
        "salient": {"csp": 9.8, "lv": 4.1, "hc_center": 7.1},
    },
    "TC": {
        "none": {"csp": 58.1, "cerebellum": 24.8, "hc_center": 28.5},
        "left_right": {"csp": 28.4, "cerebellum": 12.0, "hc_center": 24.8},
        "left_right_intensity": {"csp": 27.2, "cerebellum": 11.6, "hc_center": 24.4},
        "salient": {"csp": 10.9, "cerebellum": 5.7, "hc_center": 6.7},
    },
}
"""Mean errors of Droste et al. 2020, table 1, percent of the HC long axis, on private data."""

_OUTLINE_POINTS = 96


def build_tables(plane: str, values: Mapping[str, Any]) -> list[Table]:
    """Builds the plane's tables: errors on all compared pairs, and on the strict ones.

    Args:
        plane: name of the plane.
        values: the plane's entry of the report.
    """
    shares = (
        f"{values['n_images_aligned']} of {values['n_images']} complete frames aligned,"
        f" {values['n_images_strict']} strict (both landmarks within 10 % of the truth)."
    )
    note = (
        "Mean ± standard error, percent of the target's HC long axis; the later frame of a pair is"
        " the source. Failed: pairs for which the engine found nothing; they keep their starting alignment. "
    )
    return [
        _error_table(
            f"Registration errors, {plane}",
            plane,
            values["errors"],
            values["n_failed"],
            note + shares,
        ),
        _error_table(
            f"Registration errors, {plane}, pairs of strict frames",
            plane,
            values["errors_strict"],
            {},
            note + "Strict frames are the paper's selection, which caps the errors of salient landmarks.",
        ),
    ]


def draw_figures(
    plane: str,
    frames: Sequence[LandmarkFrame],
    pairs: Int[Tensor, "2 p"],
    matrices: Float[Tensor, "p 2 3"],
    errors: Mapping[str, Float[Tensor, "_ s1"]],
    names: Sequence[str],
    *,
    n_examples: int,
    unit: str,
) -> dict[str, Figure]:
    """Draws warped examples and the error distributions; nothing when there is no pair.

    The examples are spread evenly over the ranks of the salient error, from the best pair to the worst.

    Args:
        plane: name of the plane.
        frames: aligned frames.
        pairs: compared pairs.
        matrices: salient maps.
        errors: method -> errors of all pairs.
        names: structures, then the HC centre.
        n_examples: number of examples.
        unit: unit of the errors.
    """
    if pairs.shape[1] == 0:
        return {}
    mean = errors["salient"].mean(dim=1)
    ranks = torch.linspace(0, len(mean) - 1, min(n_examples, len(mean))).round().long()
    chosen = mean.argsort()[ranks].tolist()
    panels = [
        RegistrationPanel(
            title=f"mean error {float(mean[p]):.1f} %",
            source=_annotated(frames[int(pairs[0, p])]),
            target=_annotated(frames[int(pairs[1, p])]),
            matrix=matrices[p].numpy(),
        )
        for p in chosen
    ]
    by_structure = {name: {method: e[:, i].numpy() for method, e in errors.items()} for i, name in enumerate(names)}
    return {
        f"Registered pairs, {plane}, from the best to the worst": draw_registration_grid(panels, names[:-1]),
        f"Registration errors, {plane}": draw_error_distribution(
            by_structure, title=plane, unit=f"error, {unit.replace('percent', '%')}"
        ),
    }


def _error_table(
    title: str,
    plane: str,
    errors: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    failed: Mapping[str, int],
    note: str,
) -> Table:
    names = list(errors["salient"])
    rows: list[list[str | float | int]] = []
    for method, by_structure in errors.items():
        cells: list[str | float | int] = [method]
        for name in names:
            entry = by_structure[name]
            cells += [_cell(entry["mean"]), _cell(entry["se"])]
        rows.append([*cells, int(by_structure[names[0]]["n"] or 0), failed.get(method, 0)])
    for method, published in PUBLISHED.get(plane, {}).items():
        cells = [f"{method}, Droste 2020 (published)"]
        for name in names:
            cells += [published.get(name, NOT_MEASURED), NOT_MEASURED]
        rows.append([*cells, NOT_MEASURED, NOT_MEASURED])
    columns = [header for name in names for header in (name, f"{name} ± SE")]
    return Table(title=title, columns=["method", *columns, "pairs", "failed"], rows=rows, note=note)


def _cell(value: float | None) -> float | str:
    return NOT_MEASURED if value is None else value


def _annotated(frame: LandmarkFrame) -> AnnotatedFrame:
    if frame.image is None or frame.ellipse is None:
        raise ValueError(f"frame {frame.key} is not complete; only complete frames are registered")
    turn = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS)
    cos, sin = np.cos(frame.ellipse["angle"]), np.sin(frame.ellipse["angle"])
    along = np.stack([np.cos(turn), np.sin(turn)], axis=1) * frame.ellipse["semi_axes"].double().numpy()
    outline = along @ np.array([[cos, sin], [-sin, cos]]) + frame.ellipse["centre"].double().numpy()
    return AnnotatedFrame(image=frame.image, centres=frame.centres, outline=outline)
