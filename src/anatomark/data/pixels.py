"""Pixels of image files: decoded as they are, brought to 8 bits, to grey and to tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import imageio.v3 as iio
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image
from torch import Tensor

from anatomark.types import AnatomarkError

GreyImage = UInt8[np.ndarray, "h w"]
Pixels = UInt8[np.ndarray, "h w c"]
"""Grey (1 channel) or RGB (3 channels)."""
# Without a named plugin, imageio tries all it knows on a broken file, some of which crash.
PLUGIN: Final = "pillow"
FULL_SCALE = {np.dtype(bool): 1, np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
"""The value of white, by pixel type."""
_OTHER_COLOURS = ("CMYK", "YCbCr", "LAB", "HSV", "PA")
"""Modes of Pillow whose channels are neither grey nor red, green and blue."""
_WHITE_IS_ZERO = 0
"""TIFF's photometric interpretation."""
_ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


def read_image(file: Path, *, mode: str | None = None) -> np.ndarray:
    """Decodes an image file.

    Args:
        file: PNG, JPEG, TIFF or BMP.
        mode: "RGB" or "L" (grey) converts to that, palettes included; None as :func:`read_page` does.

    Raises:
        AnatomarkError: the file cannot be read.
    """
    with readable(file), iio.imopen(file, "r", plugin=PLUGIN) as opened:
        return read_page(opened, mode=mode)


def read_page(file: Any, *, index: int | None = None, mode: str | None = None) -> np.ndarray:
    """Decodes an image of an open file: grey or RGB, with transparency where there is some, in native byte order.

    The image is turned upright as its EXIF orientation says, and inverted where 0 is white, so that bright is bright.

    Args:
        file: what imageio opened by the plugin :data:`PLUGIN`, whose type hints know no None.
        index: of the page; None for the first, of an animation all.
        mode: converts to that; None converts palettes and other colour spaces, such as CMYK, to RGB.
    """
    metadata = file.metadata(index=index)
    if mode is None and metadata["mode"] in _OTHER_COLOURS:
        mode = "RGB"
    pixels = np.asarray(file.read(index=index, mode=mode, rotate=True))
    # Pillow inverts 8 bits itself.
    if pixels.dtype == np.uint16 and metadata.get("PhotometricInterpretation") == _WHITE_IS_ZERO:
        pixels = ~pixels
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def image_size(file: Path) -> tuple[int, int]:
    """(width, height) of an image as :func:`read_image` turns it, from the head of its file.

    Raises:
        AnatomarkError: the file cannot be read.
    """
    with readable(file), Image.open(file) as image:
        # Pillow turns TIFF images itself; to look for EXIF behind the pixels of a PNG would decode them.
        on_its_side = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
        return (image.height, image.width) if on_its_side else (image.width, image.height)


def to_8_bits(pixels: np.ndarray, file: Path) -> Pixels:
    """Grey or RGB pixels: transparency is dropped, 16 bits are reduced to 8.

    Args:
        pixels: as decoded.
        file: where they come from, for messages.

    Raises:
        AnatomarkError: they are no grey or RGB image of 8 or 16 bits.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype not in FULL_SCALE or pixels.ndim not in (2, 3) or not 1 <= channels <= 4:
        raise AnatomarkError(
            f"{file} holds {pixels.dtype} of shape {pixels.shape}; save frames as one grey or RGB image of 8 or 16 bits"
        )
    opaque = pixels.reshape(*pixels.shape[:2], channels)[..., : 3 if channels >= 3 else 1]
    if opaque.dtype == np.uint8:
        return opaque
    return np.round(opaque * (255 / FULL_SCALE[pixels.dtype])).astype(np.uint8)


def to_grey(pixels: Pixels) -> GreyImage:
    """The mean of the channels, rounded."""
    if pixels.shape[-1] == 1:
        return np.array(pixels[..., 0])
    red, green, blue = np.moveaxis(pixels, -1, 0)
    # The rounded mean in whole numbers, three times as fast as in floating-point ones.
    grey: GreyImage = ((red.astype(np.uint16) + green + blue + 1) // 3).astype(np.uint8)
    return grey


def to_tensor(image: GreyImage) -> Float[Tensor, "1 h w"]:
    """Grey values in [0, 1]."""
    return torch.from_numpy(image).float()[None] / 255


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Says in one line what the exceptions of image decoders mean."""
    try:
        yield
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, Image.DecompressionBombError) as error:
        # On opening, imageio wraps what Pillow says.
        if isinstance(error.__cause__ or error, Image.DecompressionBombError):
            raise AnatomarkError(
                f"{file} has more pixels than an image may have, or is damaged; scale it down or replace it"
            ) from error
        raise AnatomarkError(f"{file}: not a readable image; replace the file or remove its frame") from error
