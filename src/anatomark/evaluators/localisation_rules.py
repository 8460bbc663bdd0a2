"""Every way in which the localisation evaluator makes a box of a map."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.geometry.boxes import (
    contrast_threshold,
    fraction_thresholds,
    mean_threshold,
    median_and_highest,
    median_threshold,
    threshold_boxes,
)
from anatomark.geometry.parts import largest_boxes
from anatomark.types import AnatomarkError

RULES = {"contrast": "contrast", "median": "paper", "mean": "spn"}
"""Threshold -> what the report calls its box."""

_LARGEST = "+largest"


class BoxRules:
    """The papers' rules, with all parts of the mask or the largest one, and the thresholds that MaxBoxAcc tries.

    Args:
        threshold: of the rule that heads the report: "contrast", "median", "mean" or a fraction of the maximum.
        component: of that rule: "all" or "largest".
        n_fractions: thresholds of MaxBoxAcc: i / n_fractions of the maximum, i from 0.

    Attributes:
        names: rules in the order of their boxes.
        headline: the one that heads the report.
        fractions: thresholds of MaxBoxAcc.

    Raises:
        AnatomarkError: an option is out of range.
    """

    def __init__(
        self,
        *,
        threshold: Literal["contrast", "median", "mean"] | float,
        component: Literal["all", "largest"],
        n_fractions: int,
    ) -> None:
        if component not in ("all", "largest"):
            raise AnatomarkError(f"`component` of the localisation is {component}; it must be all or largest")
        if n_fractions < 1:
            raise AnatomarkError(f"`n_fractions` of the localisation is {n_fractions}; it must be at least 1")
        self._fraction = [] if threshold in RULES else [_fraction(threshold)]
        thresholds = (*RULES.values(), *map(str, self._fraction))
        self.names = thresholds + tuple(name + _LARGEST for name in thresholds)
        self.headline = RULES.get(str(threshold), str(threshold)) + (_LARGEST if component == "largest" else "")
        self.fractions = tuple(i / n_fractions for i in range(n_fractions))

    def boxes(self, maps: Float[Tensor, "b h w"], in_frame: Float[Tensor, "b height width"]) -> Float[Tensor, "b r 4"]:
        """The box of every map by every rule.

        Args:
            maps: maps in [0, 1], whose values decide what is above the threshold.
            in_frame: the same maps where the boxes are wanted, such as brought back from polar frames; negative where
                they say nothing.
        """
        reached = _reached(self._thresholds(maps), in_frame)
        return torch.cat([threshold_boxes(in_frame, reached), largest_boxes(in_frame, reached)], dim=1)

    def headline_box(
        self, maps: Float[Tensor, "b h w"], in_frame: Float[Tensor, "b height width"]
    ) -> Float[Tensor, "b 4"]:
        """The box by the rule that heads the report alone; arguments as :meth:`boxes`."""
        largest, threshold = divmod(self.names.index(self.headline), len(self.names) // 2)
        reached = _reached(self._thresholds(maps)[:, [threshold]], in_frame)
        boxes: Tensor = (largest_boxes if largest else threshold_boxes)(in_frame, reached)
        return boxes[:, 0]

    def fraction_boxes(
        self, maps: Float[Tensor, "b h w"], in_frame: Float[Tensor, "b height width"]
    ) -> Float[Tensor, "b t 4"]:
        """The box of the largest part above every fraction of a map's maximum; arguments as :meth:`boxes`."""
        return largest_boxes(in_frame, _reached(fraction_thresholds(maps, self.fractions), in_frame))

    def _thresholds(self, maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b r"]:
        """What the rules ask of every map, in the order of the first half of ``names``."""
        middle = median_and_highest(maps)
        of_papers = (contrast_threshold(*middle), median_threshold(*middle), mean_threshold(maps))  # as in RULES
        return torch.cat([*of_papers, fraction_thresholds(maps, self._fraction)], dim=1)


def _reached(thresholds: Float[Tensor, "b r"], in_frame: Float[Tensor, "b height width"]) -> Float[Tensor, "b r"]:
    """Thresholds that something in the frame reaches: what is highest may lie beside it."""
    return torch.minimum(thresholds, in_frame.amax((1, 2))[:, None])


def _fraction(threshold: str | float) -> float:
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise AnatomarkError(
            f"`threshold` of the localisation is {threshold}; it must be contrast, median, mean or a fraction of the"
            " maximum in [0, 1]"
        )
    return threshold
