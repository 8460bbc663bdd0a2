"""The movements of a probe that sweeps along a fetal trunk."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from anatomark.phantoms.abdomen_anatomy import STRUCTURES, Abdomen
from anatomark.phantoms.drawing import Vector

Track = Float[np.ndarray, "frames"]


@dataclass(frozen=True, kw_only=True)
class Shade:
    """A limb between probe and trunk whose shadow hides one structure for a while.

    Attributes:
        over: the structure.
        half_mm: half of the limb's width, mm.
        aside: how far, in half widths, the limb is beside the line from the probe to the structure; per frame.
    """

    over: str
    half_mm: float
    aside: Track


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Where the probe is in each frame of a clip.

    Attributes:
        z: level of the section at the trunk's axis.
        tilt: angle of the section against a transverse one, radians.
        tilt_towards: direction (p, q) in which z rises along the tilted section.
        shift: movement of the trunk in the frame, units of its radius, (frames, 2).
        turn: rotation of the trunk in the frame, radians.
        shade: the limb, if one comes in between.
    """

    z: Track
    tilt: Track
    tilt_towards: Vector
    shift: Float[np.ndarray, "frames 2"]
    turn: Track
    shade: Shade | None

    @classmethod
    def draw(cls, abdomen: Abdomen, frames: int, rng: np.random.Generator) -> "Sweep":
        """A sweep from the lower abdomen to the heart or back that lingers in the AC plane."""
        time = np.linspace(0, 1, frames)
        z, inside = _levels(abdomen, time, rng)
        direction = rng.uniform(0, 2 * np.pi)
        tilt = np.radians(4) * wander(time, rng)
        if rng.random() < 0.6:
            # Away from the AC plane, the probe is sometimes held far from square to the trunk.
            aside = rng.uniform(0.06, inside[0] - 0.1) if rng.random() < 0.5 else rng.uniform(inside[1] + 0.1, 0.94)
            bout = _bout(time, aside, rng.uniform(0.05, 0.09), 0.06)
            tilt = tilt + bout * np.radians(rng.uniform(32, 42))
        sweep = cls(
            z=z,
            tilt=tilt,
            tilt_towards=(float(np.cos(direction)), float(np.sin(direction))),
            shift=0.06 * np.stack([wander(time, rng), wander(time, rng)], axis=1),
            turn=np.radians(6) * wander(time, rng),
            shade=_shade(time, inside, rng) if rng.random() < 0.6 else None,
        )
        return sweep if rng.random() < 0.5 else sweep.reversed()

    def reversed(self) -> "Sweep":
        """The same movements backwards."""
        shade = self.shade
        if shade is not None:
            shade = Shade(over=shade.over, half_mm=shade.half_mm, aside=shade.aside[::-1])
        return Sweep(
            z=self.z[::-1],
            tilt=self.tilt[::-1],
            tilt_towards=self.tilt_towards,
            shift=self.shift[::-1],
            turn=self.turn[::-1],
            shade=shade,
        )


def _levels(abdomen: Abdomen, time: Track, rng: np.random.Generator) -> tuple[Track, Vector]:
    """Level at each time, and the times at which the sweep is in the AC plane.

    The sonographer goes slowly near the plane, lingers in it, and passes its borders in a few frames.
    """
    low, high = abdomen.plane_range()
    near = rng.uniform(0.25, 0.4, size=2)
    bottom, top = rng.uniform(-1.75, -1.2), rng.uniform(1.05, 1.3)
    stops = np.array([bottom, low - near[0], low - 0.06, low + 0.06, high - 0.06, high + 0.06, high + near[1], top])
    spent = np.array([0.12, 0.16, 0.035, 0.37, 0.035, 0.16, 0.12]) * rng.uniform(0.8, 1.2, size=7)
    times = np.concatenate([[0.0], np.cumsum(spent)]) / spent.sum()
    inside = float(times[2:4].mean()), float(times[4:6].mean())
    return np.asarray(PchipInterpolator(times, stops)(time)), inside


def _shade(time: Track, inside: Vector, rng: np.random.Generator) -> Shade:
    middle = rng.uniform(inside[0] + 0.04, inside[1] - 0.04)
    away = rng.choice((-1, 1)) * 9 * (1 - _bout(time, middle, rng.uniform(0.03, 0.06), 0.1))
    return Shade(over=str(rng.choice(STRUCTURES)), half_mm=rng.uniform(5.5, 7.5), aside=away)


def _bout(time: Track, middle: float, half: float, ramp: float) -> Track:
    """1 within ``half`` of the middle, 0 beyond ``half + ramp``, smooth between."""
    t = np.clip((half + ramp - np.abs(time - middle)) / ramp, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def wander(time: Track, rng: np.random.Generator) -> Track:
    """Slow irregular movement of about unit size."""
    waves = [(rng.uniform(0.5, 1.2), 0.6), (rng.uniform(1.5, 2.5), 0.25)]
    return np.asarray(sum(a * np.sin(2 * np.pi * (f * time + rng.random())) for f, a in waves))
