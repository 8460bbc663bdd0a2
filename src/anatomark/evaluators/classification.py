"""Evaluator: is the class right? (Cai et al. 2018, table 1; Toussaint et al. 2018, table 1)"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from jaxtyping import Int
from torch import Tensor

from anatomark.evaluators.classification_frames import SCORES, Classified, ClassifiedFrame, ScoreName, read_frame
from anatomark.evaluators.classification_report import (
    build_tables,
    describe_conventions,
    describe_gaps,
    draw_figures,
    precision_at_recall,
)
from anatomark.evaluators.folds import spread
from anatomark.metrics.classification import (
    Counts,
    Curve,
    accuracy,
    average_precision,
    class_counts,
    precision_recall_curve,
)
from anatomark.types import AnatomarkError, Pairs, Report


class ClassificationEvaluator:
    """Scores the most probable class of every frame, over all frames and per fold.

    Per class precision, recall (what the papers call a class's accuracy), F1, and precision over recall of its score
    against all other classes. What cannot be measured, such as the precision of a class that no frame was called, is
    null and named in ``notes``.

    Args:
        classes: class names in the order of labels and logits.
        positive: the class whose precision, recall and F1 stand for the whole, such as the standard plane; None where
            no class is special. Of two classes it is the second, as in training.
        exclude: classes that stay out of the averages over classes, such as the background, which Toussaint et al.
            (2018) train but leave out of their table. Their frames are classified and counted as all others.
        score: what makes a class's score of the logits: "softmax" for a network trained on exclusive classes, whose
            logits have a meaning only beside each other in a frame; "sigmoid" for one trained on each class by itself,
            whose every logit can be compared across frames. Precision over recall depends on it, the class does not.
        n_misclassified: how many wrongly classified frames are listed, the surest first.

    Raises:
        AnatomarkError: ``positive`` is no class or the first of two, an excluded one is no class, no class is left, two
            classes have one name, or ``score`` is unknown.
    """

    splits = ("test",)

    def __init__(
        self,
        *,
        classes: Sequence[str],
        positive: str | None = None,
        exclude: Sequence[str] = (),
        score: ScoreName = "softmax",
        n_misclassified: int = 50,
    ) -> None:
        if len(set(classes)) != len(classes):
            raise AnatomarkError(f"`classes` is {list(classes)}; give every class its own name")
        if positive is not None and positive not in classes:
            raise AnatomarkError(f"`positive` is {positive}, which is no class; choose one of {', '.join(classes)}")
        if positive is not None and len(classes) == 2 and positive != classes[1]:
            raise AnatomarkError(
                f"`positive` is {positive}, the first of two classes, but scores during training take the second for"
                f" the positive one; train with data.classes=[{classes[1]},{positive}]"
            )
        if unknown := sorted(set(exclude) - set(classes)):
            raise AnatomarkError(f"`exclude` names {unknown[0]}, which is no class; choose among {', '.join(classes)}")
        if exclude and set(exclude) == set(classes):
            raise AnatomarkError("`exclude` names all classes, so none is left to average over; keep some")
        if score not in SCORES:
            raise AnatomarkError(f"`score` of the classification is {score}; it must be {' or '.join(SCORES)}")
        self.classes = tuple(classes)
        self.averaged = tuple(name for name in classes if name not in exclude)
        self.positive = positive
        self.score: ScoreName = score
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
        frames = [read_frame(sample, prediction, self.classes) for sample, prediction in pairs]
        if not frames:
            raise AnatomarkError("no test frame to classify; check data.fold and the split of the data set")
        runs: dict[str, list[ClassifiedFrame]] = defaultdict(list)
        for frame in frames:
            runs[frame.run].append(frame)
        pooled = Classified.of(frames, self.score)
        classes, curves = self._class_values(pooled)
        folds = [{"run": run, **self._scores(Classified.of(part, self.score))} for run, part in runs.items()]
        values = {
            **self._scores(pooled),
            "positive": self.positive,
            "averaged": list(self.averaged),
            "mean_average_precision": _mean([classes[name]["average_precision"] for name in self.averaged]),
            "classes": classes,
            "precision_at_recall": {name: precision_at_recall(curve) for name, curve in curves.items()},
            "confusion": _confusion_values(pooled.confusion, self.classes),
            "folds": folds,
            **spread([{name: fold[name] for name in self._metrics} for fold in folds]),
            "subjects": self._subject_values(pooled),
            "misclassified": self._misclassified(pooled),
            "notes": describe_gaps(classes),
            "conventions": describe_conventions(self.score),
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

    def _scores(self, frames: Classified) -> dict[str, Any]:
        """The numbers of one fold, or of all."""
        counts = class_counts(frames.confusion)
        recalls = [count.recall for name, count in zip(self.classes, counts, strict=True) if name in self.averaged]
        scores: dict[str, Any] = {"n_frames": len(frames.keys), "n_subjects": len(set(frames.subjects))}
        if self.positive is not None:
            scores |= _count_values(counts[self.classes.index(self.positive)])
        return {**scores, "average_recall": _mean(recalls), "accuracy": accuracy(frames.confusion)}

    def _class_values(self, frames: Classified) -> tuple[dict[str, dict[str, Any]], dict[str, Curve]]:
        values: dict[str, dict[str, Any]] = {}
        curves: dict[str, Curve] = {}
        for number, (name, counts) in enumerate(zip(self.classes, class_counts(frames.confusion), strict=True)):
            shows_class = frames.present[:, number]
            if shows_class.any():
                curves[name] = precision_recall_curve(frames.score[:, number], shows_class)
            area = average_precision(curves[name]) if name in curves else None
            values[name] = {**_count_values(counts), "average_precision": area, "n": counts.tp + counts.fn}
        return values, curves

    def _subject_values(self, frames: Classified) -> dict[str, dict[str, Any]]:
        subjects: dict[str, dict[str, Any]] = {}
        for subject, confusion in frames.confusion_of_subjects().items():
            counts = class_counts(confusion)
            subjects[subject] = {
                "n": int(confusion.sum()),
                "correct": int(confusion.trace()),
                "classes": {
                    name: {"n": count.tp + count.fn, "correct": count.tp}
                    for name, count in zip(self.classes, counts, strict=True)
                },
            }
            if self.positive is not None:
                subjects[subject] |= vars(counts[self.classes.index(self.positive)])
        return subjects

    def _misclassified(self, frames: Classified) -> dict[str, Any]:
        sureness = frames.score.gather(1, frames.predicted[:, None])[:, 0]
        order = sureness.argsort(descending=True, stable=True)
        wrong = order[(frames.predicted != frames.label)[order]]
        return {
            "n": len(wrong),
            "frames": [
                {
                    "key": frames.keys[i],
                    "subject": frames.subjects[i],
                    "label": self.classes[int(frames.label[i])],
                    "predicted": self.classes[int(frames.predicted[i])],
                    "probability": float(sureness[i]),
                }
                for i in wrong[: self.n_misclassified].tolist()
            ],
        }


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what was measured."""
    measured = [value for value in values if value is not None]
    return fmean(measured) if measured else None


def _count_values(counts: Counts) -> dict[str, float | None]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _confusion_values(confusion: Int[Tensor, "k k"], classes: Sequence[str]) -> dict[str, Any]:
    counts: list[list[int]] = confusion.tolist()
    rows = [[n / sum(row) for n in row] if sum(row) else None for row in counts]
    return {"classes": list(classes), "counts": counts, "rows": rows}
