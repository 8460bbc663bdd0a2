"""Simulated raw gaze of a sonographer who looks at a frame on a screen.

Saccades last longer the wider they are (the main sequence, Bahill et al. 1975) and have a bell-shaped
velocity. Gaze comes as an eye tracker gives it: evenly sampled screen positions with noise, and gaps where
the eye was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from anatomark.data.frames_writer import RawGaze
from anatomark.data.gaze import ScreenGeometry

Position = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """Habits of the simulated viewer and precision of the simulated eye tracker.

    Attributes:
        duration_s: time spent on a frame, s.
        rate_hz: samples per second.
        distractor_share: share of fixations on other echoes of the head.
        stray_share: share of fixations anywhere in the frame.
        fixation_ms: median duration of a fixation, ms.
        spread_deg: standard deviation of fixations around their target, degrees of visual angle.
        noise_deg: standard deviation of the tracker's noise, degrees of visual angle.
        lost_share: share of single samples that are lost.
        blink_per_s: blinks per second; a blink loses 80 to 250 ms.
    """

    duration_s: float = 4.0
    rate_hz: float = 90.0
    distractor_share: float = 0.2
    stray_share: float = 0.05
    fixation_ms: float = 280.0
    spread_deg: float = 0.4
    noise_deg: float = 0.08
    lost_share: float = 0.01
    blink_per_s: float = 0.2

    def look(
        self,
        structures: Sequence[Position],
        distractors: Sequence[Position],
        frame_size: tuple[int, int],
        screen: ScreenGeometry,
        rng: np.random.Generator,
    ) -> RawGaze:
        """Gaze on one frame.

        Args:
            structures: centres of what the viewer looks for, px of the frame.
            distractors: centres of what else draws gaze, px of the frame.
            frame_size: (W, H) of the frame, px.
            screen: where the frame is on the screen.
            rng: source of randomness.
        """
        period = 1000 / self.rate_hz
        t_ms = np.arange(round(self.duration_s * self.rate_hz)) * period
        px_per_deg = pixels_per_degree(screen)
        targets = self._targets(structures, distractors, frame_size, rng)
        stops = screen.to_screen(targets) + rng.normal(0, self.spread_deg * px_per_deg, targets.shape)
        durations = np.clip(self.fixation_ms * np.exp(rng.normal(0, 0.4, len(stops))), 100, 900)
        xy = _trace(t_ms, stops, durations, px_per_deg)
        xy += rng.normal(0, self.noise_deg * px_per_deg, xy.shape)
        valid = self._seen(t_ms, rng) & _on_screen(xy, screen)
        return RawGaze(t_ms=t_ms, xy_px=np.where(valid[:, None], xy, np.nan), valid=valid)

    def _targets(
        self,
        structures: Sequence[Position],
        distractors: Sequence[Position],
        frame_size: tuple[int, int],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "k 2"]:
        """More targets than any recording of this duration can hold, px of the frame."""
        count = int(self.duration_s * 1000 / 100) + 1
        stray = rng.uniform((0, 0), frame_size, size=(count, 2))
        # The viewer goes through the structures in turn, so none is left out by chance.
        turns = (np.arange(count) + rng.integers(len(structures))) % len(structures)
        wanted = np.asarray(structures)[turns]
        other = np.asarray(distractors)[rng.integers(len(distractors), size=count)]
        choice = rng.random(count)[:, None]
        distracted = choice < self.stray_share + self.distractor_share
        return np.where(choice < self.stray_share, stray, np.where(distracted, other, wanted))

    def _seen(self, t_ms: Float[np.ndarray, "n"], rng: np.random.Generator) -> Bool[np.ndarray, "n"]:
        blinks = rng.poisson(self.blink_per_s * self.duration_s)
        start = rng.uniform(0, self.duration_s * 1000, size=blinks)
        stop = start + rng.uniform(80, 250, size=blinks)
        closed = ((t_ms[:, None] >= start) & (t_ms[:, None] < stop)).any(axis=1)
        return ~closed & (rng.random(len(t_ms)) >= self.lost_share)


def pixels_per_degree(screen: ScreenGeometry) -> float:
    """Screen px per degree of visual angle at the middle of the screen."""
    degree_m = screen.distance_m * float(np.tan(np.radians(1)))
    return degree_m * screen.resolution_px[0] / screen.size_m[0]


def _trace(
    t_ms: Float[np.ndarray, "n"],
    stops: Float[np.ndarray, "k 2"],
    durations: Float[np.ndarray, "k"],
    px_per_deg: float,
) -> Float[np.ndarray, "n 2"]:
    """Noise-free gaze that rests at the stops and moves between them as fast as eyes do."""
    amplitude_deg = np.linalg.norm(np.diff(stops, axis=0), axis=1) / px_per_deg
    saccades = 21 + 2.2 * amplitude_deg
    leave = np.cumsum(durations)[:-1] + np.concatenate([[0.0], np.cumsum(saccades)[:-1]])
    number = np.searchsorted(leave, t_ms, side="right")
    before = np.maximum(number - 1, 0)
    elapsed = np.clip((t_ms - leave[before]) / saccades[before], 0, 1)
    # Minimum-jerk path: position is a fifth-order polynomial of time.
    progress = elapsed**3 * (10 - 15 * elapsed + 6 * elapsed**2)
    return np.asarray(stops[before] + progress[:, None] * (stops[before + 1] - stops[before]))


def _on_screen(xy_px: Float[np.ndarray, "n 2"], screen: ScreenGeometry) -> Bool[np.ndarray, "n"]:
    limit = np.asarray(screen.resolution_px) - 1
    return np.asarray(np.all((xy_px >= 0) & (xy_px <= limit), axis=1))
