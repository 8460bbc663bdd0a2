"""The sectors of new frames: of every image its own, of a recording followed from frame to frame."""

from contextlib import suppress
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from anatomark.data.media import Media
from anatomark.data.pixels import to_grey, to_tensor
from anatomark.geometry.sector import SectorFit, estimate_sector, sector_quality
from anatomark.types import AnatomarkError

TOLERANCE = 0.05
"""A sector is kept until its quality falls by more than this: what moves changes it a little, another depth much."""


class SectorTracker:
    """Fits sectors to frames; those of a recording keep theirs until it no longer matches.

    A frame that no sector fits, such as one that is black, gets that of the frame before it; at the start of a
    recording, that of the first frame that one fits.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._fit: SectorFit

    def __call__(self, media: Media, image: Float[Tensor, "1 h w"]) -> SectorFit:
        """The sector of a frame, and its quality for this very frame.

        Args:
            media: the file of the frame; its frames come one after another.
            image: the frame.

        Raises:
            AnatomarkError: no sector fits any frame of the file.
        """
        known = self._path == media.path
        if known:
            least = self._fit.quality - TOLERANCE
            quality = sector_quality(image, self._fit.frustum, enough=least)
            if quality >= least:
                return self._fit._replace(quality=quality)
        self._path = media.path
        try:
            self._fit = estimate_sector(image)
        except AnatomarkError as error:
            if not known:
                self._fit = _fit_ahead(media, reason=str(error))
            return self._fit._replace(quality=sector_quality(image, self._fit.frustum))
        return self._fit


def _fit_ahead(media: Media, *, reason: str) -> SectorFit:
    """The sector of the first frame of a file that one fits; ``reason`` says why none fits frame 0."""
    for pixels in media.frames():
        with suppress(AnatomarkError):
            return estimate_sector(to_tensor(to_grey(pixels)))
    raise AnatomarkError(
        f"{media.path} shows no sector that can be fitted (frame 0: {reason}); leave it out, or set"
        " data.frustum=annotated"
    )
