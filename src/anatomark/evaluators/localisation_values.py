"""From what was measured on single frames to the numbers of the localisation report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.evaluators.folds import spread
from anatomark.metrics.localisation import max_box_acc

DELTAS = (0.3, 0.5, 0.7)
"""IoU from which a box counts as found (Choe et al. 2020)."""

METRICS = ("mean_iou", "pointing_game", "pointing_game_any")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured on a frame.

    Attributes:
        subject: the frame's subject.
        run: the run that predicted it.
        class_name: its class, if known.
        iou: of the box by the evaluator's rule.
        fractions: IoU of the box above every fraction of the maximum.
        pointing: whether the map's maximum lies in the true box.
        structures: the same for the box of each structure.
    """

    subject: str
    run: str
    class_name: str | None
    iou: float
    fractions: Float[Tensor, "t"]
    pointing: bool
    structures: dict[str, bool]


def summarise(found: Sequence[Found], fractions: Sequence[float]) -> dict[str, Any]:
    """The numbers over all frames, per class, structure, fold and subject.

    Args:
        found: the frames, at least one.
        fractions: the thresholds of MaxBoxAcc.
    """
    classes = _by([one.class_name for one in found], found)
    classes.pop(None, None)
    per_class = {name: _scores(classes[name]) for name in sorted(classes, key=str)}
    folds = [{"run": run, **_scores(part)} for run, part in _by([one.run for one in found], found).items()]
    subjects = _by([one.subject for one in found], found)
    values: dict[str, Any] = {**_scores(found), "n_subjects": len(subjects)}
    if per_class:
        values["mean_iou_over_classes"] = fmean(scores["mean_iou"] for scores in per_class.values())
    return {
        **values,
        "max_box_acc": _max_box_acc(found, fractions),
        "classes": per_class,
        "structures": _structure_rates(found),
        "folds": folds,
        **spread([{metric: fold[metric] for metric in METRICS} for fold in folds]),
        "subjects": {subject: _scores(part) for subject, part in subjects.items()},
    }


def _by(names: Sequence[Any], found: Sequence[Found]) -> dict[Any, list[Found]]:
    groups: dict[Any, list[Found]] = defaultdict(list)
    for name, one in zip(names, found, strict=True):
        groups[name].append(one)
    return groups


def _scores(found: Sequence[Found]) -> dict[str, Any]:
    return {
        "n_frames": len(found),
        "mean_iou": fmean(one.iou for one in found),
        "pointing_game": fmean(one.pointing for one in found),
        "pointing_game_any": fmean(any(one.structures.values()) for one in found),
    }


def _max_box_acc(found: Sequence[Found], fractions: Sequence[float]) -> dict[str, Any]:
    iou = torch.stack([one.fractions for one in found])
    best = {f"{delta:g}": max_box_acc(iou, delta) for delta in DELTAS}
    values: dict[str, Any] = {
        delta: {"value": at.value, "threshold": fractions[at.threshold]} for delta, at in best.items()
    }
    return {**values, "mean": fmean(at.value for at in best.values())}


def _structure_rates(found: Sequence[Found]) -> dict[str, dict[str, Any]]:
    hits: dict[str, list[bool]] = defaultdict(list)
    for one in found:
        for name, hit in one.structures.items():
            hits[name].append(hit)
    return {name: {"pointing_game": fmean(hits[name]), "n_frames": len(hits[name])} for name in sorted(hits)}
