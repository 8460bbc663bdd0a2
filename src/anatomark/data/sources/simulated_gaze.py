"""Simulated gaze for frames nobody's gaze was recorded on. Whatever is measured with it says "simulated"."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from scipy import ndimage
from torch import Tensor

from anatomark.types import AnatomarkError


@dataclass(frozen=True, kw_only=True)
class SimulatedGaze:
    """A viewer of annotated structures who sometimes misses one and is drawn to other bright spots.

    Distances are shares of ``extent_px``, the length that the structures are measured by, such as the head's
    long axis.

    Attributes:
        viewings: viewings per frame.
        fixations_per_structure: smallest and largest number of fixations on a structure.
        spread: standard deviation of a fixation around its structure's centre.
        miss_rate: probability that a viewing leaves a structure out.
        distractors: mean number of fixations per viewing on other echogenic spots (Poisson).
        distractor_distance: smallest distance of a distractor from every structure.
        distractor_reach: largest distance of a distractor from the centre of what is examined. The scanner's
            captions and grey bar are bright too, but nobody who reads the frame looks for anatomy there.
        duration_ms: median duration of a fixation; durations are log-normal.
        duration_spread: standard deviation of the log duration.
        seed: seed; each frame has its own stream, whatever the order of the frames.
    """

    viewings: int = 10
    fixations_per_structure: Sequence[int] = (1, 3)
    spread: float = 0.02
    miss_rate: float = 0.1
    distractors: float = 1.0
    distractor_distance: float = 0.12
    distractor_reach: float = 0.55
    duration_ms: float = 250.0
    duration_spread: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        counts = tuple(self.fixations_per_structure)
        rules = {
            "viewings": (self.viewings >= 1, "at least 1"),
            "fixations_per_structure": (
                len(counts) == 2 and 1 <= counts[0] <= counts[-1],
                "two numbers from 1, the smaller first",
            ),
            "miss_rate": (0 <= self.miss_rate < 1, "at least 0 and below 1"),
            "duration_ms": (self.duration_ms > 0, "positive"),
            "seed": (self.seed >= 0, "at least 0"),
        }
        for name in ("spread", "distractors", "distractor_distance", "distractor_reach", "duration_spread"):
            rules[name] = (getattr(self, name) >= 0, "at least 0")
        for name, (good, rule) in rules.items():
            if not good:
                raise AnatomarkError(f"gaze.{name} is {getattr(self, name)}; it must be {rule}")

    def __call__(
        self,
        key: str,
        image: UInt8[np.ndarray, "h w"],
        structures: Mapping[str, Float[Tensor, "2"]],
        centre: Float[Tensor, "2"],
        extent_px: float,
    ) -> tuple[Float[Tensor, "_ 3"], ...]:
        """Viewings of one frame.

        Args:
            key: the frame's id, which seeds its gaze.
            image: the frame, searched for bright spots.
            structures: centres (x, y) px of what is looked at, at least one.
            centre: centre (x, y) px of what is examined, such as the head.
            extent_px: the length that distances are shares of, px.

        Returns:
            One tensor of rows (x px, y px, duration ms) per viewing, inside the image, never empty.
        """
        digest = hashlib.blake2b(f"{self.seed}/{key}".encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(digest))
        centres = np.stack([np.asarray(xy, dtype=float) for xy in structures.values()])
        spots = bright_spots(image, extent_px / 50)
        apart = np.linalg.norm(spots[:, None] - centres[None], axis=2).min(axis=1) / extent_px
        off_centre = np.linalg.norm(spots - np.asarray(centre, dtype=float), axis=1) / extent_px
        spots = spots[(apart >= self.distractor_distance) & (off_centre <= self.distractor_reach)]
        limit = np.array(image.shape[::-1]) - 1.0
        return tuple(self._viewing(rng, centres, spots, extent_px, limit) for _ in range(self.viewings))

    def _viewing(
        self,
        rng: np.random.Generator,
        centres: np.ndarray,
        spots: np.ndarray,
        extent_px: float,
        limit: np.ndarray,
    ) -> Float[Tensor, "_ 3"]:
        seen = rng.random(len(centres)) >= self.miss_rate
        if not seen.any():
            seen[rng.integers(len(centres))] = True
        low, high = self.fixations_per_structure
        looked_at = np.repeat(centres[seen], rng.integers(low, high + 1, seen.sum()), axis=0)
        n_distractors = rng.poisson(self.distractors) if len(spots) else 0
        drawn_to = spots[rng.integers(len(spots), size=n_distractors)] if n_distractors else np.empty((0, 2))
        xy = rng.permutation(np.concatenate([looked_at, drawn_to]))
        xy = (xy + rng.normal(0, self.spread * extent_px, xy.shape)).clip(0, limit)
        duration = rng.lognormal(np.log(self.duration_ms), self.duration_spread, len(xy))
        return torch.from_numpy(np.column_stack([xy, duration])).float()


def bright_spots(image: UInt8[np.ndarray, "h w"], sigma: float) -> Float[np.ndarray, "n 2"]:
    """Echogenic spots: local maxima (x, y) of the smoothed image in its brightest eighth.

    They are found on an area-averaged image with cells of at most a third of ``sigma``: what the smoothing leaves is
    wider than that, and the filters are faster by the third power of the cell's side.

    Args:
        image: grey image.
        sigma: standard deviation of the smoothing, px; spots are at least three times that apart along an axis.
    """
    cell = max(int(sigma / 3), 1)
    pixels = torch.from_numpy(image).float()[None, None]
    cells = F.avg_pool2d(pixels, cell, ceil_mode=True)[0, 0].numpy()
    smooth = ndimage.gaussian_filter(cells, sigma / cell)
    highest = ndimage.maximum_filter(smooth, size=2 * round(3 * sigma / cell) + 1)
    peaks = (smooth == highest) & (smooth > np.quantile(smooth, 7 / 8))
    middle = (np.argwhere(peaks)[:, ::-1] + 0.5) * cell - 0.5
    inside: Float[np.ndarray, "n 2"] = np.minimum(middle, np.array(image.shape[::-1]) - 1.0)
    return inside
