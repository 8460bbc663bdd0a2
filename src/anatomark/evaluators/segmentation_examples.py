"""Which frames the picture of a segmentation shows."""

from collections.abc import Callable
from statistics import median
from zlib import crc32

from anatomark.report.mask_figures import MaskPanel

N_DRAWN = 100
"""Frames among which those near the median are looked for: a set may be too large to keep all pictures."""

Entry = tuple[float, str, MaskPanel]


class SegmentationExamples:
    """Keeps the frames with the highest and the lowest Dice coefficient, and some that may turn out to be the middle.

    Args:
        n: frames of each kind; 0 for none.
    """

    def __init__(self, *, n: int) -> None:
        self.n = n
        self._best: list[Entry] = []
        self._worst: list[Entry] = []
        self._drawn: list[Entry] = []
        self._scores: list[float] = []

    def offer(self, key: str, score: float, panel: MaskPanel) -> None:
        """Keeps a frame if it is among the best, the worst or those drawn so far.

        Args:
            key: id of the frame.
            score: its Dice coefficient.
            panel: its picture.
        """
        if not self.n:
            return
        self._scores.append(score)
        entry = (score, key, panel)
        _keep(self._best, entry, self.n, lambda kept: (-kept[0], kept[1]))
        _keep(self._worst, entry, self.n, lambda kept: (kept[0], kept[1]))
        # By a checksum: a random draw that neither results nor the order of frames can sway.
        _keep(self._drawn, entry, N_DRAWN, lambda kept: (crc32(kept[1].encode()), kept[1]))

    def rows(self) -> dict[str, list[MaskPanel]]:
        """The best frames, those nearest to the median, and the worst, each by falling score; no frame twice."""
        if not self._scores:
            return {}
        middle, shown = median(self._scores), set[str]()
        near = sorted(self._drawn, key=lambda entry: (abs(entry[0] - middle), entry[1]))
        chosen = {}
        for name, entries in {"best": self._best, "worst": self._worst, "median": near}.items():
            chosen[name] = [entry for entry in entries if entry[1] not in shown][: self.n]
            shown |= {entry[1] for entry in chosen[name]}
        return {
            name: [entry[2] for entry in sorted(chosen[name], key=lambda entry: (-entry[0], entry[1]))]
            for name in ("best", "median", "worst")
            if chosen[name]
        }


def _keep(kept: list[Entry], entry: Entry, n: int, order: Callable[[Entry], tuple[float, str]]) -> None:
    kept.append(entry)
    kept.sort(key=order)
    del kept[n:]
