"""The hand of the sonographer: how probe, settings and body parts move during a visit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from anatomark.phantoms.abdomen_sweep import wander
from anatomark.phantoms.drawing import Vector
from anatomark.phantoms.ultrasound import Sector

FULLEST = 0.6
"""Largest area of the region at the edge, over that of the main one."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """The geometry of one frame; positions in px.

    Attributes:
        sector: what the probe sees.
        spacing_mm: size of a px, mm.
        progress: share of the visit that has passed.
        main: where the middle of the main region lies, or of the view where there is none.
        turn: rotation of everything since the visit began, radians.
        beside: where the middle of the region at the edge lies.
    """

    sector: Sector
    spacing_mm: float
    progress: float
    main: Vector
    turn: float
    beside: Vector


def draw_shots(
    n_frames: int,
    size: tuple[int, int],
    *,
    leaving: bool,
    share: float,
    beside_mm: float | None,
    rng: np.random.Generator,
) -> list[Shot]:
    """The geometry of all frames of a visit; of the regions no more than their sizes plays a part in it.

    Args:
        n_frames: length of the visit.
        size: height and width of the frames, px.
        leaving: whether the region at the edge leaves, rather than comes.
        share: area of the main region over that of the region at the edge.
        beside_mm: half of the length of the region at the edge, mm; None without one.
        rng: draws everything.
    """
    time = np.linspace(0, 1, n_frames) if n_frames > 1 else np.array([0.5])
    sectors = _draw_sectors(time, size, rng)
    depth = rng.uniform(0.3, 0.7) + 0.07 * wander(time, rng)
    side = 1 if rng.random() < 0.5 else -1
    near = _closeness(time, leaving=leaving)
    turn = rng.uniform(-0.3, 0.3) + 0.25 * wander(time, rng)
    # Away from the other region's side, whether or not there is one: the place does not tell.
    aside = 0.12 * wander(time, rng) - side * (rng.uniform(-0.1, 0.4) + rng.uniform(0.1, 0.3) * near)
    depth_beside = rng.uniform(0.4, 0.65) + 0.04 * wander(time, rng)
    shots = []
    for i, (sector, spacing_mm) in enumerate(sectors):
        main = _place(sector, float(depth[i]), float(aside[i]) * sector.half_angle)
        beside = (0.0, 0.0)
        if beside_mm is not None:
            most = min(0.55, FULLEST * share)
            shown = (most + 0.15) * float(near[i]) - 0.15
            radius = sector.radii[0] + float(depth_beside[i]) * (sector.radii[1] - sector.radii[0])
            half = beside_mm / spacing_mm / radius
            angle = side * (sector.half_angle + half * (1 - 2 * shown))
            beside = _place(sector, float(depth_beside[i]), angle)
        shots.append(
            Shot(
                sector=sector,
                spacing_mm=spacing_mm,
                progress=float(time[i]),
                main=main,
                turn=float(turn[i]),
                beside=beside,
            )
        )
    return shots


def _draw_sectors(
    time: Float[np.ndarray, "frames"], size: tuple[int, int], rng: np.random.Generator
) -> list[tuple[Sector, float]]:
    """Sector and size of a px, mm, at each time: depth, width, zoom and place of the sector change slowly."""
    height, width = size
    depth_mm = rng.uniform(95, 150) * np.exp(0.04 * wander(time, rng))
    near_mm = rng.uniform(42, 60)
    width_mm = rng.uniform(158, 225) * np.exp(0.03 * wander(time, rng))
    half = np.arcsin(np.clip(width_mm / 2 / (near_mm + depth_mm), 0.36, 0.65))
    zoom = rng.uniform(0.95, 1.15) * np.exp(0.03 * wander(time, rng))
    tilt = rng.normal(0, 0.04) + 0.02 * wander(time, rng)
    x = width * (0.5 + rng.normal(0, 0.025) + 0.01 * wander(time, rng))
    y = height * (rng.uniform(-0.01, 0.03) + 0.005 * wander(time, rng))
    tall = (depth_mm + near_mm * (1 - np.cos(half))) / (0.97 * height)
    wide = 2 * (near_mm + depth_mm) * np.sin(half) / (0.97 * width)
    spacing = np.maximum(tall, wide) / zoom
    sectors = []
    for i, mm in enumerate(spacing):
        near = near_mm / mm
        top = y[i] - near * np.cos(half[i])
        sector = Sector(
            apex=(float(x[i]), float(top)),
            radii=(float(near), float(near + depth_mm[i] / mm)),
            half_angle=float(half[i]),
            tilt=float(tilt[i]),
        )
        sectors.append((sector, float(mm)))
    return sectors


def _closeness(time: Float[np.ndarray, "frames"], *, leaving: bool) -> Float[np.ndarray, "frames"]:
    """How near another region is: 1 at the end of the visit at which it is passed, 0 at the other."""
    t = np.clip(1.4 * (1 - time if leaving else time), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _place(sector: Sector, depth: float, angle: float) -> Vector:
    """Position in px at a share ``depth`` of the sector's depth."""
    radius = sector.radii[0] + depth * (sector.radii[1] - sector.radii[0])
    x = sector.apex[0] + radius * np.sin(angle + sector.tilt)
    y = sector.apex[1] + radius * np.cos(angle + sector.tilt)
    return float(x), float(y)
