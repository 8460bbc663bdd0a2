"""Matplotlib figures -> bytes, pixels and pictures in the dashboards."""

from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger


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


def log_picture(logger: Logger, tag: str, figure: Figure, *, step: int | None = None) -> bool:
    """Sends a figure to a logger that takes pictures.

    Args:
        logger: any Lightning logger.
        tag: name of the picture in the dashboard; ``/`` groups.
        figure: the picture.
        step: position on the dashboard's time axis.

    Returns:
        Whether the logger takes pictures (TensorBoard and wandb do).
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(tag, figure_to_rgb(figure), step, dataformats="HWC")
        return True
    if isinstance(logger, WandbLogger):
        logger.log_image(tag, [figure_to_rgb(figure)], step=step)
        return True
    return False
