"""Classification metrics against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from anatomark.metrics.classification import (
    accuracy,
    average_precision,
    class_counts,
    confusion_matrix,
    precision_recall_curve,
)
from anatomark.types import AnatomarkError


def draw(seed: int, n_classes: int, n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(n_classes, (n,), generator=rng)
    wrong = torch.rand(n, generator=rng) < 0.4
    return label, torch.where(wrong, torch.randint(n_classes, (n,), generator=rng), label)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_counts_equal_scikit_learn(n_classes: int) -> None:
    label, predicted = draw(n_classes, n_classes)
    confusion = confusion_matrix(label, predicted, n_classes=n_classes)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(label, predicted))
    counts = class_counts(confusion)
    expected = sk.precision_recall_fscore_support(label, predicted)
    ours = [[c.precision, c.recall, c.f1, c.tp + c.fn] for c in counts]
    np.testing.assert_allclose(np.array(ours).T, expected, rtol=1e-12)
    np.testing.assert_array_equal(
        [[[c.tn, c.fp], [c.fn, c.tp]] for c in counts], sk.multilabel_confusion_matrix(label, predicted)
    )
    assert accuracy(confusion) == pytest.approx(sk.accuracy_score(label, predicted))


def test_what_cannot_be_measured_is_none_and_never_zero() -> None:
    # Class 1 is never called, class 2 called but never there, class 3 neither.
    confusion = confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 0]), n_classes=4)
    _, never_called, never_there, neither = class_counts(confusion)
    assert (never_called.precision, never_called.recall, never_called.f1) == (None, 0.0, 0.0)
    assert (never_there.precision, never_there.recall, never_there.f1) == (0.0, None, 0.0)
    assert (neither.precision, neither.recall, neither.f1) == (None, None, None)
    assert accuracy(torch.zeros(2, 2, dtype=torch.int64)) is None


@pytest.mark.parametrize("ties", [False, True])
def test_curve_and_its_area_equal_scikit_learn(ties: bool) -> None:
    rng = torch.Generator().manual_seed(3)
    positive = torch.rand(150, generator=rng) < 0.3
    score = torch.rand(150, generator=rng).double() + 0.4 * positive
    if ties:
        score = (score * 8).round() / 8
    curve = precision_recall_curve(score, positive)
    precision, recall, threshold = sk.precision_recall_curve(positive, score)
    # scikit-learn lists rising thresholds and adds the point (recall 0, precision 1).
    np.testing.assert_allclose(curve.precision.flip(0), precision[:-1])
    np.testing.assert_allclose(curve.recall.flip(0), recall[:-1])
    np.testing.assert_allclose(curve.threshold.flip(0), threshold)
    assert average_precision(curve) == pytest.approx(sk.average_precision_score(positive, score), abs=1e-12)


def test_the_curve_ignores_order_and_scale() -> None:
    rng = torch.Generator().manual_seed(4)
    score, positive = torch.rand(40, generator=rng), torch.rand(40, generator=rng) < 0.5
    order = torch.randperm(40, generator=rng)
    moved = precision_recall_curve(2 * score[order] - 7, positive[order])
    plain = precision_recall_curve(score, positive)
    assert torch.equal(moved.precision, plain.precision)
    assert torch.equal(moved.recall, plain.recall)


def test_scores_that_say_nothing_have_the_precision_of_chance() -> None:
    positive = torch.arange(10) < 3
    curve = precision_recall_curve(torch.zeros(10), positive)
    assert (curve.precision.tolist(), curve.recall.tolist()) == ([0.3], [1.0])


def test_no_positive_frame_is_refused() -> None:
    with pytest.raises(AnatomarkError, match="no frame is positive"):
        precision_recall_curve(torch.rand(5), torch.zeros(5, dtype=torch.bool))
