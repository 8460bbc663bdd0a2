"""Evaluator: does the map box the anatomy? (Toussaint et al. 2018, table 1)"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anatomark.evaluators.localisation_report import build_tables, describe_conventions
from anatomark.evaluators.localisation_values import Found, summarise
from anatomark.evaluators.maps import full_size_map, main_map
from anatomark.geometry.boxes import (
    box_contains,
    box_iou,
    enclosing_boxes,
    largest_component,
    peak_points,
    threshold_fraction,
    threshold_mean,
    threshold_median,
    union_box,
)
from anatomark.metrics.saliency import stretch
from anatomark.report.box_figures import BoxPanel, draw_boxes
from anatomark.types import AnatomarkError, Pairs, Prediction, Report, Sample

Rule = Callable[[Float[Tensor, "b h w"]], Bool[Tensor, "b h w"]]

UNION = "union"


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A frame with its true boxes.

    Attributes:
        sample: the frame.
        prediction: its map.
        class_name: its class, if known.
        box: the box to find.
        structures: all boxes that are not excluded.
    """

    sample: Sample
    prediction: Prediction
    class_name: str | None
    box: Float[Tensor, "4"]
    structures: dict[str, Float[Tensor, "4"]]


class LocalisationEvaluator:
    """Turns each frame's main map into a box and compares it with the annotated one.

    The map is brought to the size of the image and to [0, 1]; then come the box of the pixels above a threshold,
    MaxBoxAcc (Choe et al. 2020), which asks how good the best fixed threshold would have been, and the pointing game
    (Zhang et al. 2018), which asks whether the maximum lies inside. Frames without a true box are skipped and counted.

    Args:
        threshold: "median" for 1.3 times the map's median (Toussaint et al. 2018), "mean" for its mean (Zhu et al.
            2017), or a fraction of its maximum.
        component: "all" boxes everything above the threshold, "largest" only its largest connected part.
        target: name of the box that is the truth; "union" for the box around all of a frame's boxes; None for its only
            box.
        exclude: boxes that show no target, such as the outline of the whole section.
        classes: class names in the order of labels; without them there are no numbers per class.
        n_fractions: thresholds that MaxBoxAcc tries: i / n_fractions of the maximum, i from 0.
        batch_size: frames at once.
        n_examples: frames in the picture.

    Raises:
        AnatomarkError: an option is out of range.
    """

    splits = ("test",)

    def __init__(
        self,
        *,
        threshold: Literal["median", "mean"] | float = "median",
        component: Literal["all", "largest"] = "all",
        target: str | None = None,
        exclude: Sequence[str] = (),
        classes: Sequence[str] = (),
        n_fractions: int = 20,
        batch_size: int = 16,
        n_examples: int = 6,
    ) -> None:
        if component not in ("all", "largest"):
            raise AnatomarkError(f"`component` of the localisation is {component}; it must be all or largest")
        if n_fractions < 1:
            raise AnatomarkError(f"`n_fractions` of the localisation is {n_fractions}; it must be at least 1")
        self.threshold = threshold
        self.component = component
        self.target = target
        self.exclude = tuple(exclude)
        self.classes = tuple(classes)
        self.fractions = tuple(i / n_fractions for i in range(n_fractions))
        self.batch_size = batch_size
        self.n_examples = n_examples
        self._rule = _threshold_rule(threshold)

    def __call__(self, pairs: Pairs) -> Report:
        """Evaluates a stream of frames.

        Args:
            pairs: frames with a map that covers the image.

        Raises:
            AnatomarkError: no frame has the box, a frame has several and ``target`` names none, a class without name,
                a map that does not cover its image.
        """
        found: list[Found] = []
        panels: list[BoxPanel] = []
        n_skipped = 0
        for targets in self._batches(pairs):
            kept = [target for target in targets if target is not None]
            n_skipped += len(targets) - len(kept)
            if not kept:
                continue
            measured, boxes = self._measure(kept)
            found += measured
            n_wanted = self.n_examples - len(panels)
            panels += [_panel(*shown) for shown in list(zip(kept, measured, boxes, strict=True))[:n_wanted]]
        expected = "a box" if self.target is None else "any box" if self.target == UNION else f"a box {self.target}"
        if not found:
            raise AnatomarkError(
                f"no test frame to localise in: {n_skipped} came, none with {expected}; annotate some in boxes.csv"
            )
        conventions = describe_conventions(
            threshold=self.threshold, component=self.component, target=expected, fractions=self.fractions
        )
        values = {"n_skipped": n_skipped, **summarise(found, self.fractions), "conventions": conventions}
        return Report(
            name="localisation",
            title="Localisation",
            values=values,
            tables=build_tables(values),
            figures={"Predicted and annotated boxes": draw_boxes(panels)} if panels else {},
        )

    def _batches(self, pairs: Pairs) -> Iterator[list[_Target | None]]:
        """Yields batches of frames of one size; None for a frame without the box."""
        size: tuple[int, ...] | None = None
        batch: list[_Target | None] = []
        for sample, prediction in pairs:
            if batch and (sample["image"].shape[-2:] != size or len(batch) == self.batch_size):
                yield batch
                batch = []
            size = sample["image"].shape[-2:]
            batch.append(self._read(sample, prediction))
        if batch:
            yield batch

    def _read(self, sample: Sample, prediction: Prediction) -> _Target | None:
        structures = {name: box for name, box in sample.get("boxes", {}).items() if name not in self.exclude}
        if self.target is None and len(structures) > 1:
            raise AnatomarkError(
                f"frame {sample['key']} has the boxes {', '.join(sorted(structures))}; set the localisation's `target`"
                f" to one of them or to {UNION}, or name others in `exclude`"
            )
        if not structures or (self.target not in (None, UNION) and self.target not in structures):
            return None
        box = structures.get(str(self.target), union_box(torch.stack(list(structures.values()))))
        return _Target(
            sample=sample,
            prediction=prediction,
            class_name=self._class_name(sample),
            box=box,
            structures=structures,
        )

    def _measure(self, targets: Sequence[_Target]) -> tuple[list[Found], Float[Tensor, "b 4"]]:
        """What was found on a batch, and the boxes by the rule."""
        maps = stretch(torch.stack([full_size_map(target.sample, target.prediction) for target in targets]))
        truth = torch.stack([target.box for target in targets]).to(maps)
        masks = self._rule(maps)
        boxes = enclosing_boxes(largest_component(masks) if self.component == "largest" else masks)
        fractions = [
            box_iou(enclosing_boxes(largest_component(threshold_fraction(maps, fraction))), truth)
            for fraction in self.fractions
        ]
        peaks = torch.cat([_peak(target) for target in targets]).to(maps)
        found = [
            Found(
                subject=target.sample["subject"],
                run=target.prediction.get("run", "run"),
                class_name=target.class_name,
                iou=iou,
                fractions=of_fractions.cpu(),
                pointing=inside,
                structures={name: bool(box_contains(box.to(peak), peak)) for name, box in target.structures.items()},
            )
            for target, iou, of_fractions, inside, peak in zip(
                targets,
                box_iou(boxes, truth).tolist(),
                torch.stack(fractions, dim=1),
                box_contains(truth, peaks).tolist(),
                peaks,
                strict=True,
            )
        ]
        return found, boxes

    def _class_name(self, sample: Sample) -> str | None:
        if not self.classes or "label" not in sample:
            return None
        if not 0 <= sample["label"] < len(self.classes):
            raise AnatomarkError(
                f"frame {sample['key']} is of class number {sample['label']}, but `classes` names {len(self.classes)};"
                " name all classes of the data set in data.classes"
            )
        return self.classes[sample["label"]]


def _threshold_rule(threshold: str | float) -> Rule:
    if threshold == "median":
        return threshold_median
    if threshold == "mean":
        return threshold_mean
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise AnatomarkError(
            f"`threshold` of the localisation is {threshold}; it must be median, mean or a fraction of the maximum in"
            " [0, 1]"
        )
    return partial(threshold_fraction, fraction=threshold)


def _peak(target: _Target) -> Float[Tensor, "1 2"]:
    cells = main_map(target.sample, target.prediction)
    return peak_points(cells[None], stride=target.prediction.get("map_stride", 1))


def _panel(target: _Target, found: Found, box: Float[Tensor, "4"]) -> BoxPanel:
    return BoxPanel(
        title=f"{target.sample['key']}, IoU {found.iou:.2f}",
        image=target.sample["image"].float().mean(0).cpu().numpy(),
        saliency=main_map(target.sample, target.prediction).float().cpu().numpy(),
        stride=target.prediction.get("map_stride", 1),
        truth=target.box.tolist(),
        predicted=box.tolist(),
        structures={name: other.tolist() for name, other in target.structures.items() if other is not target.box},
    )
