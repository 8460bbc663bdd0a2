"""Measures what the maps of frames localise, batched over all maps of all frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.evaluators.localisation_frames import CENTRE, HEADLINE, Choice, Target
from anatomark.evaluators.localisation_rules import BoxRules
from anatomark.evaluators.maps import to_full_size
from anatomark.evaluators.polar_frames import maps_in_frame, points_in_frame
from anatomark.geometry.boxes import box_contains, box_iou, peak_points
from anatomark.metrics.saliency import stretch


@dataclass(frozen=True, kw_only=True)
class Localised:
    """What one map of a frame localises.

    Attributes:
        rules: IoU of its box by every rule.
        fractions: IoU of the box above every fraction of the maximum.
        pointing: whether the map's maximum lies in the true box.
        structures: the same for the box of each structure.
    """

    rules: Float[Tensor, "r"]
    fractions: Float[Tensor, "t"]
    pointing: bool
    structures: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured on a frame.

    Attributes:
        localised: whose map -> what it localises.
        frame_map: the map that heads the report, in [0, 1], at the size of the frame that boxes are annotated in;
            negative outside the sector.
        boxes: its box by every rule, px of that frame.
    """

    localised: dict[Choice, Localised]
    frame_map: Float[Tensor, "h w"]
    boxes: Float[Tensor, "r 4"]


def measure(targets: Sequence[Target], rules: BoxRules) -> list[Measured]:
    """Measures every choice of every frame.

    Args:
        targets: frames of one size, see :func:`~anatomark.evaluators.polar_frames.frame_sizes`.
        rules: how boxes are made.

    Raises:
        AnatomarkError: a map does not cover its image.
    """
    # The true class is the most probable one in most frames, and its map is measured once.
    asked = list(dict.fromkeys((i, c.method, n) for i, target in enumerate(targets) for c, n in target.choices.items()))
    frames = [targets[i] for i, _, _ in asked]
    cells = [frame.maps(method)[[number]] for frame, (_, method, number) in zip(frames, asked, strict=True)]
    maps = stretch(torch.cat([_full_size(map_, frame) for map_, frame in zip(cells, frames, strict=True)]))
    peaks = torch.cat(
        [_peak(map_, frame, method) for map_, frame, (_, method, _) in zip(cells, frames, asked, strict=True)]
    )
    samples = [frame.sample for frame in frames]
    in_frame = maps_in_frame(maps, samples)
    boxes = torch.cat([rules.boxes(maps, in_frame), rules.fraction_boxes(maps, in_frame)], dim=1)
    peaks = points_in_frame(peaks.to(maps), samples)
    truth = torch.stack([frame.box for frame in frames]).to(boxes)
    iou = box_iou(boxes, truth[:, None].expand_as(boxes)).cpu()
    n_rules = len(rules.names)
    localised = {
        one: Localised(
            rules=of_boxes[:n_rules],
            fractions=of_boxes[n_rules:],
            pointing=inside,
            structures={name: bool(box_contains(box.to(peak), peak)) for name, box in frame.structures.items()},
        )
        for one, frame, of_boxes, inside, peak in zip(
            asked, frames, iou, box_contains(truth, peaks).tolist(), peaks, strict=True
        )
    }
    shown = [asked.index((i, HEADLINE.method, target.choices[HEADLINE])) for i, target in enumerate(targets)]
    return [
        Measured(
            localised={choice: localised[i, choice.method, number] for choice, number in target.choices.items()},
            frame_map=in_frame[of_map],
            boxes=boxes[of_map, :n_rules],
        )
        for i, (target, of_map) in enumerate(zip(targets, shown, strict=True))
    ]


def _full_size(map_: Float[Tensor, "1 y x"], frame: Target) -> Float[Tensor, "1 h w"]:
    return to_full_size(map_, frame.sample, frame.prediction)


def _peak(map_: Float[Tensor, "1 y x"], frame: Target, method: str) -> Float[Tensor, "1 2"]:
    if method == CENTRE:  # which is no cell's where their number is even
        height, width = frame.sample["image"].shape[-2:]
        return torch.tensor([[(width - 1) / 2, (height - 1) / 2]])
    return peak_points(map_.float(), stride=frame.prediction.get("map_stride", 1))
