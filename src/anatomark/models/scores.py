"""Validation and test scores that models share, per stage ("val", "test")."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.classification import (
    BinaryF1Score,
    BinaryJaccardIndex,
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
    MulticlassStatScores,
)

from anatomark.metrics.saliency import SaliencyMetrics
from anatomark.types import AnatomarkError, Batch

STAGES = ("val", "test")


class MapScores(nn.Module):
    """:class:`~anatomark.metrics.saliency.SaliencyMetrics` of every stage."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics = nn.ModuleDict({stage: SaliencyMetrics() for stage in STAGES})
        self.n_watched = nn.ModuleDict({stage: SumMetric() for stage in STAGES})

    def update(self, stage: str, maps: Float[Tensor, "b h w"], target: Float[Tensor, "b y x"], batch: Batch) -> None:
        """Scores a batch at the size of the target.

        Args:
            stage: "val" or "test".
            maps: predicted maps.
            target: the sonographers' attention at full size, as density or map.
            batch: the frames.
        """
        watched = batch["has_gaze"]
        if watched.any():
            subjects = [sample["subject"] for sample in batch["samples"]]
            single = (maps.float(), target.float(), batch["fixations"].float())
            self.metrics[stage].update(*single, subjects)  # type: ignore[operator]
        self.n_watched[stage].update(watched.sum())  # type: ignore[operator]

    def compute(self, stage: str) -> dict[str, Tensor]:
        """The scores as ``<stage>/<name>``, and starts anew; empty where no frame's gaze was recorded."""
        metrics, n_watched = self.metrics[stage], self.n_watched[stage]
        assert isinstance(metrics, SaliencyMetrics)
        assert isinstance(n_watched, SumMetric)
        # The sum over all ranks, so that they agree on whether to synchronise the scores.
        found = metrics.compute() if n_watched.compute() > 0 else {}
        metrics.reset()
        n_watched.reset()
        return {f"{stage}/{name}": value.float() for name, value in found.items()}


class ClassScores(nn.Module):
    """Precision, recall, F1, accuracy and average recall of every stage.

    Of two classes the second is the positive one, the standard plane; of more, the first three are means over classes.
    The average recall ("average accuracy" of Toussaint et al. 2018) is the mean over the classes that have frames.

    Args:
        n_classes: number of classes, at least 2.
    """

    def __init__(self, *, n_classes: int) -> None:
        super().__init__()
        if n_classes < 2:
            raise AnatomarkError(f"a classifier of {n_classes} classes says nothing; name two or more in data.classes")
        self.n_classes = n_classes
        self.metrics = nn.ModuleDict({stage: self._metrics() for stage in STAGES})

    def _metrics(self) -> MetricCollection:
        n_classes = self.n_classes
        return MetricCollection(
            {
                "precision": MulticlassPrecision(n_classes, average="none"),
                "recall": MulticlassRecall(n_classes, average="none"),
                "f1": MulticlassF1Score(n_classes, average="none"),
                "accuracy": MulticlassAccuracy(n_classes, average="micro"),
                "average_recall": MulticlassStatScores(n_classes, average="none"),
            }
        )

    def update(self, stage: str, logits: Float[Tensor, "b k"], label: Int[Tensor, "b"]) -> None:
        """Scores a batch.

        Args:
            stage: "val" or "test".
            logits: class scores.
            label: true class indices.
        """
        self.metrics[stage].update(logits.float(), label)  # type: ignore[operator]

    def compute(self, stage: str) -> dict[str, Tensor]:
        """The scores as ``<stage>/<name>``, and starts anew."""
        metrics = self.metrics[stage]
        assert isinstance(metrics, MetricCollection)
        found = metrics.compute()
        metrics.reset()
        return {f"{stage}/{name}": self._summary(value) for name, value in found.items()}

    def _summary(self, value: Tensor) -> Tensor:
        if value.ndim == 0:
            return value
        if value.ndim == 2:  # class x (true positives, ..., frames)
            true_positives, n_frames = value[:, 0], value[:, -1]
            return (true_positives / n_frames)[n_frames > 0].mean()
        return value[1] if self.n_classes == 2 else value.mean()


class OverlapScores(nn.Module):
    """Dice coefficient and intersection over union of every stage, over the pixels of all frames together."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics = nn.ModuleDict(
            {stage: MetricCollection({"dice": BinaryF1Score(), "iou": BinaryJaccardIndex()}) for stage in STAGES}
        )

    def update(self, stage: str, logits: Float[Tensor, "b 1 h w"], mask: Float[Tensor, "b 1 h w"]) -> None:
        """Scores a batch: the structure is where its probability is at least 0.5."""
        self.metrics[stage].update(logits.float().sigmoid(), mask.int())  # type: ignore[operator]

    def compute(self, stage: str) -> dict[str, Tensor]:
        """The scores as ``<stage>/<name>``, and starts anew."""
        metrics = self.metrics[stage]
        assert isinstance(metrics, MetricCollection)
        found = metrics.compute()
        metrics.reset()
        return {f"{stage}/{name}": value for name, value in found.items()}
