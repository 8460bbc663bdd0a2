"""Evaluator: is the class right? (Cai et al. 2018, table 1; Toussaint et al. 2018, table 1)"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anatomark.evaluators.classification_report import (
    CONVENTIONS,
    build_tables,
    describe_gaps,
    draw_figures,
)
from anatomark.evaluators.folds import spread
from anatomark.metrics.classification import (
    Counts,
    Curve,
    accuracy,
    average_precision,
    class_counts,
    confusion_matrix,
    precision_recall_curve,
)
from anatomark.types import AnatomarkError, Pairs, Prediction, Report, Sample


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What is kept of a frame."""

    key: str
    subject: str
    run: str
    label: int
    logits: Float[Tensor, "k"]


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """Some frames side by side."""

    keys: list[str]
    subjects: list[str]
    label: Int[Tensor, "n"]
    probability: Float[Tensor, "n k"]

    @classmethod
    def of(cls, frames: Sequence[_Frame]) -> "_Frames":
        logits = torch.stack([frame.logits for frame in frames])
        return cls(
            keys=[frame.key for frame in frames],
            subjects=[frame.subject for frame in frames],
            label=torch.tensor([frame.label for frame in frames]),
            # In single precision the scores of sure frames would all round to 1.
            probability=logits.double().softmax(1),
        )

    @property
    def predicted(self) -> Int[Tensor, "n"]:
        return self.probability.argmax(1)

    @property
    def confusion(self) -> Int[Tensor, "k k"]:
        return confusion_matrix(self.label, self.predicted, n_classes=self.probability.shape[1])


class ClassificationEvaluator:
    """Scores the most probable class of every frame, over all frames and per fold.

    Per class precision, recall (what the papers call a class's accuracy), F1, and the average precision of its
    probability against all other classes. What cannot be measured, such as the precision of a class that no frame was
    called, is null and named in ``notes``.

    Args:
        classes: class names in the order of labels and logits.
        positive: the class whose precision, recall and F1 stand for the whole, such as the standard plane; None where
            no class is special.
        n_misclassified: how many wrongly classified frames are listed, the surest first.

    Raises:
        AnatomarkError: ``positive`` is no class, or two classes have one name.
    """

    splits = ("test",)

    def __init__(self, *, classes: Sequence[str], positive: str | None = None, n_misclassified: int = 50) -> None:
        if len(set(classes)) != len(classes):
            raise AnatomarkError(f"`classes` is {list(classes)}; give every class its own name")
        if positive is not None and positive not in classes:
            raise AnatomarkError(f"`positive` is {positive}, which is no class; choose one of {', '.join(classes)}")
        self.classes = tuple(classes)
        self.positive = positive
        self.n_misclassified = n_misclassified

    def __call__(self, pairs: Pairs) -> Report:
        """Evaluates a stream of frames.

        Args:
            pairs: labelled frames with ``logits``.

        Raises:
            AnatomarkError: fewer than two classes, no frame, a frame without label or logits, logits of other classes.
        """
        if len(self.classes) < 2:
            raise AnatomarkError(
                f"data.classes names {len(self.classes)} classes; name two or more to evaluate a classification"
            )
        frames = [self._read(sample, prediction) for sample, prediction in pairs]
        if not frames:
            raise AnatomarkError("no test frame to classify; check data.fold and the split of the data set")
        runs: dict[str, list[_Frame]] = defaultdict(list)
        for frame in frames:
            runs[frame.run].append(frame)
        pooled = _Frames.of(frames)
        classes, curves = self._class_values(pooled)
        folds = [{"run": run, **self._scores(_Frames.of(part))} for run, part in runs.items()]
        values = {
            **self._scores(pooled),
            "positive": self.positive,
            "classes": classes,
            "confusion": _confusion_values(pooled.confusion, self.classes),
            "folds": folds,
            **spread([{name: fold[name] for name in self._metrics} for fold in folds]),
            "subjects": self._subject_values(pooled),
            "misclassified": self._misclassified(pooled),
            "notes": describe_gaps(classes),
            "conventions": CONVENTIONS,
        }
        return Report(
            name="classification",
            title="Classification",
            values=values,
            tables=build_tables(values),
            figures=draw_figures(values, curves),
        )

    @property
    def _metrics(self) -> tuple[str, ...]:
        overall = ("average_recall", "accuracy")
        return overall if self.positive is None else ("precision", "recall", "f1", *overall)

    def _read(self, sample: Sample, prediction: Prediction) -> _Frame:
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
        if len(logits) != len(self.classes):
            raise AnatomarkError(
                f"the prediction of frame {key} has {len(logits)} logits for the {len(self.classes)} classes"
                f" {', '.join(self.classes)}; evaluate with the data.classes the model was trained on"
            )
        if not logits.isfinite().all():
            raise AnatomarkError(
                f"the logits of frame {key} are not finite; training diverged, lower the learning rate"
            )
        if not 0 <= sample["label"] < len(self.classes):
            raise AnatomarkError(
                f"frame {key} is of class number {sample['label']}, but `classes` names {len(self.classes)}; name all"
                " classes of the data set in data.classes"
            )
        return _Frame(
            key=key, subject=sample["subject"], run=prediction.get("run", "run"), label=sample["label"], logits=logits
        )

    def _scores(self, frames: _Frames) -> dict[str, Any]:
        """The numbers of one fold, or of all."""
        counts = class_counts(frames.confusion)
        recalls = [c.recall for c in counts if c.recall is not None]
        scores: dict[str, Any] = {"n_frames": len(frames.keys), "n_subjects": len(set(frames.subjects))}
        if self.positive is not None:
            scores |= _count_values(counts[self.classes.index(self.positive)])
        return {**scores, "average_recall": fmean(recalls), "accuracy": accuracy(frames.confusion)}

    def _class_values(self, frames: _Frames) -> tuple[dict[str, dict[str, Any]], dict[str, Curve]]:
        values: dict[str, dict[str, Any]] = {}
        curves: dict[str, Curve] = {}
        for number, (name, counts) in enumerate(zip(self.classes, class_counts(frames.confusion), strict=True)):
            is_class = frames.label == number
            if is_class.any():
                curves[name] = precision_recall_curve(frames.probability[:, number], is_class)
            area = average_precision(curves[name]) if name in curves else None
            values[name] = {**_count_values(counts), "average_precision": area, "n": counts.tp + counts.fn}
        return values, curves

    def _subject_values(self, frames: _Frames) -> dict[str, dict[str, int]]:
        subjects = {}
        for subject in dict.fromkeys(frames.subjects):
            mine = torch.tensor([name == subject for name in frames.subjects])
            confusion = confusion_matrix(
                frames.label[mine], frames.predicted[mine], n_classes=frames.probability.shape[1]
            )
            subjects[subject] = {"n": int(mine.sum()), "correct": int(confusion.trace())}
            if self.positive is not None:
                subjects[subject] |= vars(class_counts(confusion)[self.classes.index(self.positive)])
        return subjects

    def _misclassified(self, frames: _Frames) -> dict[str, Any]:
        sureness, predicted = frames.probability.max(1)
        order = sureness.argsort(descending=True, stable=True)
        wrong = order[(predicted != frames.label)[order]]
        return {
            "n": len(wrong),
            "frames": [
                {
                    "key": frames.keys[i],
                    "subject": frames.subjects[i],
                    "label": self.classes[int(frames.label[i])],
                    "predicted": self.classes[int(predicted[i])],
                    "probability": float(sureness[i]),
                }
                for i in wrong[: self.n_misclassified].tolist()
            ],
        }


def _count_values(counts: Counts) -> dict[str, float | None]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _confusion_values(confusion: Int[Tensor, "k k"], classes: Sequence[str]) -> dict[str, Any]:
    counts: list[list[int]] = confusion.tolist()
    rows = [[n / sum(row) for n in row] if sum(row) else None for row in counts]
    return {"classes": list(classes), "counts": counts, "rows": rows}
