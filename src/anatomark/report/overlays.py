"""A frame with what was found drawn on it: pixels in, pixels of the same size out, fast enough for videos."""

from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

_BOX, _LANDMARK, _TEXT, _SHADE = "#ffb000", "#22d3ee", "#ffffff", "#000000"
_STEPS = 256
_STRENGTHS = np.linspace(0, 1, _STEPS)
_COLOURS = (mpl.colormaps["inferno"](_STRENGTHS)[:, :3] * 255).astype(np.float32)
_ALPHAS = (0.75 * np.sqrt(_STRENGTHS)).astype(np.float32)
_LETTERS_PER_HEIGHT, _SMALLEST_LETTER, _LARGEST_LETTER = 24, 9, 28


def draw_findings(
    pixels: UInt8[np.ndarray, "h w c"],
    saliency: Float[np.ndarray, "h w"],
    *,
    caption: str = "",
    box: Sequence[float] | None = None,
    landmarks: Iterable[tuple[str, float, float]] = (),
) -> UInt8[np.ndarray, "h w 3"]:
    """Lays a map over a frame, then draws its box, its landmarks and a line of text.

    Args:
        pixels: grey or RGB frame.
        saliency: map in [0, 1]; what is not salient stays clear.
        caption: what is written at the top left.
        box: (x0, y0, x1, y1), px.
        landmarks: name and x, y, px; an empty name is not written.
    """
    image = Image.fromarray(_blend(pixels, saliency))
    draw = ImageDraw.Draw(image)
    letter = min(max(pixels.shape[0] // _LETTERS_PER_HEIGHT, _SMALLEST_LETTER), _LARGEST_LETTER)
    font = ImageFont.load_default(size=letter)
    line = max(letter // 8, 1)
    if box is not None:
        # Edges lie between pixels; the line takes the outermost pixels of the box.
        x0, y0, x1, y1 = (round(edge + inwards) for edge, inwards in zip(box, (0.5, 0.5, -0.5, -0.5), strict=True))
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=_BOX, width=line)
    for name, x, y in landmarks:
        arm = letter / 2
        for a, b in (((x - arm, y), (x + arm, y)), ((x, y - arm), (x, y + arm))):
            draw.line((*a, *b), fill=_SHADE, width=line + 2)
            draw.line((*a, *b), fill=_LANDMARK, width=line)
        if name:
            draw.text((x + arm, y), name, font=font, fill=_LANDMARK, stroke_width=1, stroke_fill=_SHADE)
    if caption:
        corner = (letter // 2, letter // 4)
        draw.rectangle(draw.textbbox(corner, caption, font=font, stroke_width=letter // 4), fill=_SHADE)
        draw.text(corner, caption, font=font, fill=_TEXT)
    return np.asarray(image)


def _blend(pixels: UInt8[np.ndarray, "h w c"], saliency: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    step = (saliency * (_STEPS - 1)).astype(np.uint8)
    alpha = _ALPHAS[step][..., None]
    blended: UInt8[np.ndarray, "h w 3"] = (pixels + (_COLOURS[step] - pixels) * alpha).astype(np.uint8)
    return blended
