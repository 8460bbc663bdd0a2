"""What callbacks need of a model."""

from typing import Protocol

from anatomark.types import Batch, Prediction


class Predictor(Protocol):
    """What callbacks need of a model."""

    def predict(self, batch: Batch) -> list[Prediction]:
        """Predicts every frame of a batch."""
        ...
