"""Matplotlib figures -> bytes and pixels."""

from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image


def holds_pixels(figure: Figure) -> bool:
    """Whether a figure shows images; one that does not is a chart, and sharp at any size as SVG."""
    return bool(figure.images) or any(axes.images for axes in figure.axes)


def encode_png(figure: Figure, *, dpi: int = 150) -> bytes:
    """Renders a figure as PNG, cropped to what is drawn."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def encode_svg(figure: Figure) -> bytes:
    """Renders a figure as SVG, cropped to what is drawn; the same figure gives the same bytes."""
    buffer = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "anatomark"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def figure_to_rgb(figure: Figure) -> NDArray[np.uint8]:
    """Renders a figure as pixels ``(h, w, 3)``."""
    return np.array(Image.open(BytesIO(encode_png(figure, dpi=100))).convert("RGB"))
