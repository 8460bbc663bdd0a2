"""SonoNet and its trunks: sizes, parts, and the published network's arithmetic transcribed plainly."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from anatomark.nets.sononet import SonoNet, SonoNetTrunk, conv_block
from anatomark.types import AnatomarkError
from settled import settle

# In the order of the published network's outputs, those of the examples by file name.
VIEWS = ["3VV", "4CH", "ABDOMINAL", "Background", "Brain (Cb.)", "BRAIN-TV", "Femur", "KIDNEYS", "Lips", "LVOT"]
VIEWS += ["Profile", "RVOT", "Spine (cor.)", "SPINE-SAGITTAL"]
EXAMPLES = ["3VV", "ABDOMINAL", "BRAIN-TV", "KIDNEYS", "LVOT", "RVOT", "SPINE-SAGITTAL"]


def published_maps(state: dict[str, Tensor], image: Tensor, n_blocks: int = 5) -> Tensor:
    """The published network on an image of standard deviation 255: block outputs, or with five blocks class maps."""

    def layer(x: Tensor, conv: str, norm: str, padding: int) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        x = F.conv2d(x, state[f"{conv}.weight"], padding=padding)
        return F.batch_norm(x, *(state[f"{norm}.{name}"] for name in names), eps=1e-4)

    for block, convs in enumerate((2, 2, 3, 3, 3)[:n_blocks]):
        for conv in range(convs):
            key = f"features.{block}.{conv}"
            image = layer(image, f"{key}.0", f"{key}.1", 1).relu()
        if block < n_blocks - 1:
            image = F.max_pool2d(image, 2)
    if n_blocks < 5:
        return image
    return layer(layer(image, "adaption.0", "adaption.1", 0).relu(), "adaption.3", "adaption.4", 0)


def example(path: Path) -> Tensor:
    """A frame as the published network wants it, but of unit variance."""
    grey = torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)[115:734, 81:874].mean(2))
    small = F.interpolate(grey[None, None], size=(224, 288), mode="bilinear", antialias=True)
    return (small - small.mean()) / small.std()


def test_stride_and_channels() -> None:
    trunk = SonoNetTrunk()
    assert (trunk.stride, trunk.out_channels) == (8, 128)
    assert trunk(torch.rand(1, 1, 224, 288))[-1].shape == (1, 128, 28, 36)
    shallow = SonoNetTrunk(pools=(1, 2), n_blocks=3, width=32)
    assert (shallow.stride, shallow.out_channels) == (4, 128)
    assert [tuple(out.shape) for out in shallow(torch.rand(1, 1, 112, 144))] == [(1, 128, 28, 36)]


@pytest.mark.parametrize(("width", "hidden", "channels"), [(16, 64, 128), (32, 128, 256), (64, 256, 512)])
def test_sizes_of_the_three_networks(width: int, hidden: int, channels: int) -> None:
    net = SonoNet(width=width, n_classes=5).eval()
    logits, class_maps, features = net(torch.randn(2, 1, 32, 48))
    assert (logits.shape, class_maps.shape, features.shape) == ((2, 5), (2, 5, 2, 3), (2, channels, 2, 3))
    kernels = [tuple(m.weight.shape) for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(kernels) == 13 + 2
    assert kernels[-2:] == [(hidden, channels, 1, 1), (5, hidden, 1, 1)]
    assert net.stride == 16
    assert all(m.eps == 1e-4 for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_logits_are_the_means_of_the_class_maps() -> None:
    output = SonoNet(n_classes=3)(torch.randn(2, 1, 48, 64))
    torch.testing.assert_close(output.logits, output.class_maps.flatten(2).sum(2) / 12)


def test_batched_equals_one_by_one() -> None:
    images = torch.randn(3, 1, 32, 32)
    net = settle(SonoNet(n_classes=2), images)
    together = net(images)
    for index, image in enumerate(images):
        for alone, all_ in zip(net(image[None]), together, strict=True):
            torch.testing.assert_close(alone[0], all_[index], rtol=1e-3, atol=1e-4)


def test_dropout_acts_in_training_and_leaves_the_keys() -> None:
    block, plain = conv_block(4, 8, 2, dropout=0.5), conv_block(4, 8, 2)
    assert block.state_dict().keys() == plain.state_dict().keys()
    image = torch.randn(1, 4, 16, 16)
    assert (block(image) == 0).float().mean() > (plain(image) == 0).float().mean() + 0.15
    plain.load_state_dict(block.state_dict())
    torch.testing.assert_close(block.eval()(image), plain.eval()(image))
    net = SonoNet(n_classes=2, dropout=0.2)
    assert [m.p for m in net.features.modules() if isinstance(m, nn.Dropout)] == [0.2] * 13
    assert not any(isinstance(m, nn.Dropout) for m in net.adaption.modules())


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(AnatomarkError, match=r"width must be one of \[16, 32, 64\], not 8"):
        SonoNetTrunk(width=8)
    with pytest.raises(AnatomarkError, match="pools among its blocks"):
        SonoNetTrunk(n_blocks=2, pools=(1, 3))
    with pytest.raises(AnatomarkError, match=r"frames of 64 x 15 px .* smaller than a cell of 16 px; change the Fit"):
        SonoNet()(torch.zeros(1, 1, 64, 15))


@pytest.mark.real_data
def test_published_weights_on_unit_variance_images(data_dir: Path) -> None:
    """Standardised images in our trunk equal 255-scaled ones in the published arithmetic."""
    path = data_dir / "sononet16" / "SonoNet16.pth"
    torch.manual_seed(0)
    image = torch.randn(1, 1, 64, 96)
    expected = published_maps(torch.load(path, weights_only=True), 255 * image, n_blocks=4)
    with torch.no_grad():
        found = SonoNetTrunk(weights=path).eval()(image)[-1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.real_data
def test_the_published_network_names_every_example(data_dir: Path) -> None:
    folder = data_dir / "sononet16"
    images = torch.cat([example(folder / "examples" / f"{name}.png") for name in EXAMPLES])
    expected = published_maps(torch.load(folder / "SonoNet16.pth", weights_only=True), 255 * images)
    with torch.no_grad():
        output = SonoNet(weights=folder / "SonoNet16.pth").eval()(images)
    torch.testing.assert_close(output.logits, expected.mean((2, 3)), rtol=0, atol=1e-4)
    torch.testing.assert_close(output.class_maps, expected, rtol=1e-4, atol=1e-3)
    assert [VIEWS[index] for index in output.logits.argmax(1)] == EXAMPLES
