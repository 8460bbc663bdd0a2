"""Videos read and written frame by frame; needs the ``video`` extra (PyAV, which brings FFmpeg along)."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from anatomark.data.pixels import Pixels
from anatomark.types import AnatomarkError

_CODEC, _OPTIONS = "libx264", {"crf": "18", "preset": "veryfast"}


class VideoFile:
    """The picture track of a video, upright, with the frames that an edit list hides from players.

    Args:
        path: the file.

    Raises:
        AnatomarkError: it cannot be read, shows nothing, or the ``video`` extra is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spacing_mm: tuple[float, float] | None = None
        with self._opened() as container:
            stream = container.streams.video[0]
            self.n_frames: int = stream.frames
            rate: Fraction | None = stream.average_rate or stream.guessed_rate
        if rate is None:
            raise AnatomarkError(f"{path} does not say its frame rate; convert it to MP4")
        self.rate = rate

    def frames(self) -> Iterator[Pixels]:
        """Decodes the frames one by one.

        Raises:
            AnatomarkError: a frame is damaged, the file holds fewer than it says, or they change their size.
        """
        number, n_counted, size = 0, 0, None
        with self._opened() as container:
            decoded = _decode(container)
            while (found := self._next(decoded, number)) is not None:
                frame, n_counted = found
                if size not in (None, (frame.width, frame.height)):
                    raise AnatomarkError(
                        f"{self.path}, frame {number} is {frame.width} x {frame.height} px and those before are"
                        f" {size[0]} x {size[1]}; split the video there"
                    )
                size = (frame.width, frame.height)
                yield _upright(frame)
                number += 1
        if max(number, n_counted) < self.n_frames:
            raise AnatomarkError(
                f"{self.path} ends before frame {number} of {self.n_frames}, counted from 0; copy the video again, or"
                " convert what there is to a new file"
            )

    def _next(self, decoded: Iterator[tuple[Any, int]], number: int) -> tuple[Any, int] | None:
        """The next of :func:`_decode`; None behind the last."""
        error_of = _require_av(self.path).error.FFmpegError
        try:
            found = next(decoded, None)
        except error_of as error:
            raise self._damaged(number) from error
        if found is not None and found[0].is_corrupt:
            raise self._damaged(number)
        return found

    def _damaged(self, number: int) -> AnatomarkError:
        return AnatomarkError(
            f"{self.path}, frame {number} is damaged or cut off; copy the video again, or convert what there is to a"
            " new file"
        )

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        av = _require_av(self.path)
        try:
            # Edit lists hide frames, after which too few frames would no longer mean that the file was cut off.
            container = av.open(str(self.path), options={"ignore_editlist": "1"})
        except (av.error.FFmpegError, OSError) as error:
            raise AnatomarkError(f"{self.path}: no readable video, or it ends too early; copy it again") from error
        with container:
            if not container.streams.video:
                raise AnatomarkError(f"{self.path} has no picture track; give another file")
            yield container


class VideoWriter:
    """Writes an H.264 video frame by frame; a context manager.

    Args:
        path: the MP4 file.
        rate: frames per second.
        size: (width, height), px.
    """

    def __init__(self, path: Path, *, rate: Fraction, size: tuple[int, int]) -> None:
        self._av = _require_av(path)
        self._container = self._av.open(str(path), "w")
        self._stream = self._container.add_stream(_CODEC, rate=rate, options=_OPTIONS)
        self._stream.width, self._stream.height = size
        # Colour at half the resolution, which every player knows, takes sides of even length.
        self._stream.pix_fmt = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def write(self, pixels: Pixels) -> None:
        """Adds a frame, RGB."""
        self._container.mux(self._stream.encode(self._av.VideoFrame.from_ndarray(pixels, format="rgb24")))


def _decode(container: Any) -> Iterator[tuple[Any, int]]:
    """Each frame, with how many of those that an AVI file counts have been read so far; 0 for other files.

    An AVI file counts the frames that its recorder dropped, of which it keeps empty chunks that give no packet. The
    decoding time of a packet is the number of its chunk.
    """
    is_avi, n_counted = container.format.name == "avi", 0
    for packet in container.demux(video=0):
        if is_avi and packet.dts is not None:
            n_counted = packet.dts + 1
        for frame in packet.decode():
            yield frame, n_counted


def _upright(frame: Any) -> Pixels:
    """The pixels of a frame, turned by the angle of its display matrix, to the nearest quarter turn."""
    counter_clockwise_degrees: int = frame.rotation  # without the mirroring that a matrix may hold, too
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(counter_clockwise_degrees / 90)))


def _require_av(path: Path) -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise AnatomarkError(f'{path}: videos need PyAV; run: pip install -c constraints.txt -e ".[video]"') from error
    return av
