"""M-SEN's networks: the shapes and formulas of the paper's figure 1, and what they refuse."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anatomark.nets.msen import AttentionNet, ClassificationBranch, Discriminator, Generator
from anatomark.nets.sononet import SonoNetTrunk
from anatomark.types import AnatomarkError
from settled import settle


def make_generator(*, width: int = 16, stride: int = 16, n_classes: int = 2) -> Generator:
    torch.manual_seed(0)
    trunk = SonoNetTrunk(width=width, n_blocks=3, dropout=0.2)
    return Generator(trunk=trunk, attention_stride=stride, n_classes=n_classes).eval()


@pytest.mark.parametrize(("width", "channels"), [(16, 128), (32, 256)])
@pytest.mark.parametrize(("stride", "cells"), [(16, (3, 4)), (8, (6, 8))])
def test_sizes_are_the_papers(width: int, channels: int, stride: int, cells: tuple[int, int]) -> None:
    net = make_generator(width=width, stride=stride, n_classes=3)
    logits, attention, features = net(torch.randn(2, 1, 48, 64))
    assert logits.shape == (2, 3)
    assert attention.shape == (2, *cells)
    assert features.shape == (2, channels, *cells)
    kernels = [tuple(m.weight.shape[2:]) for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert kernels.count((3, 3)) == 2 + 2 + 3 + 3 + 3 + 3  # three blocks, a block per branch, one after the fusion
    assert kernels.count((1, 1)) == 1 + 2
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.2] * kernels.count((3, 3))


def test_attention_weights_the_cells_before_the_last_block() -> None:
    cells, attention = torch.randn(2, 4, 5, 5), torch.rand(2, 5, 5)
    branch = settle(ClassificationBranch(in_channels=4, n_classes=2), cells, attention)
    weighted = torch.einsum("bcij,bij->bcij", branch.before(cells), attention)
    expected = branch.adaptation(branch.after(weighted)).flatten(2).sum(2) / 25
    torch.testing.assert_close(branch(cells, attention), expected)
    unseen = branch(cells, torch.zeros(2, 5, 5))
    torch.testing.assert_close(unseen[0], unseen[1])
    assert not torch.allclose(*branch(cells, torch.ones(2, 5, 5)))


def test_the_generator_is_its_parts() -> None:
    image = torch.randn(2, 1, 32, 48)
    net = settle(make_generator(), image)
    output = net(image)
    cells = F.max_pool2d(net.cells.trunk(image)[-1], 2)
    torch.testing.assert_close(output.features, net.attention.block(cells))
    torch.testing.assert_close(output.attention, net.attention(cells).attention)
    torch.testing.assert_close(output.logits, net.classification(cells, output.attention.sigmoid()))


def test_batched_equals_one_by_one() -> None:
    images = torch.randn(3, 1, 32, 32)
    net = settle(make_generator(stride=8), images)
    together = net(images)
    for index, image in enumerate(images):
        for mine, all_ in zip(net(image[None]), together, strict=True):
            torch.testing.assert_close(mine[0], all_[index], rtol=1e-4, atol=1e-5)


def test_only_new_layers_start_from_the_papers_gaussian() -> None:
    torch.manual_seed(0)
    trunk = SonoNetTrunk(n_blocks=3)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    net = Generator(trunk=trunk)
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())
    for branch in (net.attention, net.classification):
        for module in branch.modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
                assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
                assert abs(module.weight.mean().item()) < 5e-4
    assert net.attention.score.bias.item() == 0


def test_the_attention_net_is_a_generator_without_its_classification_branch() -> None:
    image = torch.randn(2, 1, 32, 32)
    generator = settle(make_generator(stride=8), image)
    net = AttentionNet(trunk=SonoNetTrunk(n_blocks=3), attention_stride=8).eval()
    own = {key: value for key, value in generator.state_dict().items() if not key.startswith("classification.")}
    net.load_state_dict(own)
    torch.testing.assert_close(net(image).attention, generator(image).attention)
    assert net.stride == 8


def test_frames_that_do_not_divide_into_cells_are_refused() -> None:
    with pytest.raises(AnatomarkError, match=r"120 x 120 px .* cells of 16 px; change attention_stride"):
        make_generator()(torch.randn(1, 1, 120, 120))
    make_generator(stride=8)(torch.randn(1, 1, 120, 120))


@pytest.mark.parametrize("stride", [4, 12])
def test_strides_the_trunk_cannot_give_are_refused(stride: int) -> None:
    with pytest.raises(AnatomarkError, match=rf"stride is {stride} and the trunk's stride 8; make it a multiple"):
        make_generator(stride=stride)


def test_the_discriminator_is_the_papers() -> None:
    torch.manual_seed(0)
    net = Discriminator(resolution=24)
    image, attention = torch.randn(2, 1, 48, 48), torch.rand(2, 3, 3)
    frame = image.reshape(2, 1, 24, 2, 24, 2).mean((3, 5))
    x = torch.cat([frame, F.interpolate(attention[:, None], size=(24, 24), mode="bilinear")], 1)
    for weight, bias in zip(*[iter(net.convolutions.parameters())] * 2, strict=True):
        x = F.max_pool2d(F.conv2d(x, weight, bias, padding=1), 2)
        x = torch.maximum(x, 0.2 * x)
    w1, b1, w2, b2, w3, b3 = net.decision.parameters()
    hidden = torch.tanh(torch.tanh(x.flatten(1) @ w1.T + b1) @ w2.T + b2)
    torch.testing.assert_close(net(image, attention), (hidden @ w3.T + b3)[:, 0])
    sizes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert sizes == [(64, 2, 3, 3), (128, 64, 3, 3), (256, 128, 3, 3), (100, 256 * 9), (2, 100), (1, 2)]


def test_the_discriminator_looks_at_frame_and_map() -> None:
    net = Discriminator(resolution=16)
    image, attention = torch.randn(1, 1, 32, 32, requires_grad=True), torch.rand(1, 4, 4, requires_grad=True)
    net(image, attention).sum().backward()
    assert image.grad.abs().sum() > 0
    assert attention.grad.abs().sum() > 0


def test_a_discriminator_too_small_for_its_pools_is_refused() -> None:
    with pytest.raises(AnatomarkError, match="disc_resolution is 7; three max-pools need at least 8 px"):
        Discriminator(resolution=7)
