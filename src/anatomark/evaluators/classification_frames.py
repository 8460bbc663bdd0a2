"""What the classification evaluator keeps of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from anatomark.metrics.classification import confusion_matrix
from anatomark.types import AnatomarkError, Prediction, Sample

ScoreName = Literal["softmax", "sigmoid"]
SCORES = get_args(ScoreName)


@dataclass(frozen=True, kw_only=True)
class ClassifiedFrame:
    """What is kept of a frame.

    Attributes:
        key: its id.
        subject: the person.
        run: the run that classified it.
        label: index of its class.
        present: the classes it shows, its own and others.
        logits: class scores as the network gives them.
    """

    key: str
    subject: str
    run: str
    label: int
    present: Bool[Tensor, "k"]
    logits: Float[Tensor, "k"]


@dataclass(frozen=True, kw_only=True)
class Classified:
    """Some frames side by side.

    Attributes:
        keys: their ids.
        subjects: their persons.
        label: their classes.
        present: which classes a score of theirs stands for: by "softmax" their own, by "sigmoid" all they show.
        predicted: the classes of the largest logits.
        score: how sure the network was of each class, in [0, 1].
    """

    keys: list[str]
    subjects: list[str]
    label: Int[Tensor, "n"]
    present: Bool[Tensor, "n k"]
    predicted: Int[Tensor, "n"]
    score: Float[Tensor, "n k"]

    @classmethod
    def of(cls, frames: Sequence[ClassifiedFrame], score: ScoreName) -> "Classified":
        """Puts frames together.

        Args:
            frames: at least one.
            score: what makes scores of logits.
        """
        # In single precision the scores of sure frames would all round to 1.
        logits = torch.stack([frame.logits for frame in frames]).double()
        label = torch.tensor([frame.label for frame in frames])
        own, exclusive = one_hot(label, logits.shape[1]).bool(), score == "softmax"
        return cls(
            keys=[frame.key for frame in frames],
            subjects=[frame.subject for frame in frames],
            label=label,
            present=own if exclusive else torch.stack([frame.present for frame in frames]),
            predicted=logits.argmax(1),
            score=logits.softmax(1) if exclusive else logits.sigmoid(),
        )

    @property
    def confusion(self) -> Int[Tensor, "k k"]:
        """Frames of every class (row) that were called every class (column)."""
        return confusion_matrix(self.label, self.predicted, n_classes=self.score.shape[1])

    def confusion_of_subjects(self) -> dict[str, Int[Tensor, "k k"]]:
        """The same of every subject, in the order in which they first come."""
        number = {subject: i for i, subject in enumerate(dict.fromkeys(self.subjects))}
        n_classes = self.score.shape[1]
        subject = torch.tensor([number[name] for name in self.subjects])
        # A number for every subject, class and called class, so that all are counted at once.
        cells = (subject * n_classes + self.label) * n_classes + self.predicted
        counts = torch.bincount(cells, minlength=len(number) * n_classes**2).view(-1, n_classes, n_classes)
        return dict(zip(number, counts, strict=True))


def read_frame(sample: Sample, prediction: Prediction, classes: Sequence[str]) -> ClassifiedFrame:
    """Takes what is needed from a frame and its prediction.

    Args:
        sample: a labelled frame.
        prediction: its ``logits``, one per class.
        classes: class names in the order of labels and logits.

    Raises:
        AnatomarkError: no label or logits, a label outside the classes, logits of other classes or not finite.
    """
    key = sample["key"]
    if "label" not in sample:
        raise AnatomarkError(
            f"frame {key} has no class to compare with; give it one in the column `label` of frames.csv"
        )
    if "logits" not in prediction:
        raise AnatomarkError(
            f"the prediction of frame {key} has no `logits`, so its model classifies nothing; leave the"
            " classification evaluator out or use a classifier, such as `msen`"
        )
    logits = prediction["logits"].detach().float().cpu()
    if len(logits) != len(classes):
        raise AnatomarkError(
            f"the prediction of frame {key} has {len(logits)} logits for the {len(classes)} classes"
            f" {', '.join(classes)}; evaluate with the data.classes the model was trained on"
        )
    if not logits.isfinite().all():
        raise AnatomarkError(f"the logits of frame {key} are not finite; training diverged, lower the learning rate")
    if not 0 <= sample["label"] < len(classes):
        raise AnatomarkError(
            f"frame {key} is of class number {sample['label']}, but `classes` names {len(classes)}; name all"
            " classes of the data set in data.classes"
        )
    return ClassifiedFrame(
        key=key,
        subject=sample["subject"],
        run=prediction.get("run", "run"),
        label=sample["label"],
        present=sample.get("present", one_hot(torch.tensor(sample["label"]), len(classes)).bool()),
        logits=logits,
    )
