"""An image in the colour spaces that files may hold."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

COLOUR = np.repeat(np.repeat(np.random.default_rng(1).integers(40, 216, (4, 5, 3), dtype=np.uint8), 8, 0), 8, 1)
"""Blocks of 8 x 8 px of one colour, which the space of their file can hold."""


def write_cmyk(path: Path, *others: np.ndarray) -> Path:
    return _save(path, *(Image.fromarray(page).convert("CMYK") for page in (COLOUR, *others)))


def write_ycbcr(path: Path, *others: np.ndarray) -> Path:
    return _save(path, *(Image.fromarray(page).convert("YCbCr") for page in (COLOUR, *others)))


def write_lab(path: Path, *others: np.ndarray) -> Path:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    return _save(path, *(ImageCms.applyTransform(Image.fromarray(page), to_lab) for page in (COLOUR, *others)))


def write_palette(path: Path, *others: np.ndarray) -> Path:
    """With transparency, which Pillow keeps beside the palette's indices."""
    return _save(path, *(Image.fromarray(page).quantize(32).convert("PA") for page in (COLOUR, *others)))


def _save(path: Path, first: Image.Image, *others: Image.Image) -> Path:
    first.save(path, save_all=bool(others), append_images=others)
    return path
