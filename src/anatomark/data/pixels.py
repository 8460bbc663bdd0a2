"""Pixels of image files: decoded as they are, brought to 8 bits, to grey and to tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import imageio.v3 as iio
import numpy as np
import torch
from jaxtyping import Float, UInt8
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

    Args:
        file: what imageio opened by the plugin :data:`PLUGIN`, whose type hints know no None.
        index: of the page; None for the first, of an animation all.
        mode: converts to that; None converts palettes and other colour spaces, such as CMYK, to RGB.
    """
    if mode is None and file.metadata(index=index)["mode"] in _OTHER_COLOURS:
        mode = "RGB"
    pixels = np.asarray(file.read(index=index, mode=mode))
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def image_size(file: Path) -> tuple[int, int]:
    """(width, height) of an image from the head of its file.

    Raises:
        AnatomarkError: the file cannot be read.
    """
    with readable(file):
        height, width = iio.improps(file, plugin=PLUGIN).shape[:2]
    return width, height


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
    """The mean of the channels."""
    return np.array(pixels[..., 0]) if pixels.shape[-1] == 1 else np.round(pixels.mean(axis=-1)).astype(np.uint8)


def to_tensor(image: GreyImage) -> Float[Tensor, "1 h w"]:
    """Grey values in [0, 1]."""
    return torch.from_numpy(image).float()[None] / 255


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Says in one line what the exceptions of image decoders mean."""
    try:
        yield
    except (OSError, ValueError, SyntaxError) as error:
        raise AnatomarkError(f"{file}: not a readable image; replace the file or remove its frame") from error
