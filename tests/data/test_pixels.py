"""Pixels of image files: upright, bright is bright, grey is the mean; what is damaged is refused."""

import struct
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from refusal import refused

from anatomark.data.media import open_media
from anatomark.data.pixels import image_size, read_image, to_grey

GREY = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
WIDTH, PHOTOMETRIC_INTERPRETATION = 256, 262  # tags of TIFF


def write_oriented(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def write_damaged_tiff(path: Path, tag: int, *, at: int, value: int) -> Path:
    """Two pages, the last with another value in the entry of a tag: its number is at 0, how many values it has at 4."""
    page = Image.fromarray(GREY)
    page.save(path, save_all=True, append_images=[page])
    content = bytearray(path.read_bytes())
    _, following = tiff_directory(content, struct.unpack_from("<I", content, 4)[0])
    tags, _ = tiff_directory(content, following)
    struct.pack_into("<H", content, tags[tag] + at, value)
    path.write_bytes(content)
    return path


def tiff_directory(content: bytes, start: int) -> tuple[dict[int, int], int]:
    """Where the entry of each tag of a page starts, and the directory of the page that follows."""
    (n_tags,) = struct.unpack_from("<H", content, start)
    end = start + 2 + 12 * n_tags
    tags = {struct.unpack_from("<H", content, place)[0]: place for place in range(start + 2, end, 12)}
    return tags, struct.unpack_from("<I", content, end)[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY.astype(np.uint16) * 257], ids=["grey", "colour", "16 bits"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_images_are_turned_upright(tmp_path: Path, suffix: str, pixels: np.ndarray, orientation: int) -> None:
    path = write_oriented(tmp_path / f"a{suffix}", pixels, orientation)
    with Image.open(write_oriented(tmp_path / "expected.png", pixels, orientation)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[1::-1] == ((30, 20) if orientation < 5 else (20, 30))


def test_a_photograph_taken_upright_is_not_read_on_its_side(tmp_path: Path) -> None:
    on_its_side = np.zeros((32, 64), dtype=np.uint8)
    on_its_side[:16] = 200  # of the sensor, whose first row is the right of the scene
    path = write_oriented(tmp_path / "a.jpg", on_its_side, 6)
    assert image_size(path) == (32, 64)
    (frame,) = open_media(path).frames()
    assert frame.shape == (64, 32, 1)
    assert (frame[:, 20:] > 150).all()
    assert (frame[:, :12] < 50).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_with_white_as_0_is_inverted(tmp_path: Path, dtype: type) -> None:
    tifffile = pytest.importorskip("tifffile")
    pages = np.stack([GREY, GREY[::-1]]).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="miniswhite")
    white = np.iinfo(dtype).max
    assert np.array_equal(read_image(tmp_path / "a.tif"), white - pages[0])
    tifffile.imwrite(tmp_path / "b.tif", pages * dtype(white // 255), photometric="miniswhite")
    assert np.array_equal(np.stack(list(open_media(tmp_path / "b.tif").frames()))[..., 0], 255 - pages)


def test_grey_is_the_mean_of_the_channels() -> None:
    sums = np.arange(766)
    red = np.minimum(sums, 255)
    green = np.minimum(sums - red, 255)
    colour = np.stack([red, green, sums - red - green], axis=-1)[None].astype(np.uint8)
    assert np.array_equal(to_grey(colour), np.round(colour.mean(axis=-1)).astype(np.uint8))
    assert np.array_equal(to_grey(COLOUR), np.round(COLOUR.mean(axis=-1)).astype(np.uint8))
    assert np.array_equal(to_grey(GREY[..., None]), GREY)


@pytest.mark.parametrize(("tag", "at", "value"), [(WIDTH, 0, 65000), (PHOTOMETRIC_INTERPRETATION, 4, 2)])
def test_a_page_with_damaged_tags_is_refused(tmp_path: Path, tag: int, at: int, value: int) -> None:
    path = write_damaged_tiff(tmp_path / "a.tif", tag, at=at, value=value)
    assert np.array_equal(read_image(path), GREY)  # the first page
    assert f"{path}: not a readable image" in refused(lambda: list(open_media(path).frames()))


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    content = bytearray(iio.imwrite("<bytes>", GREY, extension=".bmp"))
    struct.pack_into("<2i", content, 18, 20_000, 20_000)  # its width and height
    path.write_bytes(content)
    for read in (read_image, image_size, open_media):
        message = refused(lambda read=read: read(path))
        assert f"{path} has more pixels than an image may have" in message
        assert "scale it down" in message
