"""The sector of a recording: followed through other depths and through frames that show none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anatomark.data.media import Media, open_media
from anatomark.data.transforms import Compose
from anatomark.geometry.sector import SectorFit, estimate_sector
from anatomark.inference import sectors
from anatomark.inference.samples import Frame, Prepared, SampleMaker
from anatomark.types import AnatomarkError

H, W = 150, 200
NEAR, FAR = 1.0, 0.7
"""Px per px of the drawing: the scanner shows a deeper region smaller."""


def drawn(scale: float, seed: int) -> np.ndarray:
    """Speckle in a sector whose apex lies above the middle of the frame."""
    y, x = np.indices((H, W))
    radius, angle = np.hypot(x - 99.5, y + 40 * scale), np.arctan2(x - 99.5, y + 40 * scale)
    inside = (radius > 50 * scale) & (radius < 180 * scale) & (np.abs(angle) < 0.5)
    return np.where(inside, np.random.default_rng(seed).integers(40, 255, (H, W)), 0).astype(np.uint8)


def recording(folder: Path, *frames: np.ndarray) -> Media:
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(folder / "scan.tif", save_all=True, append_images=others)
    return open_media(folder / "scan.tif")


def prepared(media: Media) -> list[Prepared]:
    maker = SampleMaker(transform=Compose(steps=[]), frustum="estimate")
    return [maker(Frame(media, number, pixels)) for number, pixels in enumerate(media.frames())]


def scales(frames: list[Prepared]) -> list[float]:
    """The depth that each sector was fitted for, by its opening and its far arc."""
    assert all(one.sample["frustum"]["half_angle"] == pytest.approx(0.5, abs=0.01) for one in frames)
    return [float(one.sample["frustum"]["radii"][1]) / 180 for one in frames]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[SectorFit]:
    """The fits that were made."""
    made: list[SectorFit] = []

    def fit(image: torch.Tensor) -> SectorFit:
        made.append(estimate_sector(image))
        return made[-1]

    monkeypatch.setattr(sectors, "estimate_sector", fit)
    return made


def test_a_depth_change_is_followed_and_nothing_else_is_fitted_again(tmp_path: Path, fits: list[SectorFit]) -> None:
    depths = [NEAR] * 3 + [FAR] * 3 + [NEAR] * 2
    found = prepared(recording(tmp_path, *(drawn(depth, seed) for seed, depth in enumerate(depths))))
    assert scales(found) == pytest.approx(depths, abs=0.02)
    assert len(fits) == 3
    assert all(one.sector_quality is not None and one.sector_quality > 0.9 for one in found)


def test_a_small_change_of_depth_is_seen(tmp_path: Path) -> None:
    found = prepared(recording(tmp_path, drawn(1.0, 0), drawn(0.97, 1)))
    assert scales(found) == pytest.approx([1.0, 0.97], abs=0.01)


def test_titles_take_the_sector_before_them_or_the_first(tmp_path: Path, fits: list[SectorFit]) -> None:
    title = np.zeros((H, W), dtype=np.uint8)
    title[60:80, 20:180] = 255
    found = prepared(recording(tmp_path, title, 0 * title, drawn(FAR, 0), title, drawn(FAR, 1), drawn(NEAR, 2), title))
    assert scales(found) == pytest.approx([FAR] * 5 + [NEAR] * 2, abs=0.02)
    assert len(fits) == 2
    qualities = [one.sector_quality or 0.0 for one in found]
    assert max(qualities[index] for index in (0, 1, 3, 6)) < 0.3
    assert min(qualities[index] for index in (2, 4, 5)) > 0.9


def test_a_recording_without_any_sector_is_refused(tmp_path: Path) -> None:
    media = recording(tmp_path, *np.zeros((3, H, W), dtype=np.uint8))
    with pytest.raises(
        AnatomarkError,
        match=r"scan\.tif shows no sector .*\(frame 0: no sector is to be seen .*\); leave it out, or set",
    ):
        prepared(media)


def test_every_image_has_its_own(tmp_path: Path, fits: list[SectorFit]) -> None:
    maker = SampleMaker(transform=Compose(steps=[]), frustum="estimate")
    found = []
    for name, depth in (("a", NEAR), ("b", NEAR), ("c", FAR)):
        Image.fromarray(drawn(depth, 0)).save(tmp_path / f"{name}.png")
        media = open_media(tmp_path / f"{name}.png")
        found += [maker(Frame(media, 0, pixels)) for pixels in media.frames()]
    assert scales(found) == pytest.approx([NEAR, NEAR, FAR], abs=0.02)
    assert [one.sector_quality for one in found] == [fit.quality for fit in fits]
    Image.fromarray(0 * drawn(NEAR, 0)).save(tmp_path / "black.png")
    with pytest.raises(AnatomarkError, match=r"black\.png shows no sector"):
        prepared(open_media(tmp_path / "black.png"))


def test_without_estimates_there_is_no_sector(tmp_path: Path) -> None:
    Image.fromarray(drawn(NEAR, 0)).save(tmp_path / "a.png")
    media = open_media(tmp_path / "a.png")
    (pixels,) = media.frames()
    sample, quality = SampleMaker(transform=Compose(steps=[]), frustum="annotated")(Frame(media, 0, pixels))
    assert quality is None
    assert "frustum" not in sample
