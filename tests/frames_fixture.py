"""A frames folder in miniature: dark frames with two bright structures that the gaze rests on."""

from pathlib import Path

import numpy as np
import torch

from anatomark.data.frames import FrameRecord
from anatomark.data.frames_writer import RawFrame, RawGaze, write_frames
from anatomark.data.gaze import GazeFilter, ScreenGeometry

SIZE = (96, 64)
SCREEN = ScreenGeometry(frame_origin_px=(480, 220), frame_scale=10.0)
GAZE = GazeFilter(screen=SCREEN)


def write_tiny_frames(root: Path, *, n_subjects: int = 6) -> Path:
    write_frames(root, (make_frame(s, plane) for s in range(n_subjects) for plane in ("TV", "TC")))
    return root


def make_frame(subject: int, plane: str) -> RawFrame:
    rng = np.random.default_rng([subject, plane == "TC"])
    second = "lv" if plane == "TV" else "cerebellum"
    csp = rng.uniform((20, 20), (40, 44))
    other = rng.uniform((56, 20), (76, 44))
    if subject % 2:
        csp, other = other, csp
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]]
    grey = rng.uniform(0, 20, xs.shape)
    for strength, (x, y), width in ((200, csp, 3.0), (160, other, 5.0)):
        grey += strength * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * width**2))
    centre = (csp + other) / 2
    record = FrameRecord(
        key=f"s{subject}_{plane}",
        subject=f"s{subject}",
        file=Path(),
        plane=plane,
        spacing_mm=(1.5, 1.5),
        points={"csp": torch.tensor(csp).float(), second: torch.tensor(other).float()},
        boxes={"csp": torch.tensor([*(csp - 4), *(csp + 4)]).float()},
        ellipse={"centre": torch.tensor(centre).float(), "semi_axes": torch.tensor([40.0, 28.0]), "angle": 0.1},
        frustum={
            "apex": torch.tensor([47.5, -20.0]),
            "radii": torch.tensor([20.0, 84.0]),
            "half_angle": 0.6,
            "tilt": 0.0,
        },
    )
    return RawFrame(record=record, image=grey.clip(0, 255).astype(np.uint8), gaze=look_at(csp, other, rng))


def look_at(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> RawGaze:
    """Half a second on each structure at 90 Hz, with two lost samples."""
    on_frame = np.repeat([first, second], 45, axis=0) + rng.normal(0, 0.05, (90, 2))
    valid = np.ones(90, dtype=bool)
    valid[[10, 60]] = False
    xy = np.where(valid[:, None], SCREEN.to_screen(on_frame), np.nan)
    return RawGaze(t_ms=np.arange(90) * (1000 / 90), xy_px=xy, valid=valid)
