"""The cochlea of the temporal-bone phantom: a spiral tube of 2.5 turns about the modiolus."""

import numpy as np
from jaxtyping import Float

from anatomark.phantoms.temporal_bone_shapes import Tube, polyline_tube

TURNS = 2.5
HEIGHT_MM = 3.4
"""From the first to the last point of the tube's centre line, along the modiolus."""
COIL_MM = (4.4, 0.75)
"""Distance of the centre line from the modiolus' axis at the round window and at the apex; between them it shrinks
exponentially."""
TUBE_MM = (1.0, 0.5)
"""Radius of the tube there; neighbouring turns never touch."""

N_SAMPLES = 1600


def _unit(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    return np.asarray(vector / np.linalg.norm(vector))


AXIS = _unit(np.array((0.66, -0.70, -0.22)))
"""Modiolus from base to apex: towards left, anterior and a little down, as in a left ear."""
_WINDOW = np.array((0.35, 0.75, -0.55))
TO_WINDOW = _unit(_WINDOW - AXIS * (AXIS @ _WINDOW))
"""From the modiolus to the round window, at the back and below."""
AFTER_WINDOW = np.cross(TO_WINDOW, AXIS)
"""A quarter of a turn further: the left cochlea runs forwards along its lower side, then up."""


def cochlea() -> Tube:
    """The cochlea's fluid; the origin is on the modiolus' axis, at the level of the round window."""
    share = np.linspace(0, 1, N_SAMPLES)
    angle = 2 * np.pi * TURNS * share
    coil = COIL_MM[0] * (COIL_MM[1] / COIL_MM[0]) ** share
    points = (
        (coil * np.cos(angle))[:, None] * TO_WINDOW
        + (coil * np.sin(angle))[:, None] * AFTER_WINDOW
        + (HEIGHT_MM * share)[:, None] * AXIS
    )
    return Tube(points, TUBE_MM[0] + (TUBE_MM[1] - TUBE_MM[0]) * share, flat_start=True)


def modiolus() -> Tube:
    """The spongy core that the tube winds about, from the base almost to the apex."""
    ends = np.array((-0.9, 2.8))[:, None] * AXIS
    return polyline_tube(ends.tolist(), (1.7, 0.4))


def landmarks(tube: Tube) -> dict[str, Float[np.ndarray, "3"]]:
    """The three landmarks of Wang et al. 2021, mm.

    The centre is the modiolus' axis at the level of the basal turn, the top the end of the tube's centre line
    (helicotrema), the round window the middle of its beginning.
    """
    return {"centre": np.zeros(3), "top": tube.points[-1], "round_window": tube.points[0]}
