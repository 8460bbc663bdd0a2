"""Registration by keypoints: SIFT or ORB, matched and fitted with RANSAC."""

import hashlib
import warnings
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from skimage.feature import ORB, SIFT, match_descriptors
from skimage.measure import ransac
from skimage.transform import SimilarityTransform
from torch import Tensor

from anatomark.registration.engine import as_array, is_constant
from anatomark.types import AnatomarkError

MIN_MATCHES = 3
"""Two matches define a similarity; only a third one can confirm it."""

Keypoints = tuple[Float[np.ndarray, "k 2"], Shaped[np.ndarray, "k f"]]
"""Positions (x, y), px, and descriptors."""


class KeypointRansac:
    """A similarity fitted to matched keypoints.

    The keypoints of an image are kept, so registering all pairs of n images detects n times.

    Args:
        detector: "sift" or "orb".
        max_ratio: a match must be this much closer than the second best (Lowe's ratio).
        residual_px: largest distance of an inlier from its match after the fit.
        trials: most random samples of RANSAC.
        seed: seed of RANSAC.

    Raises:
        AnatomarkError: the detector is unknown.
    """

    def __init__(
        self,
        *,
        detector: Literal["sift", "orb"],
        max_ratio: float = 0.8,
        residual_px: float = 4.0,
        trials: int = 2000,
        seed: int = 0,
    ) -> None:
        if detector not in ("sift", "orb"):
            raise AnatomarkError(f"detector is {detector!r}; choose sift or orb")
        self.detector = detector
        self.max_ratio = max_ratio
        self.residual_px = residual_px
        self.trials = trials
        self.seed = seed
        self._kept: dict[bytes, Keypoints | None] = {}

    def __call__(
        self, source: Float[Tensor, "h w"], target: Float[Tensor, "target_h target_w"]
    ) -> Float[Tensor, "2 3"] | None:
        """Registers one pair; None where fewer than three matches agree on a similarity.

        Raises:
            AnatomarkError: a pixel is not finite.
        """
        in_source = self._keypoints(as_array(source, "source"))
        in_target = self._keypoints(as_array(target, "target"))
        if in_source is None or in_target is None:
            return None
        (source_xy, source_features), (target_xy, target_features) = in_source, in_target
        matches = match_descriptors(source_features, target_features, cross_check=True, max_ratio=self.max_ratio)
        if len(matches) < MIN_MATCHES:
            return None
        with warnings.catch_warnings():
            # RANSAC says "no inliers" with a warning; here that is an answer, not a surprise.
            warnings.filterwarnings("ignore", message="No inliers found|Estimation failed")
            model, inliers = ransac(
                (source_xy[matches[:, 0]], target_xy[matches[:, 1]]),
                SimilarityTransform,
                min_samples=2,
                residual_threshold=self.residual_px,
                max_trials=self.trials,
                rng=self.seed,
            )
        if not model or inliers is None or inliers.sum() < MIN_MATCHES:
            return None
        return torch.from_numpy(np.array(model.params[:2], dtype=np.float64))

    def _keypoints(self, image: Float32[np.ndarray, "h w"]) -> Keypoints | None:
        key = hashlib.blake2b(image.tobytes() + repr(image.shape).encode()).digest()
        if key not in self._kept:
            self._kept[key] = self._detect(image)
        return self._kept[key]

    def _detect(self, image: Float32[np.ndarray, "h w"]) -> Keypoints | None:
        """Keypoints of an image, or None where it has too few."""
        if is_constant(image):
            return None
        extractor = SIFT() if self.detector == "sift" else ORB(n_keypoints=500)
        try:
            extractor.detect_and_extract(image)
        except RuntimeError as error:
            if "found no features" in str(error):
                return None
            raise
        if len(extractor.keypoints) < MIN_MATCHES:
            return None
        rows_columns = np.asarray(extractor.keypoints, dtype=np.float64)
        return rows_columns[:, ::-1].copy(), np.asarray(extractor.descriptors)
