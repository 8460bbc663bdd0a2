"""The sectors of frames whose geometry was not annotated, fitted to their images before anything is done with them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from anatomark.data.frames import FrameRecord, read_grey
from anatomark.data.pixels import to_tensor
from anatomark.geometry.sector import SectorFit, estimate_sector
from anatomark.types import AnatomarkError

log = logging.getLogger(__name__)

_NAMED = 3
_FITTED: dict[Path, SectorFit | str] = {}
"""The fit of every file that was asked for, or why there is none: other folds and rows have the same frames."""


def add_sectors(splits: Mapping[str, Sequence[FrameRecord]], *, workers: int) -> dict[str, list[FrameRecord]]:
    """Gives every frame a sector: its own, else one fitted to its image, with a progress bar on standard error.

    Args:
        splits: frames by split.
        workers: processes that fit; 0 fits in this one.

    Raises:
        AnatomarkError: a frame cannot be read, or no sector fits it; names the first of these.
    """
    bare = [record for records in splits.values() for record in records if record.frustum is None]
    new = [record for record in bare if record.file not in _FITTED]
    _fit(new, workers)
    refused = [(record.key, fit) for record in bare if isinstance(fit := _FITTED[record.file], str)]
    if refused:
        first = "; ".join(f"{key}: {reason}" for key, reason in refused[:_NAMED])
        more = f"; and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise AnatomarkError(
            f"no sector can be fitted to {len(refused)} of {len(bare)} frames ({first}{more}); annotate their sectors"
            " in frames.csv, leave the frames out, or set data.frustum=annotated"
        )
    if new:
        qualities = {record.key: _found(record).quality for record in bare}
        lowest = min(qualities, key=qualities.__getitem__)
        log.info(
            "sectors fitted to %d frames: quality %.2f at the lowest (frame %s), %.2f in the median",
            len(bare),
            qualities[lowest],
            lowest,
            median(qualities.values()),
        )
    return {
        split: [one if one.frustum is not None else replace(one, frustum=_found(one).frustum) for one in records]
        for split, records in splits.items()
    }


class _Fits(Dataset[SectorFit | str]):
    """Fits of frames, or why there is none."""

    def __init__(self, records: Sequence[FrameRecord]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> SectorFit | str:
        image = to_tensor(read_grey(self.records[index]))
        try:
            return estimate_sector(image)
        except AnatomarkError as error:
            return str(error)


def _fit(records: Sequence[FrameRecord], workers: int) -> None:
    console = Console(stderr=True)
    fits = track(
        DataLoader(_Fits(records), batch_size=None, num_workers=workers),
        "fitting sectors",
        total=len(records),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # of a log file it would leave an empty line
    )
    for record, fit in zip(records, fits, strict=True):
        _FITTED[record.file] = fit if isinstance(fit, str) else _copied(fit)


def _copied(fit: SectorFit) -> SectorFit:
    """Tensors of another process each keep a file open."""
    moved = {"apex": fit.frustum["apex"].clone(), "radii": fit.frustum["radii"].clone()}
    return fit._replace(frustum={**fit.frustum, **moved})  # type: ignore[typeddict-item]


def _found(record: FrameRecord) -> SectorFit:
    fit = _FITTED[record.file]
    assert isinstance(fit, SectorFit)
    return fit
