"""The registration numbers of several planes as one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def pool_planes(planes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of all planes together: counts added, errors pooled over all pairs of all planes."""
    counts = ("n_images", "n_images_aligned", "n_pairs")
    n = {name: sum(values[name] for values in planes.values()) for name in counts}
    methods = dict.fromkeys(method for values in planes.values() for method in values["errors"])
    errors = {m: _pool([values["errors"][m] for values in planes.values() if m in values["errors"]]) for m in methods}
    strict = sum(values["n_images_strict"] for values in planes.values())
    shares = {"share_aligned": n["n_images_aligned"], "share_strict": strict}
    return {
        **n,
        "unit": next((values["unit"] for values in planes.values()), None),
        "errors": errors,
        **{name: count / n["n_images"] if n["n_images"] else None for name, count in shares.items()},
    }


def _pool(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    pooled: dict[str, dict[str, Any]] = {}
    for structure in dict.fromkeys(name for part in parts for name in part):
        cells = [part[structure] for part in parts if structure in part and part[structure]["n"]]
        n = sum(cell["n"] for cell in cells)
        if n == 0:
            pooled[structure] = {"mean": None, "se": None, "n": 0}
            continue
        mean = sum(cell["n"] * cell["mean"] for cell in cells) / n
        # se^2 n (n - 1) is a part's sum of squares about its own mean.
        squares = sum((cell["se"] or 0.0) ** 2 * cell["n"] * (cell["n"] - 1) for cell in cells)
        squares += sum(cell["n"] * (cell["mean"] - mean) ** 2 for cell in cells)
        pooled[structure] = {"mean": mean, "se": math.sqrt(squares / (n - 1) / n) if n > 1 else None, "n": n}
    return pooled
