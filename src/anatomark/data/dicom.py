"""DICOM files of one or many frames, as 8-bit pixels."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Shaped

from anatomark.data.pixels import Pixels
from anatomark.types import AnatomarkError

_MAGIC, _MAGIC_AT = b"DICM", 128
_PHOTOMETRIC, _PIXEL_SPACING = "0028|0004", "0028|0030"
_BITS_STORED, _IS_SIGNED = "0028|0101", "0028|0103"
_WINDOW_CENTRE, _WINDOW_WIDTH, _INTERCEPT, _SLOPE = "0028|1050", "0028|1051", "0028|1052", "0028|1053"


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do, whatever its name."""
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC


class DicomFile:
    """A DICOM image, compressed or not, in grey or in colour.

    Colour becomes RGB and MONOCHROME1 is inverted, so that bright is bright. Grey values of more than 8 bits are
    reduced by the file's window, or without one from its darkest to its brightest pixel. The pixel size is that of
    the Pixel Spacing attribute; calibrations of an ultrasound file's regions are not read.

    Args:
        path: the file.

    Raises:
        AnatomarkError: it cannot be read, or holds no pixel data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = sitk.ImageFileReader()
        self._reader.SetImageIO("GDCMImageIO")
        self._reader.SetFileName(str(path))
        with _decodable(path):
            self._reader.ReadImageInformation()
        self.n_frames = self._reader.GetSize()[2] if self._reader.GetDimension() > 2 else 1
        self.spacing_mm = self._spacing()
        self._inverted = self._text(_PHOTOMETRIC) == "MONOCHROME1"

    def frames(self) -> Iterator[Pixels]:
        with _decodable(self.path):
            image = self._reader.Execute()
        # The decoder has no way to stop between frames: the pixels of one file are held at a time.
        values = sitk.GetArrayViewFromImage(image)
        values = values.reshape(self.n_frames, image.GetHeight(), image.GetWidth(), -1)
        if values.dtype == np.uint8:
            yield from map(np.array, values)
            return
        low, high = self._range(values)
        for frame in values:
            grey = (frame.astype(np.float64) - low) * (255 / (high - low))
            yield np.round(grey.clip(0, 255)).astype(np.uint8)

    def _spacing(self) -> tuple[float, float] | None:
        """The distances of columns and of rows, mm.

        The reader's own spacing is 1 mm or that of the detector for several classes of images.
        """
        values = self._numbers(_PIXEL_SPACING)
        if len(values) != 2 or not all(0 < value < math.inf for value in values):
            return None
        of_rows, of_columns = values
        return of_columns, of_rows

    def _range(self, values: Shaped[np.ndarray, "n h w c"]) -> tuple[float, float]:
        """The values of black and white."""
        width, centre = self._first(_WINDOW_WIDTH), self._first(_WINDOW_CENTRE)
        if not (math.isfinite(centre) and 1 < width < math.inf):
            low, high = float(values.min()), float(values.max())
            return low, high if high > low else low + 1
        low = centre - 0.5 - (width - 1) / 2  # DICOM PS3.3, C.11.2.1.2.1
        high = low + width - 1
        if self._inverted:
            # The window is one of the values before the reader inverted them.
            total = self._sum_of_opposites()
            low, high = total - high, total - low
        return low, high

    def _sum_of_opposites(self) -> float:
        """The sum of any grey value and the one that the reader inverts it to.

        It inverts the stored value, from the darkest to the brightest that its bits hold, and rescales that.
        """
        darkest_plus_brightest = -1 if self._first(_IS_SIGNED, default=0) else 2 ** self._first(_BITS_STORED) - 1
        return self._first(_SLOPE, default=1) * darkest_plus_brightest + 2 * self._first(_INTERCEPT, default=0)

    def _first(self, key: str, *, default: float = math.nan) -> float:
        """The first value of an attribute, of which there may be several."""
        return next(iter(self._numbers(key)), default)

    def _numbers(self, key: str) -> list[float]:
        """The values of an attribute, NaN where one is no number; none where it is absent or empty."""
        text = self._text(key)
        return [_to_number(value) for value in text.split("\\")] if text else []

    def _text(self, key: str) -> str:
        """An attribute without the spaces that pad it; empty where it is absent."""
        return str(self._reader.GetMetaData(key)).strip() if self._reader.HasMetaDataKey(key) else ""


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@contextmanager
def _decodable(path: Path) -> Iterator[None]:
    """Says in one line what the reader's exceptions mean."""
    try:
        yield
    except RuntimeError as error:
        raise AnatomarkError(
            f"{path}: no DICOM file with readable pixel data; it holds none, or is damaged: export it again"
        ) from error
