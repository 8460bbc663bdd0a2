"""How the benchmarks time a call."""

from collections.abc import Callable
from time import perf_counter
from timeit import repeat


def best_seconds(call: Callable[[], object], *, repeats: int, timer: Callable[[], float] = perf_counter) -> float:
    """Shortest of some runs after one to warm up."""
    call()
    return min(repeat(call, number=1, repeat=repeats, timer=timer))
