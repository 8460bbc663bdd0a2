"""Saliency metrics of a batch of frames: ours at once, and pysaliency frame by frame, or NumPy where it is missing.

    python benchmarks/saliency_metrics.py

64 frames of 240 x 240 px with 40 fixations each, in batches of 16 as the evaluator scores them, double precision, one
CPU thread: NSS, CC, SIM, KLD and AUC-Judd. Processor time, which other programs disturb less.
pysaliency (``pip install pysaliency``) divides by the deviation with n where NSS takes n - 1; that factor is put back
before the values are compared.
"""

import importlib.util
import math
from collections.abc import Callable
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from anatomark.geometry.attention import render_density
from anatomark.metrics.auc import auc_judd
from anatomark.metrics.saliency import cc, kld, nss, sim
from timing import best_seconds

N_FRAMES, BATCH, SIDE, N_FIXATIONS, SIGMA = 64, 16, 240, 40, 30.0
EPS = 2.2204e-16
REPEATS = 5
NAMES = ("NSS", "CC", "SIM", "KLD", "AUC-Judd")

Values = NDArray[np.float64]
Score = Callable[[Values, Values, NDArray[np.int64]], list[float]]


def make_frames() -> tuple[Tensor, Tensor, Tensor]:
    """Smooth maps, target densities and fixations on distinct pixels."""
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.choice(SIDE**2, N_FIXATIONS, replace=False) for _ in range(N_FRAMES)])
    columns = [pixels % SIDE, pixels // SIDE, np.full_like(pixels, 200)]
    fixations = torch.from_numpy(np.stack(columns, axis=-1).astype(np.float64))
    near = fixations + torch.from_numpy(rng.normal(0, 20, fixations.shape)) * torch.tensor([1, 1, 0])
    size = (SIDE, SIDE)
    return render_density(near, size=size, sigma=SIGMA), render_density(fixations, size=size, sigma=SIGMA), fixations


def ours(maps: Tensor, target: Tensor, fixations: Tensor) -> Values:
    batches = zip(maps.split(BATCH), target.split(BATCH), fixations.split(BATCH), strict=True)
    scores = [torch.stack([nss(p, f), cc(p, q), sim(p, q), kld(p, q), auc_judd(p, f)], dim=1) for p, q, f in batches]
    return torch.cat(scores).numpy()


def score_with_pysaliency(p: Values, q: Values, pixels: NDArray[np.int64]) -> list[float]:
    from pysaliency import metrics, roc

    x, y = pixels % SIDE, pixels // SIDE
    fixated = np.zeros(p.size, dtype=bool)
    fixated[pixels] = True
    values = p.ravel()
    area = roc.general_roc(values[fixated], values[~fixated])[0]
    unbiased = math.sqrt((p.size - 1) / p.size)
    return [unbiased * metrics.NSS(p, x, y).mean(), metrics.CC(p, q), metrics.SIM(p, q), metrics.MIT_KLDiv(p, q), area]


def score_with_numpy(p: Values, q: Values, pixels: NDArray[np.int64]) -> list[float]:
    values = p.ravel()
    n_positive = len(pixels)
    ranks = rankdata(values)[pixels]
    area = (ranks.sum() - n_positive * (n_positive + 1) / 2) / (n_positive * (p.size - n_positive))
    gaze = ((values[pixels] - values.mean()) / values.std(ddof=1)).mean()
    p, q = p / p.sum(), q / q.sum()
    divergence = (q * np.log(EPS + q / (p + EPS))).sum()
    return [gaze, np.corrcoef(p.ravel(), q.ravel())[0, 1], np.minimum(p, q).sum(), divergence, area]


def one_by_one(score: Score, maps: Tensor, target: Tensor, fixations: Tensor) -> Values:
    pixels = (fixations[..., 1] * SIDE + fixations[..., 0]).long().numpy()
    return np.array([score(*frame) for frame in zip(maps.numpy(), target.numpy(), pixels, strict=True)])


def main() -> None:
    torch.set_num_threads(1)
    frames = make_frames()
    peers: dict[str, Score] = {"NumPy": score_with_numpy}
    if importlib.util.find_spec("pysaliency") is not None:
        peers = {"pysaliency": score_with_pysaliency, **peers}
    found, seconds = ours(*frames), best_seconds(lambda: ours(*frames), repeats=REPEATS, timer=process_time)
    print(f"anatomark  {1000 * seconds:8.1f} ms")
    for name, score in peers.items():
        expected = one_by_one(score, *frames)
        difference = np.abs(found - expected).max(axis=0)
        peer_seconds = best_seconds(lambda score=score: one_by_one(score, *frames), repeats=REPEATS, timer=process_time)
        print(f"{name:10} {1000 * peer_seconds:8.1f} ms, ratio {peer_seconds / seconds:.1f} x")
        print(
            "           largest differences: "
            + ", ".join(f"{n} {d:.0e}" for n, d in zip(NAMES, difference, strict=True))
        )
        if difference.max() > 1e-6:
            raise SystemExit(f"the scores differ from those of {name}")


if __name__ == "__main__":
    main()
