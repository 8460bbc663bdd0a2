"""Feature directions in which the landmarks of one frame differ from each other.

The highest peaks of a frame lie on different structures. That alone, with no annotation, tells which feature directions
separate structures: those along which the peaks of a frame differ more than frames differ among themselves. Without it,
k-means on the features of a saliency network tends to separate strong peaks from weak ones, or one machine setting from
another, instead of one structure from the other. Not in Droste et al. 2020; a linear discriminant (Fisher 1936) with
"peaks of one frame" as the classes to tell apart.
"""

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from anatomark.evaluators.candidates import Candidates
from anatomark.evaluators.clusters import FloatArray
from anatomark.types import AnatomarkError

MIN_HEIGHT = 0.3
"""Peaks lower than this share of the map's maximum may lie on nothing."""


def contrast_axes(candidates: Sequence[Candidates], *, regularisation: float) -> FloatArray:
    """Finds as many directions as it takes to tell a frame's structures apart: one fewer than structures.

    With the scatter W of peaks about their frame's mean and the scatter B of the frames' means, the directions maximise
    ``a' W a / a' (B + r I) a``.

    Args:
        candidates: frames; those with fewer high peaks than structures are left out.
        regularisation: r, in units of the mean variance of a feature.

    Returns:
        (f, structures - 1).

    Raises:
        AnatomarkError: fewer than two frames have a high peak per structure.
    """
    n_structures = max(len(c.frame.structures) for c in candidates)
    highest = [
        c.features[:n_structures]
        for c in candidates
        if np.count_nonzero(c.values >= MIN_HEIGHT * c.values.max(initial=0)) >= n_structures
    ]
    if len(highest) < 2:
        raise AnatomarkError(
            f"only {len(highest)} frames have {n_structures} peaks of at least {MIN_HEIGHT} of their maximum; train"
            " longer or set discovery.contrast=null"
        )
    peaks = np.stack(highest)
    means = peaks.mean(axis=1)
    deviations = (peaks - means[:, None]).reshape(-1, peaks.shape[2])
    within = deviations.T @ deviations / len(deviations)
    between = np.cov(means, rowvar=False, bias=True)
    ridge = regularisation * np.trace(within + between) / len(within)
    _, axes = eigh(within, between + ridge * np.eye(len(within)))
    strongest: FloatArray = axes[:, :-n_structures:-1]
    return strongest
