"""Streams of frames with labels and logits, and what the classification evaluator says of them."""

from collections.abc import Sequence

import numpy as np
import torch

from anatomark.evaluators.classification import ClassificationEvaluator
from anatomark.types import Prediction, Report, Sample

CLASSES = ("background", "plane", "other")


def make_stream(
    n: int, *, run: str = "r", seed: int = 0, n_classes: int = 3, subjects: Sequence[str] = ("a", "b", "c")
) -> list[tuple[Sample, Prediction]]:
    rng = torch.Generator().manual_seed(seed)
    stream = []
    for i in range(n):
        label = int(torch.randint(n_classes, (1,), generator=rng))
        logits = torch.randn(n_classes, generator=rng)
        logits[label] += 1
        key = f"{run}{i:03d}"
        sample = Sample(
            key=key,
            subject=subjects[i % len(subjects)],
            image=torch.zeros(1, 8, 8),
            spacing_mm=torch.ones(2),
            split="test",
            label=label,
        )
        stream.append((sample, Prediction(key=key, maps=torch.zeros(1, 2, 2), logits=logits, run=run)))
    return stream


def arrays(stream: list[tuple[Sample, Prediction]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s["label"] for s, _ in stream]), np.stack([p["logits"].numpy() for _, p in stream])


def evaluate(stream: list[tuple[Sample, Prediction]], **settings: object) -> Report:
    return ClassificationEvaluator(**({"classes": CLASSES} | settings))(iter(stream))  # type: ignore[arg-type]
