"""The frame data set: pixels, sizes, viewings, caching, unreadable files."""

from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from colour_spaces import COLOUR, write_cmyk, write_lab, write_palette, write_ycbcr
from PIL import Image

from anatomark.data.frame_masks import read_nonzero
from anatomark.data.frames import FrameDataset, FrameRecord, read_grey
from anatomark.data.pixels import image_size
from anatomark.types import AnatomarkError

GREY = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)


def saved(folder, pixels, name="frame.png"):
    iio.imwrite(folder / name, pixels)
    return FrameRecord(key="a", subject="s", file=folder / name)


@pytest.mark.parametrize(
    "pixels",
    [
        GREY,
        np.repeat(GREY[..., None], 3, axis=2),
        np.dstack([GREY, GREY, GREY, 255 - GREY]),
        np.dstack([GREY, 255 - GREY]),
        GREY.astype(np.uint16) * 257,
    ],
    ids=["grey", "rgb", "rgba", "grey with alpha", "16 bit"],
)
def test_every_pixel_format_gives_the_same_grey(tmp_path, pixels):
    (sample,) = FrameDataset([saved(tmp_path, pixels)])
    assert sample["image"].dtype == torch.float32
    torch.testing.assert_close(sample["image"], torch.from_numpy(GREY)[None] / 255, rtol=0, atol=1e-7)


def test_tiff_jpeg_palette_and_black_and_white(tmp_path):
    assert np.array_equal(read_grey(saved(tmp_path, GREY, "frame.tif")), GREY)
    smooth = np.tile(np.arange(60, 180, 4, dtype=np.uint8), (20, 1))
    assert np.abs(read_grey(saved(tmp_path, smooth, "frame.jpg")).astype(int) - smooth).max() <= 3
    assert set(read_grey(saved(tmp_path, GREY > 128)).ravel().tolist()) == {0, 255}


def test_colours_are_averaged(tmp_path):
    colour = np.zeros((4, 5, 3), dtype=np.uint8)
    colour[...] = (30, 60, 240)
    assert (read_grey(saved(tmp_path, colour)) == 110).all()


@pytest.mark.parametrize("write", [write_cmyk, write_ycbcr, write_lab, write_palette])
def test_other_colour_spaces_become_rgb(tmp_path, write):
    record = FrameRecord(key="a", subject="s", file=write(tmp_path / "frame.tif"))
    assert np.abs(read_grey(record).astype(float) - COLOUR.mean(axis=-1)).mean() <= 2  # spaces round differently


def test_black_ink_everywhere_but_on_the_structure_is_a_mask(tmp_path):
    shown = GREY > 128
    Image.fromarray(shown.astype(np.uint8) * 255).convert("CMYK").save(tmp_path / "mask.tif")
    assert np.array_equal(read_nonzero(tmp_path / "mask.tif"), shown)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_in_either_byte_order(tmp_path, order):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "frame.tif", GREY.astype(np.uint16) * 257, byteorder=order)
    record = FrameRecord(key="a", subject="s", file=tmp_path / "frame.tif")
    assert np.array_equal(read_grey(record), GREY)
    assert np.array_equal(read_nonzero(record.file), GREY > 0)


def test_size_is_read_from_the_head_of_the_file(tmp_path):
    assert image_size(saved(tmp_path, GREY).file) == (30, 20)


def test_floating_point_image_is_refused_instead_of_rounded(tmp_path):
    record = saved(tmp_path, (GREY / 255).astype(np.float32), "frame.tif")
    with pytest.raises(AnatomarkError, match=r"frame.tif holds float32 .* 8 or 16 bits"):
        read_grey(record)


PNG = iio.imwrite("<bytes>", GREY, extension=".png")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("text.png", b"not an image at all"),
        ("short.png", PNG[: len(PNG) // 2]),
        ("zeros.png", PNG[:60] + bytes(40) + PNG[100:]),
        ("head.tif", b"II*\0" + bytes(50)),
        ("half.jpg", iio.imwrite("<bytes>", GREY, extension=".jpg")[:200]),
    ],
)
def test_unreadable_image_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    dataset = FrameDataset([FrameRecord(key="a", subject="s", file=tmp_path / name)])
    with pytest.raises(AnatomarkError, match=f"{name}: not a readable image; replace the file"):
        dataset[0]


def test_missing_image_is_named(tmp_path):
    with pytest.raises(AnatomarkError, match=r"gone.png: not a readable image"):
        read_grey(FrameRecord(key="a", subject="s", file=tmp_path / "gone.png"))


def test_image_of_another_size_than_its_annotations(tmp_path):
    record = replace(saved(tmp_path, GREY), size=(20, 30))
    with pytest.raises(AnatomarkError, match=r"frame.png is 30 x 20 px .* made for 20 x 30"):
        FrameDataset([record])[0]
    assert FrameDataset([replace(record, size=(30, 20))])[0]["image"].shape == (1, 20, 30)


def test_absent_annotations_are_absent_keys(tmp_path):
    sample = FrameDataset([saved(tmp_path, GREY)])[0]
    assert set(sample) == {"key", "subject", "image", "spacing_mm"}
    assert sample["spacing_mm"].isnan().all()


def test_annotations_arrive_unchanged(tmp_path):
    record = replace(
        saved(tmp_path, GREY),
        split="val",
        plane="TV",
        label="b",
        spacing_mm=(0.5, 0.25),
        points={"csp": torch.tensor([3.0, 4.0])},
        boxes={"csp": torch.tensor([1.0, 2.0, 5.0, 6.0])},
        ellipse={"centre": torch.tensor([9.0, 8.0]), "semi_axes": torch.tensor([7.0, 5.0]), "angle": 0.1},
        frustum={
            "apex": torch.zeros(2),
            "radii": torch.tensor([1.0, 2.0]),
            "half_angle": 0.5,
            "tilt": 0.0,
        },
    )
    sample = FrameDataset([record], classes=["a", "b"])[0]
    assert (sample["split"], sample["plane"], sample["label"]) == ("val", "TV", 1)
    assert "label" not in FrameDataset([record])[0]
    assert sample["spacing_mm"].tolist() == [0.5, 0.25]
    for name in ("points", "boxes", "ellipse", "frustum"):
        torch.testing.assert_close(sample[name], getattr(record, name), rtol=0, atol=0)


def viewed(folder):
    viewings = tuple(torch.tensor([[float(v), n, 100.0] for n in range(v + 1)]) for v in range(4))
    return replace(saved(folder, GREY), viewings=viewings)


def test_all_viewings_together_are_their_concatenation(tmp_path):
    record = viewed(tmp_path)
    assert torch.equal(FrameDataset([record])[0]["fixations"], torch.cat(record.viewings))


def test_single_viewing_is_one_whole_viewing_drawn_from_torchs_stream(tmp_path):
    record = viewed(tmp_path)
    dataset = FrameDataset([record], single_viewing=True)
    torch.manual_seed(0)
    drawn = [dataset[0]["fixations"] for _ in range(40)]
    chosen = [int(rows[0, 0]) for rows in drawn]
    assert set(chosen) == {0, 1, 2, 3}
    assert all(torch.equal(rows, record.viewings[v]) for rows, v in zip(drawn, chosen, strict=True))
    torch.manual_seed(0)
    assert [int(dataset[0]["fixations"][0, 0]) for _ in range(40)] == chosen


def test_cache_reads_a_file_once_and_changes_nothing(tmp_path):
    record = saved(tmp_path, GREY)
    cached, fresh = FrameDataset([record], cache=True), FrameDataset([record])
    assert torch.equal(cached[0]["image"], fresh[0]["image"])
    cached[0]["image"].zero_()
    record.file.unlink()
    torch.testing.assert_close(cached[0]["image"], torch.from_numpy(GREY)[None] / 255)
    with pytest.raises(AnatomarkError, match=str(Path("frame.png"))):
        fresh[0]


def test_transform_gets_the_sample(tmp_path):
    dataset = FrameDataset([saved(tmp_path, GREY)], transform=lambda s: {**s, "image": 1 - s["image"]})
    torch.testing.assert_close(dataset[0]["image"], 1 - torch.from_numpy(GREY)[None] / 255)
