"""Masks are read with their frame and stay on the structure wherever the frame goes."""

import math
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from datamodule_fixture import keys, module, ready, record
from PIL import Image
from skimage.draw import ellipse as draw_ellipse

from anatomark.data import frame_masks
from anatomark.data.datamodules import collate
from anatomark.data.frame_masks import EllipseMask, MaskFile, read_nonzero
from anatomark.data.frames import FrameDataset
from anatomark.data.frames_folder import read_frames
from anatomark.data.frames_writer import write_frames
from anatomark.data.moving import move
from anatomark.data.polar import ToPolar
from anatomark.data.transforms import (
    Compose,
    Crop,
    Fit,
    RandomCrop,
    RandomFlip,
    RandomGamma,
    RandomSimilarity,
    Spatial,
    Standardise,
    Stretch,
)
from anatomark.geometry.polar import points_to_cartesian
from anatomark.geometry.similarity import apply_transform, invert
from anatomark.types import AnatomarkError, Sample
from frames_fixture import GAZE, SIZE, make_frame

HEIGHT, WIDTH = 90, 120
STRUCTURE = np.zeros((32, 40), bool)
STRUCTURE[5:20, 8:30] = True


def saved(folder: Path, pixels: np.ndarray, name: str = "mask.png") -> MaskFile:
    iio.imwrite(folder / name, pixels)
    return MaskFile(file=folder / name)


@pytest.mark.parametrize(
    "pixels",
    [
        STRUCTURE.astype(np.uint8),
        STRUCTURE.astype(np.uint8) * 255,
        STRUCTURE.astype(np.uint16),
        np.stack([0 * STRUCTURE, STRUCTURE, 0 * STRUCTURE], -1).astype(np.uint8),
        np.stack([*[STRUCTURE] * 3, np.ones_like(STRUCTURE)], -1).astype(np.uint8) * 255,
    ],
    ids=["one", "white", "one of 65535", "green", "opaque"],
)
def test_what_is_not_black_is_the_structure(tmp_path: Path, pixels: np.ndarray) -> None:
    assert np.array_equal(saved(tmp_path, pixels)((40, 32)), STRUCTURE)


def test_palettes_and_black_and_white_files_are_masks(tmp_path: Path) -> None:
    palette = Image.fromarray(STRUCTURE.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 128])
    for image in (palette, Image.fromarray(STRUCTURE)):
        image.save(tmp_path / "mask.png")
        assert np.array_equal(read_nonzero(tmp_path / "mask.png"), STRUCTURE)


def test_masks_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnatomarkError, match=r"mask\.png is 40 x 32 px but its frame 41 x 32; draw the mask on the"):
        saved(tmp_path, STRUCTURE.astype(np.uint8))((41, 32))
    with pytest.raises(AnatomarkError, match=r"real\.tiff holds float32 of shape \(32, 40\); save masks as one grey"):
        saved(tmp_path, STRUCTURE.astype(np.float32), "real.tiff")((40, 32))
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name in ("broken.png", "none.png"):
        with pytest.raises(AnatomarkError, match=f"{name}: not a readable image"):
            MaskFile(file=tmp_path / name)((40, 32))


def test_a_sample_has_the_mask_of_its_frame(tmp_path: Path) -> None:
    masked = record(tmp_path, "a", mask=saved(tmp_path, STRUCTURE.astype(np.uint8)))
    empty = record(tmp_path, "b", mask=saved(tmp_path, np.zeros((32, 40), np.uint8), "empty.png"))
    samples = list(FrameDataset([masked, empty, record(tmp_path, "c")]))
    assert samples[0]["mask"].dtype == torch.float32
    assert np.array_equal(samples[0]["mask"][0].numpy(), STRUCTURE)
    assert samples[1]["mask"].shape == (1, 32, 40)
    assert not samples[1]["mask"].any()  # the frame does not show the structure
    assert "mask" not in samples[2]  # nobody looked
    assert torch.equal(collate(samples[:2])["mask"], torch.stack([sample["mask"] for sample in samples[:2]]))
    assert "mask" not in collate(samples)


def test_masks_are_read_when_their_frame_is_and_once_if_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read = frame_masks.read_image
    monkeypatch.setattr(frame_masks, "read_image", lambda file: reads.append(file) or read(file))
    masked = record(tmp_path, "a", mask=saved(tmp_path, STRUCTURE.astype(np.uint8)))
    for cache, expected in ((False, 2), (True, 1)):
        reads.clear()
        data = FrameDataset([masked], cache=cache)
        assert reads == []
        assert torch.equal(data[0]["mask"], data[0]["mask"])
        assert len(reads) == expected


def shape(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How far inside (positive) positions lie, px: an ellipse beside the middle."""
    return 25 * (1 - torch.hypot((x - 55) / 25, (y - 40) / 18))


def sample_with_a_shape() -> Sample:
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    mask = (shape(x, y) >= 0).float()[None]
    return {
        "key": "a",
        "subject": "s",
        "image": mask,
        "spacing_mm": torch.ones(2),
        "mask": mask,
        "points": {"first": torch.zeros(2), "x": torch.tensor([1.0, 0]), "y": torch.tensor([0, 1.0])},
        "frustum": {
            "apex": torch.tensor([60.0, -20.0]),
            "radii": torch.tensor([20.0, 110.0]),
            "half_angle": 0.6,
            "tilt": 0.05,
        },
    }


STEPS = {
    "flip": [RandomFlip(p=1.0)],
    "fit larger": [Fit(height=150, width=170)],
    "fit smaller": [Fit(height=40, width=50)],
    "stretch": [Stretch(height=100, width=64)],
    "crop": [RandomCrop(min_side=0.6, max_side=0.9)],
    "fixed crop": [Crop(top=20, left=40, height=50, width=60)],
    "rotate and scale": [RandomSimilarity(degrees=40, scale=0.3)],
    "all": [RandomCrop(), RandomFlip(p=1.0), RandomSimilarity(degrees=20, scale=0.2), Fit(height=64, width=80)],
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_mask_stays_with_its_shape(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    moved = Compose(steps=[Spatial(steps=STEPS[name]), RandomGamma(), Standardise()])(sample_with_a_shape())
    mask = moved["mask"]
    assert mask.shape == moved["image"].shape
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    # Where the pixels of the result came from, by the points that moved along.
    first, x, y = (moved["points"][point].double() for point in ("first", "x", "y"))
    matrix = torch.stack([x - first, y - first, first], dim=1)
    rows, columns = torch.meshgrid(*(torch.arange(n).double() for n in mask.shape[1:]), indexing="ij")
    inside = shape(*apply_transform(invert(matrix), torch.stack([columns, rows], -1).reshape(-1, 2)).unbind(-1))
    pixel = float(torch.linalg.svdvals(matrix[:, :2]).min())
    clear = inside.abs() > 1.2 / min(pixel, 1)  # farther from the outline than a pixel of either image
    assert clear.double().mean() > 0.7
    assert torch.equal(mask.flatten()[clear], (inside[clear] > 0).float())


def test_a_mask_stays_with_its_shape_in_polar_coordinates() -> None:
    polar = ToPolar(height=80, width=70)(sample_with_a_shape())
    rows, columns = torch.meshgrid(torch.arange(80.0), torch.arange(70.0), indexing="ij")
    places = points_to_cartesian(torch.stack([columns, rows], -1).reshape(1, -1, 2), [polar["polar"]])[0]
    inside = shape(*places.unbind(-1))
    clear = inside.abs() > 1.5
    assert set(polar["mask"].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(polar["mask"].flatten()[clear], (inside[clear] > 0).float())
    assert torch.equal(polar["cartesian"]["mask"], sample_with_a_shape()["mask"])


def test_moves_by_whole_pixels_are_exact_and_leave_the_input_alone() -> None:
    sample = sample_with_a_shape()
    flipped = Spatial(steps=[RandomFlip(p=1.0)])(sample)["mask"]
    assert torch.equal(flipped, sample["mask"].flip(-1))
    assert torch.equal(Spatial(steps=STEPS["fixed crop"])(sample)["mask"], sample["mask"][:, 20:70, 40:100])
    far = torch.tensor([[1, 0, 500], [0, 1, 0]], dtype=torch.float64)
    assert not move(sample, far, (HEIGHT, WIDTH))["mask"].any()
    assert torch.equal(sample["mask"], sample_with_a_shape()["mask"])


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, math.pi / 2])
def test_the_inside_of_an_ellipse(angle: float) -> None:
    ellipse = {"centre": torch.tensor([60.3, 41.6]), "semi_axes": torch.tensor([30.0, 17.0]), "angle": angle}
    expected = np.zeros((HEIGHT, WIDTH), bool)
    # Its first radius lies along rows, and it turns the other way round.
    expected[draw_ellipse(41.6, 60.3, 17, 30, shape=expected.shape, rotation=-angle)] = True
    found = EllipseMask(ellipse=ellipse)((WIDTH, HEIGHT))
    assert np.count_nonzero(found != expected) <= 2  # on the very outline
    assert found.sum() == pytest.approx(math.pi * 30 * 17, rel=0.01)


def test_masks_are_written_and_read_back(tmp_path: Path) -> None:
    made = [make_frame(number, "TV") for number in range(3)]
    structure = np.zeros(SIZE[::-1], bool)
    structure[10:30, 20:50] = True
    masks = [structure, None, np.zeros_like(structure)]
    write_frames(tmp_path / "set", [replace(frame, mask=mask) for frame, mask in zip(made, masks, strict=True)])
    read = read_frames(tmp_path / "set", GAZE)
    assert [record.mask is None for record in read] == [False, True, False]
    for sample, mask in zip(FrameDataset(read), masks, strict=True):
        assert ("mask" in sample) == (mask is not None)
        assert mask is None or np.array_equal(sample["mask"][0].numpy(), mask)
    assert {path.name for path in (tmp_path / "set" / "masks").iterdir()} == {"s0_TV.png", "s2_TV.png"}


def test_frames_without_a_mask_can_be_left_out_without_changing_the_split(tmp_path: Path) -> None:
    mask = saved(tmp_path, STRUCTURE.astype(np.uint8))
    records = [record(tmp_path, f"f{n:02}", mask=mask if n % 3 else None) for n in range(18)]
    every, masked = ready(records), ready(records, masked_only=True)
    for split, part in every.records.items():
        assert list(masked.records[split]) == [one for one in part if one.mask is not None]
    assert all("mask" in batch for batch in masked.train_dataloader())
    assert len(keys(every.test_dataloader())) == 6
    with pytest.raises(AnatomarkError, match=r"no frame of listed has a mask; add masks, or set data\.masked_only=f"):
        module([replace(one, mask=None) for one in records], masked_only=True).setup()
