"""Overlap of masks against scikit-learn, and what must not change it."""

import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from anatomark.metrics.segmentation import dice, iou


def random_masks(n: int = 12, *, share: float = 0.4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, n, 9, 13, generator=rng) < share
    return first, second | (first & (torch.rand(n, 9, 13, generator=rng) < 0.7))


@pytest.mark.parametrize("share", [0.02, 0.4, 0.95])
def test_overlap_equals_scikit_learns(share: float) -> None:
    predicted, truth = random_masks(share=share)
    pairs = [(t.flatten().numpy(), p.flatten().numpy()) for t, p in zip(truth, predicted, strict=True)]
    expected = [f1_score(*pair, zero_division=1.0) for pair in pairs]
    torch.testing.assert_close(dice(predicted, truth), torch.tensor(expected).float())
    expected = [1.0 if not (t | p).any() else jaccard_score(t, p) for t, p in pairs]
    torch.testing.assert_close(iou(predicted, truth), torch.tensor(expected).float())


def test_empty_masks() -> None:
    empty, dot = torch.zeros(1, 4, 5, dtype=torch.bool), torch.zeros(1, 4, 5, dtype=torch.bool)
    dot[0, 2, 3] = True
    for metric in (dice, iou):
        assert metric(empty, empty).tolist() == [1]  # they agree that there is nothing
        assert metric(dot, empty).tolist() == metric(empty, dot).tolist() == [0]
        assert metric(dot, dot).tolist() == metric(~empty, ~empty).tolist() == [1]
        assert metric(empty[:0], empty[:0]).shape == (0,)


def test_overlap_does_not_depend_on_place_order_or_company() -> None:
    predicted, truth = random_masks()
    for metric in (dice, iou):
        value = metric(predicted, truth)
        assert torch.equal(metric(truth, predicted), value)
        assert torch.equal(metric(predicted.flip(-1), truth.flip(-1)), value)
        assert torch.equal(metric(predicted.roll((2, 3), (1, 2)), truth.roll((2, 3), (1, 2))), value)
        doubled = [mask.repeat_interleave(2, 1).repeat_interleave(2, 2) for mask in (predicted, truth)]
        assert torch.equal(metric(*doubled), value)
        one_by_one = [metric(p[None], t[None]) for p, t in zip(predicted, truth, strict=True)]
        assert torch.equal(torch.cat(one_by_one), value)
        volumes = [mask.view(3, 4, 9, 13) for mask in (predicted, truth)]
        assert torch.equal(metric(*volumes), metric(*(volume.flatten(1, 2) for volume in volumes)))


def test_the_two_measure_the_same_thing() -> None:
    overlap = iou(*random_masks())
    torch.testing.assert_close(dice(*random_masks()), 2 * overlap / (1 + overlap))
