"""Gaze of training frames: whether it is there, and the ablation that gives it to the wrong frames."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from anatomark.data.frames import FrameRecord
from anatomark.data.pixels import image_size
from anatomark.geometry.fixations import has_fixation
from anatomark.types import AnatomarkError


def check_gaze(records: Sequence[FrameRecord]) -> None:
    """Refuses training frames whose gaze was not recorded, and clips none of whose frames was ever looked at.

    Frames that are of no clip count by subject.

    Raises:
        AnatomarkError: names the first such frame or clip.
    """
    without = [record.key for record in records if not record.viewings]
    if without:
        raise AnatomarkError(
            f"{len(without)} of {len(records)} training frames have no recorded gaze, the first is {without[0]}; add"
            " gaze.csv, or set data.allow_missing_gaze=true where the model can do without"
        )
    clips: defaultdict[tuple[str, str], list[FrameRecord]] = defaultdict(list)
    for record in records:
        clips[("subject", record.subject) if record.clip is None else ("clip", record.clip)].append(record)
    for kind, frames in clips.items():
        if any(_looked_at(frame) for frame in frames):
            continue
        if any(len(rows) for frame in frames for rows in frame.viewings):
            raise AnatomarkError(
                f"{' '.join(kind)} has gaze, but every fixation lies beside its training frames; correct in"
                " data.source.gaze.screen where the frames were shown: frame_origin_px and frame_scale"
            )
        raise AnatomarkError(
            f"{' '.join(kind)} has gaze, but no fixation in any of its training frames; check the screen and the"
            " thresholds of data.source.gaze, or remove it"
        )


def _looked_at(record: FrameRecord) -> bool:
    fixations = torch.cat(record.viewings)
    if not len(fixations):
        return False
    width, height = record.size or image_size(record.file)
    return bool(has_fixation(fixations[None], (height, width)))


def shuffle_gaze(records: Sequence[FrameRecord], *, seed: int) -> list[FrameRecord]:
    """Gives every frame that has gaze the gaze of another one, at the same place relative to the frame's size.

    The frames pass their gaze on around one random cycle, so that none keeps its own.

    Args:
        records: the frames.
        seed: seed of the cycle, which depends on nothing else.

    Raises:
        AnatomarkError: fewer than two frames have gaze.
    """
    every = list(records)
    watched = [index for index, record in enumerate(every) if record.viewings]
    if len(watched) < 2:
        raise AnatomarkError(
            f"data.shuffle_gaze needs two training frames with gaze, and there are {len(watched)}; set it to false"
        )
    cycle = np.random.default_rng(seed).permutation(watched).tolist()
    shuffled = list(every)
    for own, other in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        shuffled[own] = _with_gaze_of(every[own], every[other])
    return shuffled


def _with_gaze_of(record: FrameRecord, other: FrameRecord) -> FrameRecord:
    own_size, other_size = (r.size or image_size(r.file) for r in (record, other))
    scale = torch.tensor([own_size[0] / other_size[0], own_size[1] / other_size[1], 1.0])
    half = torch.tensor([0.5, 0.5, 0.0])  # pixel centres are at integers, the corner of the frame half a pixel before
    return replace(record, viewings=tuple((rows + half) * scale - half for rows in other.viewings))
