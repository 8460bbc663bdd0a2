"""Gaze recorded while the frames of a clip pass: its fixations are dealt to the frames they rested on."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def deal_fixations(
    fixations: Float[np.ndarray, "m 5"], t_ms: Float[np.ndarray, "n"], shown_ms: Float[np.ndarray, "k"]
) -> list[Float[Tensor, "_ 3"] | None]:
    """The fixations of each frame of a clip.

    A frame is shown until the next one, the last for the median time between frames, an only one until the recording
    ends. A fixation that outlasts a frame gives each frame the share of its duration in which that frame was shown.

    Args:
        fixations: rows (x, y in px of the frame; duration, start and end in ms) of the recording.
        t_ms: times of all its samples, ms.
        shown_ms: when each frame was first shown, increasing, ms on the same clock.

    Returns:
        Per frame rows (x, y, duration ms) in order of time, or None for a frame shown outside the recording.
    """
    interval = np.median(np.diff(shown_ms)) if len(shown_ms) > 1 else np.inf
    hidden_ms = np.append(shown_ms[1:], shown_ms[-1] + interval)
    start_ms, end_ms = fixations[:, 3], fixations[:, 4]
    overlap = np.minimum(end_ms, hidden_ms[:, None]) - np.maximum(start_ms, shown_ms[:, None])
    share = overlap.clip(min=0) / (end_ms - start_ms)
    recorded = (shown_ms <= t_ms[-1]) & (hidden_ms > t_ms[0])
    return [_rows(fixations[:, :3], part) if seen else None for part, seen in zip(share, recorded, strict=True)]


def _rows(fixations: Float[np.ndarray, "m 3"], share: Float[np.ndarray, "m"]) -> Float[Tensor, "_ 3"]:
    rows = fixations * np.column_stack([np.ones((len(share), 2)), share])
    return torch.from_numpy(rows[share > 0].astype(np.float32))
