"""Folded batch norms: the same outputs with fewer layers."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from anatomark.inference.folding import fold_batch_norms
from anatomark.nets.msen import Generator
from anatomark.nets.resnet import ResNet
from anatomark.nets.sononet import SonoNet, SonoNetTrunk


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


def used(make: Callable[[], nn.Module]) -> nn.Module:
    """A network in evaluation mode whose batch norms do something, each channel something else."""
    torch.manual_seed(0)
    net = make()
    for norm in norms(net):
        for tensor, low, high in (
            (norm.running_mean, -0.3, 0.3),
            (norm.running_var, 0.2, 3.0),
            (norm.weight, 0.5, 2.0),
            (norm.bias, -0.5, 0.5),
        ):
            assert tensor is not None
            nn.init.uniform_(tensor, low, high)
    return net.eval()


@pytest.mark.parametrize(
    ("make", "left"),
    [
        pytest.param(lambda: Generator(trunk=SonoNetTrunk(n_blocks=3), attention_stride=8), 0, id="M-SEN"),
        pytest.param(lambda: SonoNet(n_classes=3), 0, id="SonoNet"),
        pytest.param(lambda: ResNet(depth=18), 17, id="ResNet"),  # only its three shortcuts are Sequentials
    ],
)
@torch.inference_mode()
def test_the_same_outputs_with_fewer_norms(make: Callable[[], nn.Module], left: int) -> None:
    net = used(make)
    folded = deepcopy(net)
    fold_batch_norms(folded)
    assert len(norms(folded)) == left < len(norms(net))
    image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    expected, found = net(image), folded(image)
    pairs = [(expected, found)] if isinstance(expected, Tensor) else list(zip(expected, found, strict=True))
    for one, other in pairs:
        assert one.std() > 1e-2 * one.abs().mean()
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5 * float(one.abs().max()))


@torch.inference_mode()
def test_norms_after_anything_else_stay() -> None:
    net = used(lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)))
    image = torch.rand(1, 1, 8, 8)
    expected = net(image)
    fold_batch_norms(net)
    assert len(norms(net)) == 2
    assert torch.equal(net(image), expected)
