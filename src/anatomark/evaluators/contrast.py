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


def highest_peaks(candidates: Sequence[Candidates]) -> FloatArray:
    """Feature vectors of each frame's highest peaks, as many as it has structures.

    Frames with fewer high peaks are left out.

    Returns:
        (frames, structures, f).

    Raises:
        AnatomarkError: fewer than two frames are left.
    """
    n_structures = max(len(c.frame.structures) for c in candidates)
    kept = [
        c.features[:n_structures]
        for c in candidates
        if np.count_nonzero(c.values >= MIN_HEIGHT * c.values.max(initial=0)) >= n_structures
    ]
    if len(kept) < 2:
        raise AnatomarkError(
            f"only {len(kept)} frames have {n_structures} peaks of at least {MIN_HEIGHT} of their maximum;"
            " train longer or set discovery.contrast=null"
        )
    return np.stack(kept)


def contrast_axes(peaks: FloatArray, *, regularisation: float) -> FloatArray:
    """Directions in which the peaks of a frame differ most, compared with how much frames differ among themselves.

    With the scatter W of peaks about their frame's mean and the scatter B of the frames' means, they maximise
    ``a' W a / a' (B + r I) a``: as many as it takes to tell the structures apart, one fewer than there are.

    Args:
        peaks: (frames, structures, f).
        regularisation: r, in units of the mean variance of a feature.

    Returns:
        (f, structures - 1).
    """
    n_structures = peaks.shape[1]
    means = peaks.mean(axis=1)
    deviations = (peaks - means[:, None]).reshape(-1, peaks.shape[2])
    within = deviations.T @ deviations / len(deviations)
    between = np.cov(means, rowvar=False, bias=True)
    ridge = regularisation * np.trace(within + between) / len(within)
    _, axes = eigh(within, between + ridge * np.eye(len(within)))
    strongest: FloatArray = axes[:, :-n_structures:-1]
    return strongest
