"""ResNets: torchvision's keys, shapes and arithmetic, and its files, whole, cut, and of other networks."""

import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anatomark.nets.resnet import ResNet
from anatomark.types import AnatomarkError
from bomb import Bomb
from settled import settle

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}


def norm_shapes(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def torchvision_shapes(depth: int) -> Shapes:
    """Keys and shapes of torchvision's resnet18 and resnet34."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), **norm_shapes("bn1", 64)}
    channels_in = 64
    for layer, channels in enumerate([64, 128, 256, 512], start=1):
        for block in range(BLOCKS[depth][layer - 1]):
            name = f"layer{layer}.{block}"
            shapes |= {f"{name}.conv1.weight": (channels, channels_in, 3, 3), **norm_shapes(f"{name}.bn1", channels)}
            shapes |= {f"{name}.conv2.weight": (channels, channels, 3, 3), **norm_shapes(f"{name}.bn2", channels)}
            if block == 0 and layer > 1:
                shapes[f"{name}.downsample.0.weight"] = (channels, channels_in, 1, 1)
                shapes |= norm_shapes(f"{name}.downsample.1", channels)
            channels_in = channels
    return shapes | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


def make_state(depth: int = 18) -> State:
    """Random weights in torchvision's layout, as its older files hold them: without counters."""
    generator = torch.Generator().manual_seed(depth)
    shapes = torchvision_shapes(depth)
    return {
        key: torch.rand(shape, generator=generator) - (0.0 if key.endswith("running_var") else 0.5)
        for key, shape in shapes.items()
        if not key.endswith("num_batches_tracked")
    }


def refusal(weights: Path, **options: int) -> str:
    with pytest.raises(AnatomarkError) as caught:
        ResNet(weights=weights, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(weights) in message
    assert ";" in message
    return message


@pytest.mark.parametrize(("depth", "n_parameters"), [(18, 11_689_512), (34, 21_797_672)])
def test_the_layout_is_torchvisions(depth: int, n_parameters: int) -> None:
    net = ResNet(depth=depth, in_channels=3)
    expected = {key: shape for key, shape in torchvision_shapes(depth).items() if not key.startswith("fc.")}
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in net.parameters()) == n_parameters - 512 * 1000 - 1000


@pytest.mark.parametrize("depth", [18, 34])
def test_224_px_give_7_cells(depth: int) -> None:
    with torch.no_grad():
        assert ResNet(depth=depth).eval()(torch.rand(1, 1, 224, 160)).shape == (1, 512, 7, 5)


def test_layers_are_those_of_the_paper() -> None:
    """He et al. 2016, table 1, written from the keys."""
    torch.manual_seed(0)
    image = torch.rand(2, 1, 64, 96)
    net = settle(ResNet(), image)
    state = net.state_dict()

    def convolve(x: Tensor, conv: str, norm: str, stride: int) -> Tensor:
        kernels = state[f"{conv}.weight"]
        x = F.conv2d(x, kernels, stride=stride, padding=kernels.shape[-1] // 2)
        parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts)

    x = F.max_pool2d(convolve(image, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            shortcut = convolve(x, f"{name}.downsample.0", f"{name}.downsample.1", 2) if stride == 2 else x
            x = convolve(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
            x = (convolve(x, f"{name}.conv2", f"{name}.bn2", 1) + shortcut).relu()
    torch.testing.assert_close(net(image), x, rtol=1e-4, atol=1e-4)


def test_torchvisions_file_is_loaded_and_its_stem_averaged(tmp_path: Path) -> None:
    state = make_state()
    torch.save(state, tmp_path / "resnet18.pth")
    found = ResNet(weights=tmp_path / "resnet18.pth").state_dict()
    red, green, blue = state["conv1.weight"].unbind(1)
    torch.testing.assert_close(found["conv1.weight"], ((red + green + blue) / 3)[:, None])
    same = [key for key in state if not key.startswith(("conv1", "fc"))]
    assert len(same) == 99
    assert all(torch.equal(found[key], state[key]) for key in same)
    colour = ResNet(in_channels=3, weights=tmp_path / "resnet18.pth").state_dict()
    assert torch.equal(colour["conv1.weight"], state["conv1.weight"])


def test_newer_files_hold_counters(tmp_path: Path) -> None:
    state = make_state(34)
    counters = {
        f"{key.removesuffix('.running_var')}.num_batches_tracked": torch.tensor(9)
        for key in state
        if key.endswith("running_var")
    }
    torch.save(state | counters, tmp_path / "resnet34.pth")
    found = ResNet(depth=34, weights=str(tmp_path / "resnet34.pth")).state_dict()
    assert torch.equal(found["layer3.5.conv2.weight"], state["layer3.5.conv2.weight"])


def test_missing_unknown_and_misshapen_keys_are_named(tmp_path: Path) -> None:
    path, state = tmp_path / "net.pth", make_state()
    torch.save({key: value for key, value in state.items() if not key.startswith("layer4.1.bn2")}, path)
    assert "lacks layer4.1.bn2.weight (4 keys in all); is it a ResNet-18 state dict?" in refusal(path)
    torch.save(state | {"layer1.0.conv3.weight": torch.zeros(256, 64, 1, 1)}, path)
    assert "holds layer1.0.conv3.weight (1 keys in all), which no ResNet-18 has" in refusal(path)
    torch.save(state | {"layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)}, path)
    assert "layer2.0.conv1.weight has shape (128, 64, 1, 1), expected (128, 64, 3, 3)" in refusal(path)
    torch.save(state | {"conv1.weight": torch.zeros(64, 4, 7, 7)}, path)
    assert "conv1.weight has shape (64, 4, 7, 7), expected (64, 1, 7, 7)" in refusal(path)
    torch.save(state | {"bn1.running_mean": torch.full((64,), torch.inf)}, path)
    assert "bn1.running_mean holds NaN or infinity" in refusal(path)


def test_weights_of_another_depth_are_refused(tmp_path: Path) -> None:
    torch.save(make_state(18), tmp_path / "shallow.pth")
    assert "lacks layer1.2.conv1.weight (80 keys in all); is it a ResNet-34" in refusal(
        tmp_path / "shallow.pth", depth=34
    )
    torch.save(make_state(34), tmp_path / "deep.pth")
    assert "which no ResNet-18 has" in refusal(tmp_path / "deep.pth")
    with pytest.raises(AnatomarkError, match=r"depth of a ResNet must be one of \[18, 34\], not 50"):
        ResNet(depth=50)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    assert "does not exist; expected torchvision's weights of a ResNet-18, .pth" in missing(path)
    torch.save(make_state(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is not a readable state dict" in refusal(path)
    torch.save({"state_dict": make_state()}, path)
    assert "is not a state dict" in refusal(path)
    torch.save(nn.Linear(2, 2), path)
    assert "a pickle with code, which is never run" in refusal(path)


def missing(path: Path) -> str:
    with pytest.raises(AnatomarkError) as caught:
        ResNet(weights=path)
    return str(caught.value)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.save(make_state() | {"fc.bias": Bomb(mark)}, tmp_path / "zipped.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb(mark)))
    for name in ("zipped.pth", "plain.pth"):
        refusal(tmp_path / name)
    assert not mark.exists()
    pickle.loads((tmp_path / "plain.pth").read_bytes())
    assert mark.exists()  # it would have gone off
