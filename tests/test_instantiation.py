"""What a configuration may execute, and how its groups are built."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from omegaconf import OmegaConf
from torch import nn

from anatomark.errors import AnatomarkError
from anatomark.instantiation import instantiate, instantiate_all, make_trainer, register_resolvers, trainer_errors


def test_the_run_folder_is_that_of_the_run_else_a_new_one() -> None:
    register_resolvers()
    cfg = OmegaConf.create({"run": None, "one": "${run_folder:${run},new}", "two": "${run_folder:${run},new,pooled}"})
    for run, one, two in ((None, "new", "new"), ("a", "a", "a"), (["a", "b"], "new", "pooled")):
        cfg.run = run
        assert (cfg.one, cfg.two) == (one, two)


def test_partial_targets_obey_the_whitelist_when_they_are_called() -> None:
    make = instantiate(OmegaConf.create({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1}))
    assert make(nn.Linear(1, 1).parameters()).defaults["lr"] == 0.1
    with pytest.raises(Exception, match="whitelist"):
        instantiate(OmegaConf.create({"_target_": "torch.load", "_partial_": True}))


def test_entries_set_to_null_are_left_out() -> None:
    node = {"_target_": "torch.nn.Identity"}
    assert len(instantiate_all(OmegaConf.create({"a": node, "b": None, "c": node}))) == 2
    assert instantiate_all(None) == []


def test_trainer_options_that_lightning_refuses_are_named() -> None:
    with pytest.raises(AnatomarkError, match=r"^trainer: .*warp"):
        make_trainer({"accelerator": "warp"})


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="has a GPU of another kind")
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
@pytest.mark.parametrize("make", [make_trainer, lambda options: make_fabric(**options)], ids=["trainer", "fabric"])
def test_a_gpu_that_is_missing_comes_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[dict[str, str]], object], accelerator: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(AnatomarkError, match=r"^trainer: .*; give trainer\.accelerator=auto$"):
        make({"accelerator": accelerator})
    with pytest.raises(AnatomarkError, match=r"^trainer: Precision '9' is invalid"):
        make({"accelerator": "cpu", "precision": "9"})


def make_fabric(**options: Any) -> Fabric:
    with trainer_errors():
        return Fabric(**options)
