"""VGGs with batch norm: torchvision's keys, shapes and arithmetic, and its files."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anatomark.nets.vgg import VGG
from anatomark.types import AnatomarkError
from settled import settle

# Of torchvision's vgg13_bn and vgg16_bn: index of each convolution -> its output and input channels.
CONVOLUTIONS = {
    13: {
        0: (64, 3), 3: (64, 64), 7: (128, 64), 10: (128, 128), 14: (256, 128), 17: (256, 256), 21: (512, 256),
        24: (512, 512), 28: (512, 512), 31: (512, 512),
    },
    16: {
        0: (64, 3), 3: (64, 64), 7: (128, 64), 10: (128, 128), 14: (256, 128), 17: (256, 256), 20: (256, 256),
        24: (512, 256), 27: (512, 512), 30: (512, 512), 34: (512, 512), 37: (512, 512), 40: (512, 512),
    },
}  # fmt: skip
POOLINGS = {13: (6, 13, 20, 27), 16: (6, 13, 23, 33)}  # the last one, 34 or 43, is left out


def torchvision_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the features, without counters."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (out, channels_in) in CONVOLUTIONS[depth].items():
        shapes |= {f"features.{index}.weight": (out, channels_in, 3, 3), f"features.{index}.bias": (out,)}
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"features.{index + 1}.{part}"] = (out,)
    return shapes


def make_state(depth: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(depth)
    shapes = torchvision_shapes(depth) | {"classifier.0.weight": (4096, 8), "classifier.6.bias": (1000,)}
    return {key: torch.rand(shape, generator=generator) for key, shape in shapes.items()}


@pytest.mark.parametrize(("depth", "n_parameters"), [(13, 133_053_736), (16, 138_365_992)])
def test_the_layout_is_torchvisions(depth: int, n_parameters: int) -> None:
    net = VGG(depth=depth, in_channels=3)
    found = {key: tuple(value.shape) for key, value in net.state_dict().items() if "num_batches" not in key}
    assert found == torchvision_shapes(depth)
    classifier = (25088 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert sum(parameter.numel() for parameter in net.parameters()) == n_parameters - classifier


@pytest.mark.parametrize("depth", [13, 16])
def test_layers_are_those_of_the_paper(depth: int) -> None:
    """Simonyan and Zisserman 2015, table 1, columns B and D, written from the keys."""
    torch.manual_seed(0)
    image = torch.rand(2, 1, 32, 48)
    net = settle(VGG(depth=depth), image)
    state = net.state_dict()
    x = image
    for index in sorted([*CONVOLUTIONS[depth], *POOLINGS[depth]]):
        if index in POOLINGS[depth]:
            x = F.max_pool2d(x, 2)
            continue
        x = F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1)
        norm = (state[f"features.{index + 1}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *norm).relu()
    assert x.shape == (2, 512, 2, 3)
    torch.testing.assert_close(net(image), x, rtol=1e-4, atol=1e-4)


def test_224_px_give_14_cells() -> None:
    with torch.no_grad():
        assert VGG().eval()(torch.rand(1, 1, 224, 32)).shape == (1, 512, 14, 2)


@pytest.mark.parametrize("depth", [13, 16])
def test_torchvisions_file_is_loaded_and_its_stem_averaged(tmp_path: Path, depth: int) -> None:
    state, path = make_state(depth), tmp_path / "vgg.pth"
    torch.save(state, path)
    found = VGG(depth=depth, weights=path).state_dict()
    red, green, blue = state["features.0.weight"].unbind(1)
    torch.testing.assert_close(found["features.0.weight"], ((red + green + blue) / 3)[:, None])
    rest = [key for key in torchvision_shapes(depth) if key != "features.0.weight"]
    assert all(torch.equal(found[key], state[key]) for key in rest)


def test_files_of_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(make_state(13), path)
    with pytest.raises(AnatomarkError, match=r"vgg.pth lacks features.20.weight .*; is it a VGG-16 with batch norm"):
        VGG(depth=16, weights=path)
    plain = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.2.weight": torch.zeros(64, 64, 3, 3)}
    torch.save(plain, path)  # without batch norm the second convolution comes sooner
    with pytest.raises(AnatomarkError, match=r"vgg.pth lacks features.0.bias .*; is it a VGG-13 with batch norm"):
        VGG(weights=path)
    torch.save(make_state(13) | {"features.4.bias": torch.zeros(3)}, path)
    with pytest.raises(AnatomarkError, match=r"features.4.bias has shape \(3,\), expected \(64,\); give the published"):
        VGG(weights=path)
    with pytest.raises(AnatomarkError, match=r"depth of a VGG must be one of \[13, 16\], not 19"):
        VGG(depth=19)
