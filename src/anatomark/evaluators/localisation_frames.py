"""Frames as the localisation evaluator sees them: what is to be found, and the maps that may find it."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from anatomark.evaluators.maps import predicted_class
from anatomark.geometry.boxes import union_box
from anatomark.types import AnatomarkError, Prediction, Sample

UNION = "union"
MAIN = "main"
CENTRE = "centre Gaussian"
"""The control: a map that has not seen the image (Choe et al. 2020)."""


class Choice(NamedTuple):
    """Whose map is asked.

    Attributes:
        method: :data:`MAIN` for the network's own map, :data:`CENTRE`, or a name among ``other_maps``.
        gt_known: the map of the true class, else that of the most probable one.
    """

    method: str
    gt_known: bool


HEADLINE = Choice(method=MAIN, gt_known=False)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A frame with its true boxes.

    Attributes:
        sample: the frame as the network saw it.
        prediction: its maps.
        frame: the frame that boxes are annotated in and compared in: before it was made polar, if it was.
        class_name: its class, if known.
        taken_for: another class that the network took it for, if it did.
        box: the box to find, px of ``frame``.
        structures: all boxes that are not excluded, px of ``frame``.
        choices: what is asked -> index of its map among those of the method.
    """

    sample: Sample
    prediction: Prediction
    frame: Sample
    class_name: str | None
    taken_for: str | None
    box: Float[Tensor, "4"]
    structures: dict[str, Float[Tensor, "4"]]
    choices: dict[Choice, int]

    def maps(self, method: str) -> Float[Tensor, "m y x"]:
        """The maps of a method, one for the frame or one per class."""
        if method == CENTRE:
            return centre_gaussian(self.prediction["maps"][:1])
        return self.prediction["maps"] if method == MAIN else self.prediction["other_maps"][method]


@dataclass(frozen=True, kw_only=True)
class TargetReader:
    """Finds what is to be localised in a frame.

    Attributes:
        target: name of the true box, :data:`UNION`, or None for a frame's only box.
        exclude: boxes that are no target.
        classes: class names in the order of labels; empty where none are known.
    """

    target: str | None
    exclude: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def expected(self) -> str:
        """What a frame must have."""
        return "a box" if self.target is None else "any box" if self.target == UNION else f"a box {self.target}"

    def read(self, sample: Sample, prediction: Prediction) -> Target | None:
        """Reads a frame; None for one without the box.

        Raises:
            AnatomarkError: it has several boxes and ``target`` names none, a class outside the list, or maps that
                belong to no class.
        """
        frame = sample.get("cartesian", sample)
        structures = {name: box for name, box in frame.get("boxes", {}).items() if name not in self.exclude}
        if self.target is None and len(structures) > 1:
            raise AnatomarkError(
                f"frame {sample['key']} has the boxes {', '.join(sorted(structures))}; set the localisation's `target`"
                f" to one of them or to {UNION}, or name others in `exclude`"
            )
        if not structures or (self.target not in (None, UNION) and self.target not in structures):
            return None
        class_name = self._name(sample)
        boxes = list(structures.values())
        return Target(
            sample=sample,
            prediction=prediction,
            frame=frame,
            class_name=class_name,
            taken_for=None if class_name is None else self._mistake(sample, prediction),
            box=structures.get(str(self.target), boxes[0] if len(boxes) == 1 else union_box(torch.stack(boxes))),
            structures=structures,
            choices=_choices(sample, prediction),
        )

    def _name(self, sample: Sample) -> str | None:
        if not self.classes or "label" not in sample:
            return None
        if not 0 <= sample["label"] < len(self.classes):
            raise AnatomarkError(
                f"frame {sample['key']} is of class number {sample['label']}, but `classes` names {len(self.classes)};"
                " name all classes of the data set in data.classes"
            )
        return self.classes[sample["label"]]

    def _mistake(self, sample: Sample, prediction: Prediction) -> str | None:
        if "logits" not in prediction:
            return None
        if len(prediction["logits"]) != len(self.classes):
            raise AnatomarkError(
                f"the prediction of frame {sample['key']} has {len(prediction['logits'])} logits for the"
                f" {len(self.classes)} classes {', '.join(self.classes)}; evaluate with the data.classes the model was"
                " trained on"
            )
        called = int(prediction["logits"].argmax())
        return None if called == sample["label"] else self.classes[called]


def _choices(sample: Sample, prediction: Prediction) -> dict[Choice, int]:
    choices: dict[Choice, int] = {}
    for method, maps in {MAIN: prediction["maps"], **prediction.get("other_maps", {})}.items():
        called = predicted_class(sample, prediction, maps)
        choices[Choice(method=method, gt_known=False)] = called or 0
        if called is not None and "label" in sample:
            choices[Choice(method=method, gt_known=True)] = _true_class(sample, len(maps))
    return {**choices, Choice(method=CENTRE, gt_known=False): 0}


def centre_gaussian(like: Float[Tensor, "1 y x"]) -> Float[Tensor, "1 y x"]:
    """A Gaussian at the middle of a map, its deviation half of the map's sides."""
    rows, columns = (torch.exp(-(2 * (torch.arange(n).to(like) + 0.5) / n - 1).square() / 2) for n in like.shape[1:])
    return (rows[:, None] * columns)[None]


def _true_class(sample: Sample, n_classes: int) -> int:
    if not 0 <= sample["label"] < n_classes:
        raise AnatomarkError(
            f"frame {sample['key']} is of class number {sample['label']}, but its prediction has the maps of"
            f" {n_classes} classes; evaluate with the data.classes the model was trained on"
        )
    return sample["label"]
