"""How a free-hand examination goes from region to region, and how many frames each gets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

BACKGROUND = "background"
LABELLED_FRAMES: Mapping[str, int] = {
    "head": 25249,
    "spine": 5980,
    "thorax": 32254,
    "abdomen": 16220,
    "limbs": 11617,
    "placenta": 6081,
    BACKGROUND: 12687,
}
"""Frames of each class in the data of Toussaint et al. 2018, section 2."""
CLASSES = tuple(LABELLED_FRAMES)
VISIT_FRAMES = 18
"""Usual number of frames of a visit."""
KINDS = {"thorax": "trunk", "abdomen": "trunk"}
"""Regions that are sections of one body part, which cannot lie beside itself."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """Some frames in a row that show one region.

    Attributes:
        label: class of the frames.
        first: number of the first frame in the examination, from 0.
        n_frames: how many there are.
        beside: the region that is left behind or comes next, where it is to be seen at the edge.
        leaving: whether that region is left behind; otherwise it comes next.
    """

    label: str
    first: int
    n_frames: int
    beside: str | None
    leaving: bool


def plan_examination(n_frames: int, rng: np.random.Generator) -> list[Visit]:
    """The visits of an examination of ``n_frames``, at least one to each class."""
    lengths = [
        (label, length)
        for label, count in zip(CLASSES, _share(n_frames, rng), strict=True)
        for length in _split(count, rng)
    ]
    lengths = _mixed(lengths, rng)
    firsts = np.cumsum([0, *(length for _, length in lengths)])
    visits = []
    for i, (label, length) in enumerate(lengths):
        leaving = bool(rng.random() < 0.5)
        neighbour = i - 1 if leaving else i + 1
        beside = lengths[neighbour][0] if 0 <= neighbour < len(lengths) else BACKGROUND
        seen = rng.random() < 0.8 and _may_meet(label, beside)
        visits.append(
            Visit(
                label=label,
                first=int(firsts[i]),
                n_frames=length,
                beside=beside if seen else None,
                leaving=leaving,
            )
        )
    return visits


def _share(n_frames: int, rng: np.random.Generator) -> list[int]:
    """Frames of each class: one, and the rest by the share of the class, which varies between examinations."""
    weights = np.array(list(LABELLED_FRAMES.values())) * np.exp(rng.normal(0, 0.15, size=len(CLASSES)))
    rest = weights / weights.sum() * n_frames
    counts = np.maximum(np.floor(rest).astype(int), 1)
    while counts.sum() != n_frames:
        step = 1 if counts.sum() < n_frames else -1
        lag = np.where(counts + step >= 1, step * (rest - counts), -np.inf)
        counts[int(np.argmax(lag))] += step
    return [int(count) for count in counts]


def _split(count: int, rng: np.random.Generator) -> list[int]:
    """Lengths of the visits that make ``count`` frames."""
    visits = max(1, round(count / VISIT_FRAMES))
    weights = rng.uniform(0.6, 1.4, size=visits)
    ends = np.round(np.cumsum(weights) / weights.sum() * count).astype(int)
    return [int(length) for length in np.diff(ends, prepend=0) if length]


def _mixed(lengths: list[tuple[str, int]], rng: np.random.Generator) -> list[tuple[str, int]]:
    """The visits in an order in which, while there are others, a class does not follow itself."""
    waiting = [lengths[i] for i in rng.permutation(len(lengths))]
    order = [waiting.pop()]
    while waiting:
        other = next((i for i, (label, _) in enumerate(waiting) if label != order[-1][0]), 0)
        order.append(waiting.pop(other))
    return order


def _may_meet(label: str, beside: str) -> bool:
    if BACKGROUND in (label, beside):
        return False
    return KINDS.get(label, label) != KINDS.get(beside, beside)
