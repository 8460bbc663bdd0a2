"""The shallow U-Net: its layers, sizes, receptive field and that it learns."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anatomark.nets.unet import ShallowUNet
from anatomark.types import AnatomarkError
from settled import settle


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("width", [64, 8])
def test_parameters_are_those_of_the_paper(width: int, batch_norm: bool) -> None:
    """Wang et al. 2021, section 3.2: shapes 64, 128 and 64 + 128 channels, and a last layer of one."""
    w = width
    inputs_and_outputs = [(1, w), *[(w, w)] * 3, (w, 2 * w), *[(2 * w, 2 * w)] * 3, (3 * w, w), *[(w, w)] * 3]
    per_channel = 2 if batch_norm else 1  # scale and shift, or a bias
    expected = sum(9 * c_in * c_out + per_channel * c_out for c_in, c_out in inputs_and_outputs) + 9 * w + 1
    assert sum(p.numel() for p in ShallowUNet(width=w, batch_norm=batch_norm).parameters()) == expected
    if width == 64 and batch_norm:
        assert expected == 851_073


@pytest.mark.parametrize("batch_norm", [True, False])
def test_layers_are_those_of_the_paper(batch_norm: bool) -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 1, 12, 16)
    net = settle(ShallowUNet(width=6, batch_norm=batch_norm), image)
    state, step = net.state_dict(), 3 if batch_norm else 2

    def block(x: Tensor, name: str) -> Tensor:
        for layer in range(0, 4 * step, step):
            x = F.conv2d(x, state[f"{name}.{layer}.weight"], state.get(f"{name}.{layer}.bias"), padding=1)
            if batch_norm:
                parts = ("running_mean", "running_var", "weight", "bias")
                x = F.batch_norm(x, *(state[f"{name}.{layer + 1}.{part}"] for part in parts))
            x = x.relu()
        return x

    full = block(image, "encoder")
    half = block(full.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)), "bottom")
    doubled = half.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    features = block(torch.cat([full, doubled], dim=1), "decoder")
    torch.testing.assert_close(net.features(image), features, rtol=1e-4, atol=1e-4)
    logits = F.conv2d(features, state["head.weight"], state["head.bias"], padding=1)
    torch.testing.assert_close(net(image), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(100, 100), (33, 40), (40, 33), (1, 1), (5, 2)])
def test_every_pixel_gets_a_score(size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert ShallowUNet(width=2).eval()(torch.rand(3, 1, *size)).shape == (3, 1, *size)


def test_an_odd_size_is_the_even_one_away_from_its_last_row_and_column() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 48, 50)
    net = settle(ShallowUNet(width=4), image)
    odd = net(image[..., :47, :49])
    torch.testing.assert_close(odd[..., :28, :30], net(image)[..., :28, :30], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(odd, net(image)[..., :47, :49], atol=1e-3)


@pytest.mark.parametrize(("row", "first"), [(40, 22), (41, 24)])  # the first and the second pixel of a cell
def test_a_score_depends_on_36_px(row: int, first: int) -> None:
    """Five convolutions back, a reach of 5 px, in cells of 2 px four more, and four convolutions at full size."""
    net = ShallowUNet(width=2).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()  # nothing is cut off by a ReLU
    reaching = torch.zeros(80, 80)
    # Max-pooling passes on one pixel of a cell, so each pixel is the brightest of its cell once.
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        image = torch.full((1, 1, 80, 80), 0.1)
        image[..., y::2, x::2] = 5.0
        image.requires_grad_()
        (gradient,) = torch.autograd.grad(net(image)[0, 0, row, 40], image)
        reaching += gradient[0, 0]
    rows, columns = (reaching > 0).any(1).nonzero(), (reaching > 0).any(0).nonzero()
    assert (int(rows.min()), int(rows.max())) == (first, first + 35)
    assert (int(columns.min()), int(columns.max())) == (22, 57)


def test_the_gradient_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    net = ShallowUNet(width=8)
    F.binary_cross_entropy_with_logits(net(torch.rand(4, 1, 16, 16)), torch.rand(4, 1, 16, 16).round()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def make_discs() -> tuple[Tensor, Tensor]:
    """Noisy images of a bright disc each, and the discs."""
    generator = torch.Generator().manual_seed(0)
    centres = 8 + 8 * torch.rand(8, 2, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    mask = ((y - centres[:, 0]).square() + (x - centres[:, 1]).square() < 25)[:, None].float()
    return mask + 0.3 * torch.randn(mask.shape, generator=generator), mask


@pytest.mark.parametrize("rate", [1e-2, 0.1])
def test_it_learns_a_few_slices_at_the_papers_rate_too(rate: float) -> None:
    torch.manual_seed(0)
    image, mask = make_discs()
    net = ShallowUNet(width=4)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(40):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(image), mask).backward()
        optimizer.step()
    found = net(image) > 0
    overlap = 2 * (found & (mask > 0)).sum() / (found.sum() + mask.sum())
    assert float(overlap) > 0.9


def test_a_width_that_cannot_be_is_refused() -> None:
    with pytest.raises(AnatomarkError, match="width of a U-Net is 0; it must be at least 1"):
        ShallowUNet(width=0)
