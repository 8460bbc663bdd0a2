"""Media: every format gives the same pixels, frame by frame; what is damaged or absent is refused."""

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from colour_spaces import COLOUR as BLOCKS
from colour_spaces import write_cmyk, write_lab, write_palette, write_ycbcr
from PIL import Image
from refusal import refused

from anatomark.data.media import find_media, name_media, open_media
from dicom_fixture import write_dicom

GREY = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
STACK = np.stack([GREY, GREY[::-1], GREY[:, ::-1]])
COLOUR = np.stack([STACK, 255 - STACK, STACK // 2], axis=-1)


def frames(path: Path) -> np.ndarray:
    media = open_media(path)
    read = list(media.frames())
    assert len(read) == media.n_frames
    return np.stack(read)


def write_image(path: Path, *pages: np.ndarray) -> Path:
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(path, **({"save_all": True, "append_images": others} if others else {}))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif"])
def test_images_keep_their_pixels(tmp_path: Path, name: str) -> None:
    assert np.array_equal(frames(write_image(tmp_path / name, GREY)), GREY[None, ..., None])
    assert np.array_equal(frames(write_image(tmp_path / name, COLOUR[0])), COLOUR[:1])


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(60, 180, 4, dtype=np.uint8), (20, 1))
    assert np.abs(frames(write_image(tmp_path / "a.jpeg", smooth))[0, ..., 0].astype(int) - smooth).max() <= 3


def test_every_page_of_a_tiff_is_a_frame(tmp_path: Path) -> None:
    assert np.array_equal(frames(write_image(tmp_path / "a.tiff", *STACK)), STACK[..., None])
    assert np.array_equal(frames(write_image(tmp_path / "b.tif", *COLOUR)), COLOUR)


@pytest.mark.parametrize("write", [write_cmyk, write_ycbcr, write_lab, write_palette])
def test_pages_of_other_colour_spaces_become_rgb(tmp_path: Path, write: Callable[..., Path]) -> None:
    pages = np.stack([BLOCKS, BLOCKS[::-1]])
    read = frames(write(tmp_path / "a.tif", *pages[1:]))
    assert np.abs(read.astype(int) - pages).mean() <= 2  # spaces round differently


def test_a_jpeg_of_inks_becomes_rgb(tmp_path: Path) -> None:
    assert np.abs(frames(write_cmyk(tmp_path / "a.jpg"))[0].astype(int) - BLOCKS).mean() <= 3


def test_pages_of_16_bits_in_either_byte_order(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for order in "<>":
        tifffile.imwrite(tmp_path / "a.tif", STACK.astype(np.uint16) * 257, byteorder=order, photometric="minisblack")
        assert np.array_equal(frames(tmp_path / "a.tif")[..., 0], STACK)


def test_16_bits_and_transparency(tmp_path: Path) -> None:
    wide = write_image(tmp_path / "a.png", GREY.astype(np.uint16) * 257)
    assert np.array_equal(frames(wide)[0, ..., 0], GREY)
    clear = write_image(tmp_path / "b.png", np.dstack([COLOUR[0], GREY]))
    assert np.array_equal(frames(clear), COLOUR[:1])


@pytest.mark.parametrize("rle", [False, True])
def test_dicom_single_and_multi_frame(tmp_path: Path, rle: bool) -> None:
    path = tmp_path / "a.dcm"
    assert np.array_equal(frames(write_dicom(path, STACK[:1], rle=rle)), STACK[:1, ..., None])
    assert np.array_equal(frames(write_dicom(path, STACK, rle=rle)), STACK[..., None])
    assert np.array_equal(frames(write_dicom(path, COLOUR, rle=rle)), COLOUR)


def test_dicom_without_suffix(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "IM_0001", STACK)
    assert find_media(tmp_path) == [path]
    assert len(frames(path)) == 3


def test_dicom_luminance_and_colour_difference_become_rgb(tmp_path: Path) -> None:
    ybr = np.stack([np.asarray(Image.fromarray(one).convert("YCbCr")) for one in COLOUR])
    read = frames(write_dicom(tmp_path / "a.dcm", ybr, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(read.astype(int) - COLOUR).max() <= 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_dicom_with_white_as_0_is_inverted(tmp_path: Path, dtype: type) -> None:
    pixels = STACK.astype(dtype) * (np.iinfo(dtype).max // 255)
    read = frames(write_dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1"))
    assert STACK.min() == 0
    assert STACK.max() == 255
    assert np.array_equal(read[..., 0], 255 - STACK)


def test_dicom_of_16_bits_goes_by_its_window_or_its_range(tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.uint16).reshape(1, 20, 30)
    whole = frames(write_dicom(tmp_path / "a.dcm", values))[0, ..., 0]
    assert np.abs(whole - values[0] * (255 / 599)).max() <= 0.5
    window = {"WindowCenter": [300.5, 7], "WindowWidth": [201, 7]}
    shown = frames(write_dicom(tmp_path / "b.dcm", values, **window))[0, ..., 0]
    # 200 is the last black value and 400 the first white one.
    assert np.abs(shown - ((values[0].astype(float) - 200) / 200 * 255).clip(0, 255)).max() <= 0.5
    rescaled = {"WindowCenter": 600.5, "WindowWidth": 401, "RescaleSlope": 2, "RescaleIntercept": 0}
    assert np.abs(frames(write_dicom(tmp_path / "c.dcm", values, **rescaled))[0, ..., 0].astype(int) - shown).max() <= 1
    assert not frames(write_dicom(tmp_path / "d.dcm", np.full((1, 4, 4), 9, dtype=np.uint16))).any()


def test_dicom_says_its_pixel_size(tmp_path: Path) -> None:
    assert open_media(write_dicom(tmp_path / "a.dcm", STACK)).spacing_mm is None
    spaced = write_dicom(
        tmp_path / "b.dcm", STACK[:1], PixelSpacing=[0.2, 0.1], SOPClassUID="1.2.840.10008.5.1.4.1.1.7"
    )
    assert open_media(spaced).spacing_mm == pytest.approx((0.1, 0.2))  # the file gives rows first


def write_video(path: Path, n_frames: int = 20, size: tuple[int, int] = (64, 48), *, codec: str = "libx264") -> Path:
    """A bright square that moves 2 px a frame over noise."""
    import av

    draw = np.random.default_rng(0)
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(n_frames):
            pixels = draw.integers(0, 40, (size[1], size[0], 1), dtype=np.uint8).repeat(3, axis=2)
            pixels[16:32, 2 * number : 2 * number + 16] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mov", "libx264")])
def test_videos_come_frame_by_frame(tmp_path: Path, name: str, codec: str) -> None:
    pytest.importorskip("av")
    path = write_video(tmp_path / name, codec=codec)
    read = frames(path)
    assert read.shape == (20, 48, 64, 3)
    left = [int(np.argmax(frame[24, :, 0] > 130)) for frame in read]
    assert left == [2 * number for number in range(20)]
    assert open_media(path).rate == Fraction(30000, 1001)


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_a_written_video_keeps_rate_size_and_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    pytest.importorskip("av")
    from anatomark.data.video import VideoWriter

    smooth = np.add.outer(np.arange(size[1]), np.arange(size[0]))[..., None].repeat(3, axis=2).astype(np.uint8)
    with VideoWriter(tmp_path / "a.mp4", rate=Fraction(25), size=size) as writer:
        for number in range(5):
            writer.write(smooth + np.uint8(10 * number))
    read = frames(tmp_path / "a.mp4")
    assert read.shape == (5, size[1], size[0], 3)
    assert open_media(tmp_path / "a.mp4").rate == 25
    assert max(np.abs(read[n].astype(int) - smooth - 10 * n).mean() for n in range(5)) < 3


def test_a_video_that_ends_early_names_the_frame(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name, codec in (("a.mp4", "libx264"), ("a.avi", "mjpeg")):
        path = write_video(tmp_path / name, codec=codec) if codec != "mjpeg" else write_mjpeg(tmp_path / name)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 3 // 4])
        video, seen = open_media(path), []
        message = refused(lambda video=video, seen=seen: seen.extend(video.frames()))
        assert 0 < len(seen) < video.n_frames == 20
        assert f"{path}, frame {len(seen)} is damaged" in message or f"{path} ends before frame {len(seen)}" in message


def write_mjpeg(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(20):
            pixels = np.full((48, 64, 3), 10 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_damaged_video_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = write_video(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(content)
    assert "is damaged" in refused(lambda: list(open_media(path).frames()))
    path.write_bytes(b"no video at all" * 100)
    assert f"{path}: no readable video" in refused(lambda: open_media(path))


def test_videos_need_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    monkeypatch.setitem(sys.modules, "av", None)
    assert '".[video]"' in refused(lambda: open_media(path))


def test_dicom_without_pixel_data_or_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", None)
    assert f"{path}: no DICOM file with readable pixel data" in refused(lambda: open_media(path))
    write_dicom(path, STACK)
    path.write_bytes(path.read_bytes()[:1500])
    assert f"{path}: no DICOM file with readable pixel data" in refused(lambda: frames(path))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_cut_image_is_refused(tmp_path: Path, name: str) -> None:
    path = write_image(tmp_path / name, GREY)
    path.write_bytes(path.read_bytes()[:300])
    assert f"{path}: not a readable image" in refused(lambda: frames(path))


def test_an_input_may_be_a_file_or_a_mixed_folder(tmp_path: Path) -> None:
    image, dicom = write_image(tmp_path / "b.png", GREY), write_dicom(tmp_path / "a.dcm", STACK)
    video = tmp_path / "c.mp4"
    video.touch()
    for other in (".hidden.png", "frames.csv", "notes"):
        (tmp_path / other).write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert find_media(tmp_path) == [dicom, image, video]
    assert find_media(image) == [image]


def test_an_input_without_frames_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path} holds no frames" in refused(lambda: find_media(tmp_path))
    assert "does not exist" in refused(lambda: find_media(tmp_path / "a.png"))
    (tmp_path / "a.xyz").touch()
    message = refused(lambda: find_media(tmp_path / "a.xyz"))
    assert ".xyz" in message
    assert ".mp4" in message


def test_a_folder_is_searched_with_all_below_it(tmp_path: Path) -> None:
    series, hidden = tmp_path / "study" / "series", tmp_path / ".cache"
    series.mkdir(parents=True)
    hidden.mkdir()
    found = [write_image(tmp_path / "a.png", GREY), write_image(tmp_path / "study" / "a.png", GREY)]
    found.append(write_dicom(series / "IM_0001", STACK))
    write_dicom(tmp_path / "study" / "DICOMDIR", STACK)
    write_image(hidden / "b.png", GREY)
    assert find_media(tmp_path) == sorted(found)
    (tmp_path / "linked").symlink_to(series)
    assert find_media(tmp_path) == sorted([*found, tmp_path / "linked" / "IM_0001"])
    assert list(name_media(found, tmp_path).values()) == ["a", "study/a", "study/series/IM_0001"]


def test_a_folder_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", GREY)
    (tmp_path / "again").symlink_to(tmp_path)
    assert f"{tmp_path / 'again'} leads back" in refused(lambda: find_media(tmp_path))


def test_names_tell_files_apart() -> None:
    root = Path("scans")
    names = name_media([root / "a.png", root / "A.dcm", root / "b.mp4", root / "b" / "a.png"], root)
    assert list(names.values()) == ["a.png", "A.dcm", "b", "b/a"]
    assert name_media([root / "c.jpg", root / "c.png" / "d.png"], root)[root / "c.jpg"] == "c.jpg"
    names = name_media([root / "c.png", root / "c.jpg", root / "c.png.png"], root)
    assert list(names.values()) == ["c.png", "c.jpg", "c.png.png"]
