"""Where a sonographer who looks for the AC plane looks in a frame of a sweep."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from anatomark.data.frames_writer import RawGaze
from anatomark.data.gaze import ScreenGeometry
from anatomark.phantoms.abdomen_anatomy import SHOWN
from anatomark.phantoms.abdomen_view import View
from anatomark.phantoms.scanpath import Position, Viewer

MISSED_SHARE = 0.12
"""Share of the structures of an AC plane that are never looked at."""


def look_at(
    view: View, viewer: Viewer, size: tuple[int, int], screen: ScreenGeometry, rng: np.random.Generator
) -> RawGaze:
    """Raw gaze on a frame of ``size`` (H, W).

    The structures of an AC plane are looked at in turn and for longer; elsewhere gaze wanders, and the more of
    the structures a section shows, the more often it stops at them (Cai et al. 2018, section 3).
    """
    shown = [_position(view.centre(name)) for name in view.visible]
    others = _echoes(view)
    if view.label == "plane":
        kept = rng.random(len(shown)) >= MISSED_SHARE
        targets = [position for position, keep in zip(shown, kept, strict=True) if keep] or shown
        patience = rng.uniform(1.0, 1.6)
    else:
        targets = shown * (len(shown) > 1) + _anywhere(view, 5, rng)
        patience = rng.uniform(0.6, 1.2)
        others = others + shown
    patient = replace(viewer, duration_s=viewer.duration_s * patience)
    return patient.look(targets, others, size[::-1], screen, rng)


def _echoes(view: View) -> list[Position]:
    """Other dark organs in the section, px."""
    abdomen = view.abdomen
    organs = (*abdomen.kidneys, *abdomen.vessels, *abdomen.fluids, *abdomen.bowel, abdomen.heart)
    centres = [o.centre for o in organs if o.size(view.section.level(o.centre)) >= SHOWN]
    return [_position(xy) for xy in view.to_frame(np.array(centres))]


def _anywhere(view: View, count: int, rng: np.random.Generator) -> list[Position]:
    """Random positions inside the trunk, px."""
    angle, radius = rng.uniform(0, 2 * np.pi, count), 0.9 * np.sqrt(rng.random(count))
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) * view.abdomen.semi_axes(view.section.z)
    return [_position(xy) for xy in view.to_frame(points)]


def _position(xy: Float[np.ndarray, "2"]) -> Position:
    return float(xy[0]), float(xy[1])
