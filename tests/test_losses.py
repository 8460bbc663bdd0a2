import torch
from scipy.stats import entropy

from anatomark.losses import density_kl


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
