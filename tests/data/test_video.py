"""Videos: upright, and whole although frames were dropped while they were recorded."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from refusal import refused

from anatomark.data.video import VideoFile

pytest.importorskip("av")

DROPPED = [0, 1, 2, 5, 6, 9, 10, 11, 14, 15, 16, 19]  # numbers of the frames that were kept
MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""a, b, c, d by degrees clockwise: (x, y) is shown at (a x + c y, b x + d y); ISO/IEC 14496-12, 6.2.2."""


def write_video(path: Path, numbers: Sequence[int], *, codec: str, b_frames: int = 0) -> Path:
    """Frames with a bright first quarter, as if others had been dropped between them."""
    import av

    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[:24, :32] = 220
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.max_b_frames = b_frames
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("codec", "b_frames"), [("mjpeg", 0), ("mpeg4", 0), ("mpeg4", 2), ("libx264", 2)])
def test_an_avi_with_dropped_frames_is_whole(tmp_path: Path, codec: str, b_frames: int) -> None:
    video = VideoFile(write_video(tmp_path / "a.avi", DROPPED, codec=codec, b_frames=b_frames))
    assert len(list(video.frames())) == len(DROPPED) < video.n_frames


@pytest.mark.parametrize(("codec", "b_frames"), [("mjpeg", 0), ("mpeg4", 0), ("mpeg4", 2)])
def test_an_avi_with_dropped_frames_that_ends_early_is_refused(tmp_path: Path, codec: str, b_frames: int) -> None:
    path = write_video(tmp_path / "a.avi", DROPPED, codec=codec, b_frames=b_frames)
    content = path.read_bytes()
    last = content.rindex(b"00dc", 0, content.rindex(b"idx1"))  # the chunk of the last frame
    path.write_bytes(content[:last])
    assert f"{path} ends before frame {len(DROPPED) - 1}" in refused(lambda: list(VideoFile(path).frames()))


@pytest.mark.parametrize("degrees", MATRICES)
def test_a_video_is_turned_as_its_display_matrix_says(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "a.mp4", range(3), codec="libx264")
    content = bytearray(path.read_bytes())
    a, b, c, d = (65536 * value for value in MATRICES[degrees])
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    for frame in VideoFile(path).frames():
        assert frame.shape == ((48, 64, 3) if degrees in (0, 180) else (64, 48, 3))
        height, width = (size // 2 for size in frame.shape[:2])
        bright = {0: (0, 0), 90: (0, 1), 180: (1, 1), 270: (1, 0)}[degrees]  # the quarter: row, column
        shown = frame.reshape(2, height, 2, width, 3).mean(axis=(1, 3, 4)) > 110
        assert np.argwhere(shown).tolist() == [list(bright)]
