"""timm through a configuration: its networks may be built, its loaders not, and an old one does nothing at all."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from torch import nn

from anatomark.instantiation import instantiate, instantiate_trained
from anatomark.timm_targets import CREATE, OLDEST, timm_targets
from anatomark.types import AnatomarkError
from test_configs import composed

Calls = list[dict[str, object]]


class FakeNet(nn.Module):
    """A network of a timm module."""


FakeNet.__module__, FakeNet.__qualname__ = "timm.models.fake", "FakeNet"


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A timm of one network; what it was asked for."""
    calls: Calls = []

    def create_model(**options: object) -> nn.Module:
        calls.append(options)
        return FakeNet()

    def load_state_dict(path: str) -> nn.Module:
        calls.append({"loaded": path})
        return nn.Linear(1, 1)

    create_model.__module__ = load_state_dict.__module__ = "timm.models._helpers"
    for name, content in {
        "timm": {"__version__": OLDEST, "create_model": create_model},
        "timm.models": {"load_state_dict": load_state_dict},
        "timm.models._helpers": {"load_state_dict": load_state_dict, "torch": torch},
        "timm.models.fake": {"FakeNet": FakeNet, "nn": nn, "Linear": nn.Linear},
    }.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["timm"].models = sys.modules["timm.models"]  # type: ignore[attr-defined]
    return calls


def test_networks_are_allowed_by_name_and_nothing_else(timm: Calls) -> None:
    assert timm_targets() == [CREATE, "timm.models.fake.FakeNet"]


def test_a_configuration_builds_a_network(timm: Calls) -> None:
    node = {"net": {"_target_": CREATE, "model_name": "fake", "in_chans": 1}}
    for config in (node, OmegaConf.create(node)):
        assert isinstance(instantiate(config)["net"], FakeNet)
    assert timm == [{"model_name": "fake", "in_chans": 1}] * 2


def test_the_option_asks_for_feature_maps_of_grey_frames(timm: Calls) -> None:
    cfg = composed("model=soft_proposal", "features=timm", "model.net.backbone.model_name=fake")
    assert isinstance(instantiate(cfg.model.net.backbone), FakeNet)
    assert timm == [{"model_name": "fake", "pretrained": False, "in_chans": 1, "num_classes": 0, "global_pool": ""}]
    assert cfg.row == "fake-SP"


@pytest.mark.parametrize("target", ["timm.models.load_state_dict", "timm.models._helpers.torch.load"])
def test_loaders_are_never_called(timm: Calls, target: str) -> None:
    node = {"first": {"_target_": target, "path": "x.pth"}, "second": {"_target_": CREATE, "model_name": "fake"}}
    with pytest.raises(InstantiationException, match="whitelist"):
        instantiate(node)
    assert timm == []


def test_a_trained_network_starts_from_nothing(timm: Calls) -> None:
    node = OmegaConf.create(
        {"net": {"_target_": CREATE, "model_name": "fake", "pretrained": True, "checkpoint_path": "gone.pth"}}
    )
    instantiate_trained(node)
    assert timm == [{"model_name": "fake", "pretrained": False, "checkpoint_path": None}]
    assert node.net.pretrained


def old(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys.modules["timm"], "__version__", "1.0.9")


def absent(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "timm", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (old, "timm 1.0.9 may run code .*; install timm>=1.0.31"),
        (absent, r"needs timm; install the torchvision .* first, then run: pip .*\[timm\]"),
    ],
)
def test_a_timm_that_will_not_do_is_refused(
    timm: Calls, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None], message: str
) -> None:
    change(monkeypatch)
    with pytest.raises(AnatomarkError, match=message):
        instantiate({"_target_": CREATE, "model_name": "fake", "checkpoint_path": "code.pth"})
    assert timm == []
