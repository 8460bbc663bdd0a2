"""Matplotlib figures -> bytes and pixels."""

from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Tick
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image


def holds_pixels(figure: Figure) -> bool:
    """Whether a figure shows images; one that does not is a chart, and sharp at any size as SVG."""
    return bool(figure.images) or any(axes.images for axes in figure.axes)


def encode_png(figure: Figure, *, dpi: int = 150) -> bytes:
    """Renders a figure as PNG, cropped to what is drawn."""
    _take_texts_as_they_are(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def encode_svg(figure: Figure) -> bytes:
    """Renders a figure as SVG, cropped to what is drawn; the same figure gives the same bytes."""
    _take_texts_as_they_are(figure)
    buffer = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "anatomark"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def figure_to_rgb(figure: Figure) -> NDArray[np.uint8]:
    """Renders a figure as pixels ``(h, w, 3)``."""
    return np.array(Image.open(BytesIO(encode_png(figure, dpi=100))).convert("RGB"))


def _take_texts_as_they_are(figure: Figure) -> None:
    """Reads no text as a formula, as ids and names of classes may hold dollar signs; powers of logarithmic axes are."""
    scales = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axis.get_scale() == "log"]
    powers = {text for axis in scales for tick in axis.findobj(Tick) for text in tick.findobj(Text)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in powers:
            text.set_parse_math(False)
