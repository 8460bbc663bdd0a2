"""Reading published weights: both layouts give one network, and whatever does not fit is refused by name."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anatomark.nets.sononet import SonoNet, SonoNetTrunk
from anatomark.types import AnatomarkError
from bomb import Bomb

State = dict[str, Tensor]


def make_state(*, width: int = 16, n_classes: int = 14) -> State:
    """Random weights in the published layout."""
    torch.manual_seed(width)
    net = SonoNet(width=width, n_classes=n_classes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(values, mean=0.5)
            nn.init.uniform_(module.running_var, 0.1, 3.0)
    return {key: value.clone() for key, value in net.state_dict().items() if "num_batches" not in key}


def to_arrays(state: State) -> list[np.ndarray]:
    """As Lasagne stores a network: per layer kernels, beta, gamma, mean, inverse standard deviation."""
    arrays = []
    for key in [key for key, value in state.items() if value.ndim == 4]:
        *stem, number = key.removesuffix(".weight").split(".")
        norm = ".".join([*stem, str(int(number) + 1)])
        beta, gamma, mean = (state[f"{norm}.{name}"] for name in ("bias", "weight", "running_mean"))
        inverse = 1 / np.sqrt(state[f"{norm}.running_var"].double().numpy() + 1e-4)
        arrays += [state[key].numpy(), beta.numpy(), gamma.numpy(), mean.numpy(), inverse.astype(np.float32)]
    return arrays


def write_archive(path: Path, arrays: list[np.ndarray]) -> Path:
    np.savez(path, *arrays)
    return path


def refusal(weights: Path, **options: int) -> str:
    with pytest.raises(AnatomarkError) as caught:
        SonoNet(weights=weights, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(weights) in message
    assert ";" in message
    return message


def test_a_state_dict_is_loaded_whole_and_scaled_once(tmp_path: Path) -> None:
    state = make_state()
    torch.save(state, tmp_path / "net.pth")
    found = SonoNet(weights=tmp_path / "net.pth").state_dict()
    torch.testing.assert_close(found["features.0.0.0.weight"], 255 * state["features.0.0.0.weight"])
    assert all(torch.equal(found[key], value) for key, value in state.items() if key != "features.0.0.0.weight")


@pytest.mark.parametrize("width", [16, 32])
def test_the_archive_gives_the_same_network(tmp_path: Path, width: int) -> None:
    state = make_state(width=width)
    torch.save(state, tmp_path / "net.pth")
    archive = write_archive(tmp_path / "net.npz", to_arrays(state))
    ours = SonoNet(width=width, weights=archive).eval()
    expected = SonoNet(width=width, weights=tmp_path / "net.pth").eval()
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-4, atol=0)
    image = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(ours(image).logits, expected(image).logits, rtol=1e-3, atol=1e-3)
    blocks = {"width": width, "n_blocks": 3}
    trunk = SonoNetTrunk(**blocks, weights=archive).eval()(image)[-1]
    torch.testing.assert_close(trunk, SonoNetTrunk(**blocks, weights=tmp_path / "net.pth").eval()(image)[-1])


def test_kernels_of_the_archive_are_not_flipped(tmp_path: Path) -> None:
    state = make_state()
    net = SonoNet(weights=write_archive(tmp_path / "net.npz", to_arrays(state)))
    torch.testing.assert_close(net.state_dict()["features.1.0.0.weight"], state["features.1.0.0.weight"])


def test_other_classes_keep_their_last_layer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = make_state()
    torch.save(state, tmp_path / "net.pth")
    torch.manual_seed(1)
    fresh = SonoNet(n_classes=2).state_dict()
    torch.manual_seed(1)
    with caplog.at_level(logging.INFO):
        found = SonoNet(n_classes=2, weights=tmp_path / "net.pth").state_dict()
    for key in state:
        last = key.startswith(("adaption.3", "adaption.4"))
        if key != "features.0.0.0.weight":
            assert torch.equal(found[key], fresh[key] if last else state[key]), key
    assert "net.pth tells 14 classes, the network 2: its last layer starts at random" in caplog.text


def test_missing_unknown_and_misshapen_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    state = make_state()
    torch.save({key: value for key, value in state.items() if not key.startswith("adaption")}, path)
    assert "lacks adaption.0.weight (10 keys in all)" in refusal(path)
    SonoNetTrunk(weights=path)
    torch.save(state | {"features.0.0.0.bias": torch.zeros(16)}, path)
    assert "holds features.0.0.0.bias (1 keys in all), which no SonoNet has" in refusal(path)
    torch.save(state | {"features.2.1.1.bias": torch.zeros(63)}, path)
    assert "features.2.1.1.bias has shape (63,), expected (64,); give the published weights" in refusal(path)
    torch.save(state | {"adaption.0.weight": torch.full((64, 128, 1, 1), torch.nan)}, path)
    assert "adaption.0.weight holds NaN" in refusal(path)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    torch.save(make_state(width=32), tmp_path / "wide.pth")
    assert (
        "features.0.0.0.weight has shape (32, 1, 3, 3), expected (16, 1, 3, 3); set width to that of the file, 32"
        in refusal(tmp_path / "wide.pth")
    )
    archive = write_archive(tmp_path / "narrow.npz", to_arrays(make_state()))
    assert "set width to that of the file, 16" in refusal(archive, width=32, n_classes=2)
    with pytest.raises(AnatomarkError, match=r"wide.pth: features.0.0.0.weight has shape .*; set width"):
        SonoNetTrunk(weights=tmp_path / "wide.pth")


def cut(path: Path) -> None:
    torch.save(make_state(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def whole_network(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


DAMAGED: dict[str, Callable[[Path], object]] = {
    "truncated": cut,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("404: not found"),
    "object": whole_network,
    "pickled list": lambda path: path.write_bytes(pickle.dumps([1, 2, 3])),
    "saved list": lambda path: torch.save([torch.zeros(1)], path),
    "checkpoint": lambda path: torch.save({"state_dict": make_state(), "epoch": 3}, path),
    "numbered": lambda path: torch.save({0: torch.zeros(1)}, path),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.pth"
    DAMAGED[damage](path)
    assert any(
        part in refusal(path) for part in ("damaged, or a pickle with code", "not a readable", "not a state dict")
    )


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    paths = [tmp_path / name for name in ("plain.pth", "zipped.pth", "archive.npz")]
    paths[0].write_bytes(pickle.dumps(Bomb(mark)))
    torch.save({"features.0.0.0.weight": Bomb(mark)}, paths[1])
    np.savez(paths[2], np.array(Bomb(mark), dtype=object))
    for path in paths:
        refusal(path)
    assert not mark.exists()
    pickle.loads(paths[0].read_bytes())
    assert mark.exists()  # it would have gone off


def test_archives_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    arrays = to_arrays(make_state())
    path = tmp_path / "net.npz"
    write_archive(path, arrays[:-5])
    assert "holds 70 arrays; those of a SonoNet are arr_0 to arr_74, and arr_70 is missing" in refusal(path)
    write_archive(path, [*arrays, arrays[0]])
    assert "holds 76 arrays; those of a SonoNet are arr_0 to arr_74, and arr_75 is unknown" in refusal(path)
    for wrong in (0.0, -1.0, 1e4, np.nan):
        write_archive(path, [*arrays[:9], np.full_like(arrays[9], wrong), *arrays[10:]])
        assert "arr_9 is no inverse standard deviation" in refusal(path)
    write_archive(path, [*arrays[:3], np.zeros(16, dtype=int), *arrays[4:]])
    assert "arr_3 holds int64" in refusal(path)
    path.write_bytes(path.read_bytes()[:5000])
    assert "is not a readable NumPy archive" in refusal(path)
    (tmp_path / "text.npz").write_text("404: not found")
    assert "is not a readable NumPy archive" in refusal(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", arrays[0])
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    assert "is not a readable NumPy archive" in refusal(tmp_path / "one.npz")


def test_a_channel_that_never_varied_keeps_a_variance_of_zero(tmp_path: Path) -> None:
    arrays = to_arrays(make_state())
    arrays[4] = np.full_like(arrays[4], 100 * (1 + 1e-6))  # 1 / sqrt(0 + epsilon), rounded
    net = SonoNet(weights=write_archive(tmp_path / "net.npz", arrays))
    assert torch.equal(net.state_dict()["features.0.0.1.running_var"], torch.zeros(16))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.pth")
