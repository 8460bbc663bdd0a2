import math

import pytest
import torch
from scipy.stats import entropy

from anatomark.losses import (
    adversarial_loss,
    attention_loss,
    check_attention_loss,
    density_kl,
    discriminator_loss,
)
from anatomark.types import AnatomarkError


def test_equals_scipy_and_ignores_empty_cells() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, 5), torch.rand(3, 4, 5)
    target[0, :2] = 0
    target = target / target.sum((1, 2), keepdim=True)
    prediction = logits.flatten(1).softmax(1)
    expected = [entropy(t.flatten().numpy(), p.numpy()) for t, p in zip(target, prediction, strict=True)]
    torch.testing.assert_close(density_kl(logits, target).item(), float(sum(expected) / 3), rtol=1e-5, atol=1e-6)


def test_perfect_prediction_costs_nothing() -> None:
    target = torch.rand(2, 3, 3)
    target = target / target.sum((1, 2), keepdim=True)
    assert abs(density_kl(target.log(), target).item()) < 1e-6


def test_frames_nobody_looked_at_are_left_out_and_give_no_gradient() -> None:
    logits = torch.randn(2, 3, 3, requires_grad=True)
    target = torch.rand(2, 3, 3)
    target[1] = 0
    target[0] /= target[0].sum()
    loss = density_kl(logits, target)
    torch.testing.assert_close(loss, density_kl(logits[:1], target[:1]))
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[1] == 0).all()
    assert density_kl(logits, torch.zeros(2, 3, 3)).item() == 0


@pytest.mark.parametrize("kind", ["bce", "mse"])
def test_attention_loss_is_the_mean_over_cells_and_watched_frames(kind: str) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, 5, requires_grad=True), torch.rand(3, 4, 5)
    target[0] = 0  # watched, and nothing fixated: counts
    watched = torch.tensor([True, False, True])
    p, t = 1 / (1 + (-logits[watched].detach().double()).exp()), target[watched].double()
    per_cell = -(t * p.log() + (1 - t) * (1 - p).log()) if kind == "bce" else (p - t) ** 2
    loss = attention_loss(logits, target, watched, kind=kind)
    assert loss.item() == pytest.approx(per_cell.mean().item(), rel=1e-5)
    loss.backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[0] != 0).all()


def test_an_unknown_attention_loss_is_refused_not_taken_for_another() -> None:
    for known in ("bce", "mse"):
        check_attention_loss(known)
    with pytest.raises(AnatomarkError, match="saliency_loss is BCE; it must be bce or mse"):
        check_attention_loss("BCE")


def test_without_gaze_there_is_nothing_to_learn_from_it() -> None:
    nobody = torch.zeros(2, dtype=torch.bool)
    assert attention_loss(torch.randn(2, 3, 3), torch.zeros(2, 3, 3), nobody).item() == 0
    assert discriminator_loss(torch.randn(2), torch.randn(2), nobody).item() == 0
    assert adversarial_loss(torch.randn(2), nobody).item() == 0


def test_the_game_of_generator_and_discriminator() -> None:
    real, fake = torch.tensor([0.3, -1.0, 5.0]), torch.tensor([-0.7, 2.0, 5.0])
    watched = torch.tensor([True, True, False])
    d = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    expected = [
        -0.9 * math.log(d(r)) - 0.1 * math.log(1 - d(r)) - math.log(1 - d(f)) for r, f in ((0.3, -0.7), (-1, 2))
    ]
    assert discriminator_loss(real, fake, watched).item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    assert adversarial_loss(fake, watched).item() == pytest.approx(-(math.log(d(-0.7)) + math.log(d(2))) / 2, rel=1e-5)


def test_smoothing_is_one_sided() -> None:
    watched, fake = torch.ones(1, dtype=torch.bool), torch.tensor([0.0])
    logits = torch.linspace(-6, 6, 1201)
    losses = torch.stack([discriminator_loss(x[None], fake, watched) for x in logits])
    assert logits[losses.argmin()].sigmoid().item() == pytest.approx(0.9, abs=2e-3)
    fakes = torch.stack([discriminator_loss(fake, x[None], watched) for x in logits])
    assert fakes.argmin() == 0  # the surer that a fake is fake, the better
