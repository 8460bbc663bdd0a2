"""Masks of frames, read when their frame is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anatomark.data.frames import Mask
from anatomark.data.pixels import FULL_SCALE, read_image
from anatomark.types import AnatomarkError, Ellipse


def read_nonzero(file: Path) -> Mask:
    """The pixels of a mask file that are not black; its transparency is dropped.

    Raises:
        AnatomarkError: the file cannot be read or is no image of 8 or 16 bits.
    """
    pixels = read_image(file)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype not in FULL_SCALE or pixels.ndim not in (2, 3) or not 1 <= channels <= 4:
        raise AnatomarkError(
            f"{file} holds {pixels.dtype} of shape {pixels.shape}; save masks as one grey image of 8 or 16 bits, black"
            " but for the structure"
        )
    opaque = pixels.reshape(*pixels.shape[:2], channels)[..., : 3 if channels >= 3 else 1]
    shown: Mask = (opaque != 0).any(axis=-1)
    return shown


@dataclass(frozen=True, kw_only=True)
class MaskFile:
    """A mask in an image file.

    Attributes:
        file: image of the frame's size.
        read: finds the pixels of the structure in the file.
    """

    file: Path
    read: Callable[[Path], Mask] = read_nonzero

    def __call__(self, size: tuple[int, int]) -> Mask:
        """The mask of a frame of this (width, height).

        Raises:
            AnatomarkError: the file cannot be read or is of another size.
        """
        mask = self.read(self.file)
        if mask.shape[::-1] != size:
            found, expected = (f"{width} x {height}" for width, height in (mask.shape[::-1], size))
            raise AnatomarkError(f"{self.file} is {found} px but its frame {expected}; draw the mask on the frame")
        return mask


@dataclass(frozen=True, kw_only=True)
class EllipseMask:
    """The inside of an ellipse: pixels whose centre it holds.

    Attributes:
        ellipse: px of the frame.
    """

    ellipse: Ellipse

    def __call__(self, size: tuple[int, int]) -> Mask:
        """The mask of a frame of this (width, height)."""
        x, y = self.ellipse["centre"].tolist()
        major, minor = self.ellipse["semi_axes"].tolist()
        cos, sin = math.cos(self.ellipse["angle"]), math.sin(self.ellipse["angle"])
        right, down = np.arange(size[0]) - x, np.arange(size[1])[:, None] - y
        inside: Mask = ((cos * right + sin * down) / major) ** 2 + ((cos * down - sin * right) / minor) ** 2 <= 1
        return inside
