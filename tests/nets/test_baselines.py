"""The baselines that see the sonographer's map: their paths against M-SEN's, and what each input does."""

import pytest
import torch
from torch import Tensor, nn

from anatomark.nets.attention_classifier import AttentionClassifier
from anatomark.nets.msen import Generator
from anatomark.nets.sonoeyenet import SonoEyeNet
from anatomark.nets.sononet import SonoNetTrunk
from anatomark.types import AnatomarkError
from settled import settle


def make_net(name: str, *, width: int = 16, stride: int = 8, n_classes: int = 2) -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    options = {"attention_stride": stride, "n_classes": n_classes}
    image, attention = torch.randn(3, 1, 32, 48), torch.rand(3, 1, 32, 48)
    if name == "attention":
        return AttentionClassifier(width=width, **options), [attention]
    return SonoEyeNet(trunk=SonoNetTrunk(width=width, n_blocks=3), **options), [image, attention]


NETS = pytest.mark.parametrize("name", ["attention", "both"])


@NETS
@pytest.mark.parametrize(("stride", "cells"), [(8, (4, 6)), (16, (2, 3))])
def test_logits_are_the_means_of_the_class_maps(name: str, stride: int, cells: tuple[int, int]) -> None:
    net, inputs = make_net(name, stride=stride, n_classes=3)
    logits, class_maps, features = settle(net, *inputs)(*inputs)
    assert class_maps.shape == (3, 3, *cells)
    assert features.shape[2:] == cells
    torch.testing.assert_close(logits, class_maps.flatten(2).sum(2) / (cells[0] * cells[1]))
    assert (net.stride, net.n_classes) == (stride, 3)


@NETS
def test_batched_equals_one_by_one(name: str) -> None:
    net, inputs = make_net(name)
    together = settle(net, *inputs)(*inputs)
    for index in range(3):
        for alone, all_ in zip(net(*(one[index : index + 1] for one in inputs)), together, strict=True):
            torch.testing.assert_close(alone[0], all_[index], rtol=1e-4, atol=1e-4)


@NETS
def test_every_input_matters(name: str) -> None:
    net, inputs = make_net(name)
    settle(net, *inputs)
    for one in inputs:
        one.requires_grad_()
    net(*inputs).logits[:, 1].sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in inputs)


@pytest.mark.parametrize("width", [16, 32])
def test_the_attention_classifier_has_the_layers_of_msens_path(width: int) -> None:
    def kernels(*parts: nn.Module) -> list[tuple[int, ...]]:
        return [tuple(m.weight.shape) for part in parts for m in part.modules() if isinstance(m, nn.Conv2d)]

    generator = Generator(trunk=SonoNetTrunk(width=width, n_blocks=3))
    net = AttentionClassifier(width=width)
    assert kernels(net) == kernels(generator.cells, generator.classification)
    dropouts = [m for m in net.modules() if isinstance(m, nn.Dropout)]
    assert [m.p for m in dropouts] == [0.2] * (2 + 2 + 3 + 3 + 3)  # on every convolution before the adaptation layers


def test_only_new_layers_start_from_the_papers_gaussian() -> None:
    torch.manual_seed(0)
    trunk = SonoNetTrunk(n_blocks=3)
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    eye = SonoEyeNet(trunk=trunk)
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())
    for part in (AttentionClassifier(), eye.frame_blocks, eye.attention_cells, eye.adaptation):
        for module in part.modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
                assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_streams_of_sonoeyenet_meet_at_the_adaptation_layers_only() -> None:
    """Cells of the fused features depend on the frame or on the map, never on both."""
    net, (image, attention) = make_net("both")
    settle(net, image, attention)
    first, second = net(image, attention).features, net(torch.zeros_like(image), attention).features
    third = net(image, torch.zeros_like(attention)).features
    of_frame, of_map = (first != second).any(0).flatten(1).any(1), (first != third).any(0).flatten(1).any(1)
    assert not (of_frame & of_map).any()
    assert (of_frame.sum(), of_map.sum()) == (128, 64)


@NETS
def test_frames_that_do_not_divide_into_cells_are_refused(name: str) -> None:
    net, inputs = make_net(name, stride=16)
    with pytest.raises(AnatomarkError, match=r"do not divide into cells of 16 px; change attention_stride"):
        net(*(one[..., :40] for one in inputs))
