"""Figures as files: every text as it is."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from anatomark.report.class_figures import draw_confusion, draw_precision_recall
from anatomark.report.mask_figures import MaskPanel, draw_masks
from anatomark.report.pictures import encode_png, encode_svg

ODD = "a$_{$b"
"""No formula that Matplotlib could read."""


def masks() -> Figure:
    image = np.zeros((16, 24), dtype=np.float32)
    panel = MaskPanel(title=ODD, image=image, truth=image > 0, predicted=image > 0)
    return draw_masks({ODD: [panel]})


@pytest.mark.parametrize(
    "figure",
    [
        masks(),
        draw_confusion([[3, 1], [0, 2]], [ODD, "other"]),
        draw_precision_recall({ODD: (np.array([0.5, 1.0]), np.array([1.0, 0.5]), 0.7)}),
    ],
    ids=["masks", "confusion", "curves"],
)
def test_dollar_signs_are_no_formulas(figure: Figure) -> None:
    shown = [text for text in figure.findobj(Text) if ODD in text.get_text()]
    assert shown
    assert Image.open(BytesIO(encode_png(figure))).size[0] > 10
    assert encode_svg(figure)
    assert not any(text.get_parse_math() for text in shown)


def test_powers_of_a_logarithmic_axis_stay_powers() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], [1e-3, 1e3])
    axes.set_yscale("log")
    axes.set_ylabel(ODD)
    encode_png(figure)
    labels = [label for label in axes.yaxis.get_ticklabels() if label.get_text()]
    assert labels
    assert all("$" in label.get_text() and label.get_parse_math() for label in labels)
    assert not axes.yaxis.label.get_parse_math()
