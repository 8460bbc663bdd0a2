"""Pooled planes equal the numbers of all their pairs taken together."""

import numpy as np
import pytest
import torch

from anatomark.evaluators.pair_errors import summarise
from anatomark.evaluators.plane_pool import pool_planes


def plane(errors: dict[str, np.ndarray], names: list[str]) -> dict[str, object]:
    n = len(next(iter(errors.values())))
    return {
        "n_images": 20,
        "n_images_aligned": 15,
        "n_images_strict": 10,
        "n_pairs": n,
        "unit": "percent",
        "errors": {method: summarise(torch.from_numpy(values), names) for method, values in errors.items()},
    }


def test_pooled_errors_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    tv, tc = rng.gamma(2, 3, (30, 2)), rng.gamma(3, 4, (12, 2))
    pooled = pool_planes(
        {"TV": plane({"salient": tv}, ["csp", "lv"]), "TC": plane({"salient": tc}, ["csp", "cerebellum"])}
    )
    csp = np.concatenate([tv[:, 0], tc[:, 0]])
    found = pooled["errors"]["salient"]
    assert found["csp"]["mean"] == pytest.approx(csp.mean())
    assert found["csp"]["se"] == pytest.approx(csp.std(ddof=1) / np.sqrt(42))
    assert found["csp"]["n"] == 42
    assert found["lv"]["mean"] == pytest.approx(tv[:, 1].mean())
    assert found["cerebellum"]["n"] == 12
    assert (pooled["n_images"], pooled["n_images_aligned"], pooled["n_pairs"]) == (40, 30, 42)
    assert (pooled["share_aligned"], pooled["share_strict"]) == (0.75, 0.5)


def test_one_plane_is_itself_and_no_pairs_have_no_mean() -> None:
    errors = np.random.default_rng(1).gamma(2, 3, (9, 1))
    assert pool_planes({"TV": plane({"none": errors}, ["csp"])})["errors"]["none"]["csp"]["mean"] == pytest.approx(
        errors.mean()
    )
    empty = pool_planes({"TV": plane({"none": np.zeros((0, 1))}, ["csp"])})
    assert empty["errors"]["none"]["csp"] == {"mean": None, "se": None, "n": 0}
