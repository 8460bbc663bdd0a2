"""From what was measured on single frames to the numbers of the localisation report."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from anatomark.evaluators.folds import spread
from anatomark.evaluators.localisation_frames import HEADLINE, MAIN, Choice
from anatomark.evaluators.localisation_measure import Localised
from anatomark.evaluators.localisation_rules import BoxRules
from anatomark.metrics.localisation import max_box_acc
from anatomark.types import AnatomarkError

DELTAS = (0.3, 0.5, 0.7)
"""IoU from which a box counts as found (Choe et al. 2020)."""

METRICS = ("mean_iou", "pointing_game", "pointing_game_any")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured on a frame.

    Attributes:
        key: its id.
        subject: the frame's subject.
        run: the run that predicted it.
        class_name: its class, if known.
        localised: whose map -> what it localises.
    """

    key: str
    subject: str
    run: str
    class_name: str | None
    localised: Mapping[Choice, Localised]


def summarise(found: Sequence[Found], rules: BoxRules) -> dict[str, Any]:
    """The numbers over all frames, per class, structure, fold and subject, and those of all other maps.

    Args:
        found: the frames, at least one.
        rules: how boxes were made.

    Raises:
        AnatomarkError: a frame has no map by a method that others have one of.
    """
    _check_methods(found)
    shared = set.intersection(*(set(one.localised) for one in found))
    maps = {choice: _MapScores(choice=choice, rules=rules) for choice in found[0].localised if choice in shared}
    headline = maps[HEADLINE]
    folds = [{"run": run, **headline.scores(part)} for run, part in _by(found, lambda one: one.run).items()]
    subjects = _by(found, lambda one: one.subject)

    def of_map(choice: Choice) -> dict[str, Any] | None:
        return maps[choice].summarise(found) if choice in maps else None

    return {
        **headline.summarise(found),
        "n_subjects": len(subjects),
        "gt_known": of_map(Choice(method=MAIN, gt_known=True)),
        "other_maps": {
            choice.method: {**scores.summarise(found), "gt_known": of_map(Choice(method=choice.method, gt_known=True))}
            for choice, scores in maps.items()
            if choice.method != MAIN and not choice.gt_known
        },
        "folds": folds,
        **spread([{metric: fold[metric] for metric in fold if metric not in ("run", "n_frames")} for fold in folds]),
        "subjects": {
            name: {**headline.scores(part), "classes": headline.classes(part)} for name, part in subjects.items()
        },
    }


@dataclass(frozen=True, kw_only=True)
class _MapScores:
    """Makes the numbers of one choice of maps.

    Attributes:
        choice: whose maps.
        rules: how boxes were made.
    """

    choice: Choice
    rules: BoxRules

    def summarise(self, found: Sequence[Found]) -> dict[str, Any]:
        """All numbers of these maps."""
        return {
            **self.scores(found),
            "max_box_acc": self._max_box_acc(found),
            "rules": {name: self._rule_scores(found, name) for name in self.rules.names},
            "classes": self.classes(found),
            "structures": self._structure_rates(found),
        }

    def scores(self, found: Sequence[Found]) -> dict[str, Any]:
        """The numbers of some frames by the rule that heads the report."""
        mean = {"mean_iou": self._mean_iou(found, self.rules.headline)}
        classes = _by_class(found)
        if classes:
            mean["mean_iou_over_classes"] = fmean(
                self._mean_iou(part, self.rules.headline) for part in classes.values()
            )
        measured = self._of(found)
        return {
            "n_frames": len(found),
            **mean,
            "pointing_game": fmean(one.pointing for one in measured),
            "pointing_game_any": fmean(any(one.structures.values()) for one in measured),
        }

    def classes(self, found: Sequence[Found]) -> dict[str, dict[str, Any]]:
        """The same per class."""
        scores = {name: self.scores(part) for name, part in _by_class(found).items()}
        return {
            name: {"n_frames": of_class["n_frames"], **{m: of_class[m] for m in METRICS}}
            for name, of_class in scores.items()
        }

    def _of(self, found: Sequence[Found]) -> list[Localised]:
        return [one.localised[self.choice] for one in found]

    def _mean_iou(self, found: Sequence[Found], rule: str) -> float:
        number = self.rules.names.index(rule)
        return fmean(float(one.rules[number]) for one in self._of(found))

    def _rule_scores(self, found: Sequence[Found], rule: str) -> dict[str, Any]:
        classes = {name: self._mean_iou(part, rule) for name, part in _by_class(found).items()}
        over_classes = {"mean_iou_over_classes": fmean(classes.values())} if classes else {}
        return {"mean_iou": self._mean_iou(found, rule), **over_classes, "classes": classes}

    def _max_box_acc(self, found: Sequence[Found]) -> dict[str, Any]:
        iou = torch.stack([one.fractions for one in self._of(found)])
        best = {f"{delta:g}": max_box_acc(iou, delta) for delta in DELTAS}
        values: dict[str, Any] = {
            delta: {"value": at.value, "threshold": self.rules.fractions[at.threshold]} for delta, at in best.items()
        }
        return {**values, "mean": fmean(at.value for at in best.values())}

    def _structure_rates(self, found: Sequence[Found]) -> dict[str, dict[str, Any]]:
        hits: dict[str, list[bool]] = defaultdict(list)
        for one in self._of(found):
            for name, hit in one.structures.items():
                hits[name].append(hit)
        return {name: {"pointing_game": fmean(hits[name]), "n_frames": len(hits[name])} for name in sorted(hits)}


def _by(found: Sequence[Found], name_of: Callable[[Found], Any]) -> dict[Any, list[Found]]:
    groups: dict[Any, list[Found]] = defaultdict(list)
    for one in found:
        groups[name_of(one)].append(one)
    return groups


def _by_class(found: Sequence[Found]) -> dict[str, list[Found]]:
    groups = _by(found, lambda one: one.class_name)
    return {name: groups[name] for name in sorted(name for name in groups if name is not None)}


def _check_methods(found: Sequence[Found]) -> None:
    methods = {choice.method for one in found for choice in one.localised}
    for one in found:
        if missing := sorted(methods - {choice.method for choice in one.localised}):
            raise AnatomarkError(
                f"the prediction of frame {one.key} has no {missing[0]} map, which other frames have; predict all"
                " frames with one model configuration"
            )
