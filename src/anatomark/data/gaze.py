"""Gaze samples to fixations: a velocity-threshold filter (I-VT) on angular gaze velocity.

The steps are those of Cai et al. 2018 ("Multi-task SonoEyeNet"), section 2: moving average, velocity
threshold, merging of neighbouring fixations, removal of short ones. Gaze is measured in pixels of the screen;
fixations are given in pixels of the frame that the screen showed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anatomark.types import AnatomarkError

Samples = Float[np.ndarray, "n"]
Positions = Float[np.ndarray, "n 2"]
Flags = Bool[np.ndarray, "n"]
# As they come from a file: that the lengths agree is checked here, with a message, not by the annotation.
RawTimes = Float[np.ndarray, "t"]
RawPositions = Float[np.ndarray, "p 2"]
RawFlags = Bool[np.ndarray, "v"]
# A configuration file may say 30 for 30.0.
Number = float | int


@dataclass(frozen=True, kw_only=True)
class ScreenGeometry:
    """Where the eye, the screen and the frame on it are.

    The eye looks at the middle of the screen at a right angle.

    Attributes:
        distance_m: distance from eye to screen, m.
        size_m: width and height of the screen, m.
        resolution_px: width and height of the screen, px.
        frame_origin_px: screen pixel (x, y) whose top-left corner is the top-left corner of the frame.
        frame_scale: screen px per frame px.
    """

    distance_m: Number = 0.5
    size_m: Sequence[Number] = (0.332, 0.207)
    resolution_px: Sequence[int] = (1920, 1080)
    frame_origin_px: Sequence[Number] = (0.0, 0.0)
    frame_scale: Number = 1.0

    def __post_init__(self) -> None:
        for name in ("size_m", "resolution_px", "frame_origin_px"):
            count = len(getattr(self, name))
            if count != 2:
                raise AnatomarkError(f"screen.{name} has {count} values; give two, for x and y")
        positive = {"distance_m": self.distance_m, "frame_scale": self.frame_scale}
        positive |= {"size_m": min(self.size_m), "resolution_px": min(self.resolution_px)}
        for name, value in positive.items():
            if not value > 0:
                raise AnatomarkError(f"screen.{name} is {value}; it must be positive")

    def directions(self, xy_px: Positions) -> Float[np.ndarray, "n 3"]:
        """Gaze directions (not normalised, m) from the eye through screen positions in px."""
        resolution = np.asarray(self.resolution_px, dtype=float)
        on_screen = (xy_px - (resolution - 1) / 2) * (np.asarray(self.size_m) / resolution)
        return np.column_stack([on_screen, np.full(len(xy_px), float(self.distance_m))])

    def angle_deg(self, from_px: Positions, to_px: Positions) -> Samples:
        """Visual angle between pairs of screen positions, degrees."""
        a, b = self.directions(from_px), self.directions(to_px)
        # atan2 stays exact for the tiny angles between neighbouring samples, where acos does not.
        angle: Samples = np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1)))
        return angle

    def to_frame(self, xy_px: Positions) -> Positions:
        """Screen px to frame px; both have pixel centres at integers."""
        frame_px: Positions = (xy_px + 0.5 - np.asarray(self.frame_origin_px)) / self.frame_scale - 0.5
        return frame_px

    def to_screen(self, xy_px: Positions) -> Positions:
        """Frame px to screen px, the inverse of :meth:`to_frame`."""
        screen_px: Positions = (xy_px + 0.5) * self.frame_scale - 0.5 + np.asarray(self.frame_origin_px)
        return screen_px


@dataclass(frozen=True, kw_only=True)
class GazeFilter:
    """Finds the fixations in raw gaze samples; callable as ``filter(t_ms, xy_px, valid, where=...)``.

    1. Invalid samples and pauses longer than ``max_gap_ms`` split the recording into unbroken runs.
    2. Positions are averaged over ``smoothing_samples`` inside their run (fewer at its ends).
    3. Angular velocity from the sample before to the sample after, inside the run. With three smoothing
       samples this is the velocity of Engbert and Kliegl (2003). A run of one sample has no velocity and no
       fixation.
    4. Successive samples of one run slower than ``velocity_deg_s`` are a fixation.
    5. Neighbouring fixations are one if their mean positions are at most ``merge_deg`` and their ends at most
       ``merge_ms`` apart; the valid samples between them then belong to it.
    6. Fixations shorter than ``min_duration_ms`` are dropped. The duration is the number of valid samples
       times the sampling period (the median time between samples).

    Attributes:
        screen: geometry of eye, screen and frame.
        velocity_deg_s: fixations are slower than this, degrees per second.
        min_duration_ms: fixations last at least this long, ms.
        merge_deg: largest angle between fixations to merge, degrees.
        merge_ms: largest time between fixations to merge, ms.
        max_gap_ms: a longer time between samples ends a run, ms.
        smoothing_samples: length of the moving average, an odd number of samples.
    """

    screen: ScreenGeometry = ScreenGeometry()
    velocity_deg_s: Number = 30.0
    min_duration_ms: Number = 80.0
    merge_deg: Number = 0.5
    merge_ms: Number = 75.0
    max_gap_ms: Number = 75.0
    smoothing_samples: int = 3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "screen" and not value >= 0:
                raise AnatomarkError(f"gaze.{field.name} is {value}; it must not be negative")
        if self.smoothing_samples % 2 != 1:
            raise AnatomarkError(f"gaze.smoothing_samples is {self.smoothing_samples}; give an odd number")

    def __call__(self, t_ms: RawTimes, xy_px: RawPositions, valid: RawFlags, *, where: str) -> Float[Tensor, "m 3"]:
        """Fixations of one recording.

        Args:
            t_ms: times, strictly increasing, ms.
            xy_px: gaze on the screen, px; ignored where invalid.
            valid: whether the tracker saw the eye.
            where: names the recording in messages, such as "gaze.csv, frame 12".

        Returns:
            Rows (x, y in px of the frame, duration in ms) in order of time; no rows if nothing was fixated.

        Raises:
            AnatomarkError: lengths differ, fewer than two samples, times that are NaN or do not increase, no
                valid sample, valid gaze that is NaN or off the screen.
        """
        return torch.from_numpy(self.timed(t_ms, xy_px, valid, where=where)[:, :3].astype(np.float32))

    def timed(self, t_ms: RawTimes, xy_px: RawPositions, valid: RawFlags, *, where: str) -> Float[np.ndarray, "m 5"]:
        """As a call, with rows (x, y, duration, start, end): the end is a sampling period after the last sample."""
        fixation = self.fixation_index(t_ms, xy_px, valid, where=where)
        member = fixation >= 0
        count = np.bincount(fixation[member])
        total = [np.bincount(fixation[member], weights=xy_px[member, axis]) for axis in (0, 1)]
        centre = np.column_stack(total) / count[:, None]
        period, stop = _period(t_ms), np.cumsum(count)
        start_ms, end_ms = t_ms[member][stop - count], t_ms[member][stop - 1] + period
        rows: Float[np.ndarray, "m 5"] = np.column_stack(
            [self.screen.to_frame(centre), count * period, start_ms, end_ms]
        )
        return rows

    def labels(self, t_ms: RawTimes, xy_px: RawPositions, valid: RawFlags, *, where: str) -> Flags:
        """Whether each sample belongs to a fixation; arguments and errors as for a call."""
        return self.fixation_index(t_ms, xy_px, valid, where=where) >= 0

    def fixation_index(
        self, t_ms: RawTimes, xy_px: RawPositions, valid: RawFlags, *, where: str
    ) -> Int[np.ndarray, "n"]:
        """Number of the fixation each sample belongs to, -1 for none; arguments and errors as for a call."""
        self._check(t_ms, xy_px, valid, where)
        first, last = _run_bounds(t_ms, valid, self.max_gap_ms)
        xy = np.where(valid[:, None], xy_px, 0.0)
        speed = self._velocity(t_ms, _moving_average(xy, first, last, self.smoothing_samples // 2), first, last)
        slow = valid & (speed < self.velocity_deg_s)
        start, stop = self._merge(t_ms, xy, *_slow_stretches(slow, first))
        before = np.concatenate([[0], np.cumsum(valid)])
        keep = (before[stop] - before[start]) * _period(t_ms) >= self.min_duration_ms
        return _number_samples(start[keep], stop[keep], valid)

    def _velocity(
        self, t_ms: Samples, xy: Positions, first: Int[np.ndarray, "n"], last: Int[np.ndarray, "n"]
    ) -> Samples:
        """Angular velocity at each sample, deg/s; infinite in runs of one sample."""
        index = np.arange(len(t_ms))
        left, right = np.maximum(index - 1, first), np.minimum(index + 1, last)
        alone = left == right
        seconds = np.where(alone, 1.0, t_ms[right] - t_ms[left]) / 1000
        return np.where(alone, np.inf, self.screen.angle_deg(xy[left], xy[right]) / seconds)

    def _merge(
        self, t_ms: Samples, xy: Positions, start: Int[np.ndarray, "f"], stop: Int[np.ndarray, "f"]
    ) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]]:
        """Joins neighbouring stretches ``[start, stop)`` that are close in angle and time."""
        if len(start) == 0:
            return start, stop
        total = np.concatenate([np.zeros((1, 2)), np.cumsum(xy, axis=0)])
        centre = (total[stop] - total[start]) / (stop - start)[:, None]
        near = self.screen.angle_deg(centre[:-1], centre[1:]) <= self.merge_deg
        soon = t_ms[start[1:]] - t_ms[stop[:-1] - 1] <= self.merge_ms
        apart = ~(near & soon)
        return start[np.concatenate([[True], apart])], stop[np.concatenate([apart, [True]])]

    def _check(self, t_ms: RawTimes, xy_px: RawPositions, valid: RawFlags, where: str) -> None:
        if not len(t_ms) == len(xy_px) == len(valid):
            raise AnatomarkError(
                f"{where}: {len(t_ms)} times, {len(xy_px)} positions and {len(valid)} validity flags; "
                "give one of each per gaze sample"
            )
        if len(t_ms) < 2:
            raise AnatomarkError(f"{where}: {len(t_ms)} gaze sample; the sampling rate needs at least two")
        _raise_at(~np.isfinite(t_ms), where, "t_ms is not a number; remove the row or restore its time")
        stuck = np.diff(t_ms, prepend=-np.inf) <= 0
        _raise_at(stuck, where, "t_ms does not increase; sort the rows and drop repeats")
        if not valid.any():
            raise AnatomarkError(f"{where}: all {len(valid)} gaze samples are invalid; remove the recording")
        lost = valid & ~np.isfinite(xy_px).all(axis=1)
        _raise_at(lost, where, "valid gaze is not a number; set valid to 0 for lost samples")
        width, height = self.screen.resolution_px
        inside = ((xy_px >= -0.5) & (xy_px <= np.array([width, height]) - 0.5)).all(axis=1)
        size = f"{width} x {height} px"
        _raise_at(
            valid & ~inside,
            where,
            f"valid gaze lies off the {size} screen; set valid to 0 or correct the size",
        )


def _raise_at(bad: Flags, where: str, problem: str) -> None:
    if bad.any():
        raise AnatomarkError(f"{where}, sample {int(np.argmax(bad))}: {problem}")


def _period(t_ms: Samples) -> float:
    """Sampling period, ms; the median ignores pauses."""
    return float(np.median(np.diff(t_ms)))


def _run_bounds(t_ms: Samples, valid: Flags, max_gap_ms: Number) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """First and last index of the unbroken run around each sample; an invalid sample is a run of its own."""
    breaks = ~(valid[1:] & valid[:-1]) | (np.diff(t_ms) > max_gap_ms)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    lengths = np.diff(np.concatenate([starts, [len(t_ms)]]))
    return np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)


def _moving_average(xy: Positions, first: Int[np.ndarray, "n"], last: Int[np.ndarray, "n"], half: int) -> Positions:
    """Mean over the samples of the window ``[i - half, i + half]`` that lie in the run."""
    index = np.arange(len(xy))
    low, high = np.maximum(index - half, first), np.minimum(index + half, last) + 1
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(xy, axis=0)])
    mean: Positions = (total[high] - total[low]) / (high - low)[:, None]
    return mean


def _slow_stretches(slow: Flags, first: Int[np.ndarray, "n"]) -> tuple[Int[np.ndarray, "f"], Int[np.ndarray, "f"]]:
    """Bounds ``[start, stop)`` of successive slow samples of one run."""
    joined = slow[1:] & slow[:-1] & (first[1:] == first[:-1])
    start = slow & ~np.concatenate([[False], joined])
    end = slow & ~np.concatenate([joined, [False]])
    return np.flatnonzero(start), np.flatnonzero(end) + 1


def _number_samples(start: Int[np.ndarray, "f"], stop: Int[np.ndarray, "f"], valid: Flags) -> Int[np.ndarray, "n"]:
    """Index of the stretch around each valid sample, -1 outside of all."""
    change = np.zeros(len(valid) + 1, dtype=np.int64)
    change[start] += 1
    change[stop] -= 1
    inside = np.cumsum(change[:-1]) > 0
    number = np.searchsorted(start, np.arange(len(valid)), side="right") - 1
    return np.where(inside & valid, number, -1)
