"""Physics of the simulated B-mode frames against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from anatomark.phantoms.drawing import Pose, smooth_noise
from anatomark.phantoms.ultrasound import AcousticGrid, Scanner, Sector, Tissue, scan_convert

SECTOR = Sector(apex=(100.0, -80.0), radii=(90.0, 270.0), half_angle=0.5, tilt=0.1)
GRID = AcousticGrid.of(SECTOR, shape=(400, 300), spacing_mm=0.4)
SCANNER = Scanner(noise_db=-200.0, looks=1, gain_compensation_db_mm=0.0)


def tissue(*, level=0.1, interface=0.0, attenuation=0.0):
    def full(value):
        return np.full((400, 300), value, np.float32)

    return Tissue(backscatter=full(level), interface=full(interface), attenuation=full(attenuation))


def speckle(scanner=SCANNER, seed=0, **options):
    return scanner.envelope(tissue(**options), GRID, np.random.default_rng(seed))


def test_speckle_is_fully_developed():
    envelope = np.stack([speckle(seed=s) for s in range(4)])[:, 20:-20, 20:-20]
    assert envelope.mean() / envelope.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.02)
    assert np.sqrt((envelope**2).mean()) == pytest.approx(0.1, rel=0.03)
    # A Rayleigh variable exceeds its root mean square with probability 1/e.
    assert (envelope > 0.1).mean() == pytest.approx(np.exp(-1), abs=0.015)


def test_speckle_power_is_the_same_at_every_depth():
    power = np.stack([speckle(seed=s) for s in range(6)])[:, :, 20:-20] ** 2
    bands = power.reshape(6, 8, 50, -1).mean(axis=(0, 2, 3))[1:-1]
    assert bands == pytest.approx(0.01, rel=0.12)


def test_grain_widens_with_depth_but_not_along_the_beam():
    envelopes = [speckle(seed=s) for s in range(6)]

    def grain(rows, axis):
        """Correlation with the neighbouring sample: higher for coarser grain."""
        parts = [e[rows] - e[rows].mean() for e in envelopes]
        along = [(p[1:] * p[:-1]).mean() if axis == 0 else (p[:, 1:] * p[:, :-1]).mean() for p in parts]
        return np.mean(along) / np.mean([p.var() for p in parts])

    def lateral_mm(rows):
        # The envelope's correlation is close to exp(-d^2 / (2 s^2)); s is then the grain's size.
        step = GRID.radii[rows].mean() * (GRID.angles[1] - GRID.angles[0]) * GRID.spacing_mm
        return step / np.sqrt(-2 * np.log(grain(rows, 1)))

    shallow, deep = slice(100, 180), slice(300, 380)
    assert lateral_mm(deep) > 1.25 * lateral_mm(shallow)
    assert grain(deep, 0) == pytest.approx(grain(shallow, 0), abs=0.04)


def test_attenuation_shadows_only_what_lies_below_it():
    plain, shadowed = tissue(), tissue()
    rows, beams = slice(100, 150), slice(100, 200)
    shadowed.attenuation[rows, beams] = 1.0
    ratio = SCANNER.envelope(shadowed, GRID, np.random.default_rng(1)) / SCANNER.envelope(
        plain, GRID, np.random.default_rng(1)
    )
    loss_db = 50 * GRID.depth_step_mm
    assert ratio[:95].max() == pytest.approx(1, abs=1e-3)
    assert 20 * np.log10(np.median(ratio[160:, 115:185])) == pytest.approx(-loss_db, abs=0.3)
    assert np.median(ratio[160:, :80]) == pytest.approx(1, abs=1e-3)


def test_a_smooth_surface_has_no_speckle():
    envelope = speckle(level=0.0, interface=0.5)
    assert envelope[30:-30, 30:-30] == pytest.approx(0.5, abs=1e-3)


def test_averaging_looks_reduces_speckle_by_the_root_of_their_number():
    one, four = (speckle(replace(SCANNER, looks=n))[20:-20, 20:-20] for n in (1, 4))
    assert (one.std() / one.mean()) / (four.std() / four.mean()) == pytest.approx(2, rel=0.08)


def test_compression_is_linear_in_decibel_before_gamma():
    scanner = Scanner(dynamic_range_db=50, gain_db=0, gamma=1.0)
    values = np.array([[10.0, 1.0, 10**-1.25, 10**-2.5, 0.0]], np.float32)
    assert scanner.compress(values)[0] == pytest.approx([1, 1, 0.5, 0, 0], abs=1e-5)


def test_scan_conversion_puts_each_cell_where_the_sector_says():
    polar = np.zeros((400, 300), np.float32)
    rows, beams = (60, 200, 340), (40, 150, 260)
    for row, beam in zip(rows, beams, strict=True):
        polar[row - 6 : row + 7, beam - 8 : beam + 9] = 1
    frame = scan_convert(polar, SECTOR, GRID, (200, 240)) > 128
    positions = SECTOR.positions(GRID)
    for row, beam in zip(rows, beams, strict=True):
        x, y = positions[:, row, beam]
        window = frame[int(y) - 9 : int(y) + 10, int(x) - 14 : int(x) + 15]
        found = np.argwhere(window).mean(axis=0) + np.array([int(y) - 9, int(x) - 14])
        assert found == pytest.approx((y, x), abs=0.5)


def test_outside_of_the_sector_is_exactly_black_and_inside_is_not():
    frame = scan_convert(np.ones((400, 300), np.float32), SECTOR, GRID, (200, 240))
    y, x = np.mgrid[:200, :240]
    radius = np.hypot(x - 100, y + 80)
    angle = np.arctan2(x - 100, y + 80) - 0.1
    inside = (radius >= 90) & (radius <= 270) & (np.abs(angle) <= 0.5)
    clearly_inside = (radius > 91) & (radius < 269) & (np.abs(angle) < 0.49)
    assert 0.2 < inside.mean() < 0.95
    assert (frame[~inside] == 0).all()
    assert (frame[clearly_inside] == 255).all()


@pytest.mark.parametrize("flip", [False, True])
def test_pose_and_its_inverse_agree(flip):
    pose = Pose(centre=(40.0, 30.0), scale=12.0, angle=0.4, flip=flip)
    points = np.random.default_rng(0).normal(size=(5, 2))
    xy = pose.to_frame(points)
    p, q = pose.to_local(xy.T[:, None].astype(np.float32))
    assert np.stack([p[0], q[0]], axis=1) == pytest.approx(points, abs=1e-5)
    area = np.linalg.det(np.stack([xy[1] - xy[0], xy[2] - xy[0]])) / np.linalg.det(
        np.stack([points[1] - points[0], points[2] - points[0]])
    )
    assert area == pytest.approx(-144 if flip else 144)


def test_smooth_noise_has_unit_variance_everywhere():
    fields = np.stack([smooth_noise((40, 50), (8, 5), np.random.default_rng(s)) for s in range(600)])
    assert np.abs(fields.mean(axis=0)).max() < 0.25
    assert fields.var(axis=0) == pytest.approx(1, abs=0.3)
    steps = np.abs(np.diff(fields, axis=1)).mean()
    assert steps < 0.3
