"""The axes of parallel coordinates: values of any kind -> heights from 0 to 1, with ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from anatomark.collecting.parameters import same

_DECADE = 10.0
_MAX_VALUES = 8  # as many different values are ticks themselves
_N_TICKS = 5
_CLEAR = 0.08  # between the text of an end and the next


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis.

    Attributes:
        heights: of the values it was made of, from 0 to 1.
        ticks: height and text of each tick, from below.
        logarithmic: whether equal heights are equal factors.
    """

    heights: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False


def make_scale(values: Sequence[Any]) -> Scale:
    """The axis of some values: numbers by size, by their logarithm where they spread over a decade or more, and
    anything else in steps, in the order in which it first appears.

    Args:
        values: at least one.
    """
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _in_steps(values)
    logarithmic = spans_decades(values)
    low, high = min(values), max(values)
    different = sorted(set(values))
    ticks = different if len(different) <= _MAX_VALUES else _round_values(low, high, logarithmic)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    return Scale(
        heights=tuple(_height(value, low, high, logarithmic) for value in values),
        ticks=tuple((_height(tick, low, high, logarithmic), f"{tick:.3g}") for tick in ticks),
        logarithmic=logarithmic,
    )


def spans_decades(values: Sequence[float]) -> bool:
    """Whether positive numbers spread over a decade or more."""
    return bool(min(values) > 0 and max(values) / min(values) >= _DECADE)


def show_value(value: Any) -> str:
    """A parameter's value as text."""
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else same(value)


def _in_steps(values: Sequence[Any]) -> Scale:
    kinds = {same(value): show_value(value) for value in values}
    positions = {kind: _height(step, 0, len(kinds) - 1, False) for step, kind in enumerate(kinds)}
    return Scale(
        heights=tuple(positions[same(value)] for value in values),
        ticks=tuple((positions[kind], text) for kind, text in kinds.items()),
    )


def _round_values(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round numbers: decades between the two values, and these; else from the lower one or just below it upwards."""
    if not logarithmic:
        return [float(tick) for tick in MaxNLocator(nbins=_N_TICKS).tick_values(low, high)]
    decades = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    inside = [ten for ten in decades if _CLEAR < _height(ten, low, high, True) < 1 - _CLEAR]
    return [low, *inside[:: -(-len(inside) // _N_TICKS) or 1], high]


def _height(value: float, low: float, high: float, logarithmic: bool) -> float:
    if low == high:
        return 0.5
    if logarithmic:
        value, low, high = math.log10(value), math.log10(low), math.log10(high)
    return (value - low) / (high - low)
