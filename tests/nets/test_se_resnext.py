"""The paper's trunk: sizes, strides and parameter counts."""

import pytest
import torch
from torch import nn

from anatomark.nets.saliency import SaliencyNet
from anatomark.nets.se_resnext import Bottleneck, SEResNeXt, SqueezeExcitation
from anatomark.types import AnatomarkError


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_half_width_trunk_has_the_papers_size() -> None:
    trunk = SEResNeXt()
    assert count(trunk) == 6_759_448
    # depthwise 7x7, 1024 -> 256 and 256 -> 256 with batch norm, 256 -> 1 with bias
    head = 1024 * 49 + 1024 * 256 + 2 * 256 + 256 * 256 + 2 * 256 + 256 + 1
    assert count(SaliencyNet(trunk=trunk)) == 6_759_448 + head


def test_stages_keep_stride_8() -> None:
    trunk = SEResNeXt().eval()
    shapes = {}
    for name in ("layer1", "layer2", "layer3", "layer4"):
        getattr(trunk, name).register_forward_hook(
            lambda _, __, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:]))
        )
    with torch.no_grad():
        trunk(torch.rand(1, 1, 224, 288))
    assert shapes == {
        "layer1": (128, 56, 72),
        "layer2": (256, 28, 36),
        "layer3": (512, 28, 36),
        "layer4": (1024, 28, 36),
    }


@pytest.mark.parametrize(("output_stride", "dilations"), [(8, (1, 1, 2, 4)), (16, (1, 1, 1, 2)), (32, (1, 1, 1, 1))])
def test_dilation_replaces_stride(output_stride: int, dilations: tuple[int, ...]) -> None:
    trunk = SEResNeXt(output_stride=output_stride)
    last_blocks = [getattr(trunk, f"layer{stage}")[-1] for stage in (1, 2, 3, 4)]
    assert tuple(block.conv2.dilation[0] for block in last_blocks) == dilations
    with torch.no_grad():
        assert trunk.eval()(torch.rand(1, 1, 64, 96))[-1].shape[-2:] == (64 // output_stride, 96 // output_stride)


def test_dilated_trunk_sees_what_the_strided_one_sees() -> None:
    """On the strided trunk's grid, dilation gives the very same features."""
    torch.manual_seed(0)
    strided, dilated = SEResNeXt(output_stride=16).eval(), SEResNeXt(output_stride=8).eval()
    dilated.load_state_dict(strided.state_dict())
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        # Squeeze and excitation averages over another number of cells, so it is taken out of the comparison.
        for trunk in (strided, dilated):
            for module in trunk.modules():
                if isinstance(module, SqueezeExcitation):
                    module.forward = lambda features: features  # type: ignore[method-assign]
        torch.testing.assert_close(dilated(image)[-1][..., ::2, ::2], strided(image)[-1], rtol=1e-4, atol=1e-4)


def test_squeeze_and_excitation_gates_by_the_channel_means() -> None:
    torch.manual_seed(0)
    gate = SqueezeExcitation(channels=32)
    features = torch.rand(2, 32, 5, 7)
    mean = features.mean((2, 3))
    hidden = (mean @ gate.fc1.weight[:, :, 0, 0].T + gate.fc1.bias).clamp(min=0)
    weights = 1 / (1 + torch.exp(-(hidden @ gate.fc2.weight[:, :, 0, 0].T + gate.fc2.bias)))
    torch.testing.assert_close(gate(features), features * weights[:, :, None, None])


def test_bottleneck_has_16_groups_of_the_right_width() -> None:
    block = Bottleneck(channels_in=64, planes=32, cardinality=16, base_width=8, stride=1, dilation=1)
    assert block.conv2.groups == 16
    assert block.conv2.weight.shape == (64, 4, 3, 3)


def test_unknown_output_stride_is_refused() -> None:
    with pytest.raises(AnatomarkError, match=r"output_stride must be one of \[8, 16, 32\], not 12"):
        SEResNeXt(output_stride=12)
