"""The run folder: save, find, rebuild. The execution whitelist lives here.

``runs/<name>/<time>/`` holds ``config.yaml`` (resolved), ``checkpoints/``, ``metrics.csv``, ``predictions/``,
``report/`` and ``train.log``. A run folder may come from somebody else, so nothing in it is trusted: only listed
targets are instantiated, and checkpoints are read as plain tensors.
"""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from anatomark.errors import AnatomarkError

if TYPE_CHECKING:
    from torch import nn

# Never torch.*, which holds torch.load and torch.hub.load.
EXECUTION_WHITELIST = [
    "anatomark.*",
    "torch.optim.*",
    "torch.nn.*",
    "torchmetrics.*",
    "pytorch_lightning.callbacks.*",
    "pytorch_lightning.loggers.*",
    "pytorch_lightning.strategies.*",
]
# Keys of the command line that say which run is meant and what to do, not how it was trained.
COMMANDS = ("run", "resume", "debug")


def register_resolvers() -> None:
    """Makes the run folder known to Hydra: a given run's own folder, else a new one."""

    def run_folder(run: Any, new: str) -> str:
        return run if isinstance(run, str) else new

    OmegaConf.register_resolver("run_folder", run_folder, replace=True)


def instantiate(node: Any) -> Any:
    """Builds what a configuration node describes; targets outside the whitelist are refused, never executed."""
    from hydra.utils import instantiate as hydra_instantiate

    return hydra_instantiate(node, _convert_="all", _execution_whitelist_=EXECUTION_WHITELIST)


def instantiate_all(nodes: DictConfig | None) -> list[Any]:
    """Builds every entry of a group, such as all loggers; an entry set to null is left out."""
    return [instantiate(node) for node in (nodes or {}).values() if node is not None]


def save_config(cfg: DictConfig, folder: Path, choices: dict[str, Any]) -> None:
    """Writes ``config.yaml``: every value resolved, and under ``choices`` the options of each group that made it."""
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    kept = {key: value for key, value in resolved.items() if key not in COMMANDS}
    # Evaluators point at shared parts such as ${discovery}; kept as pointers, so that overriding the part reaches them.
    kept["evaluator"] = OmegaConf.to_container(cfg.evaluator, resolve=False)
    kept["choices"] = {group: choice for group, choice in choices.items() if not group.startswith("hydra")}
    temporary = folder / "config.yaml.tmp"
    OmegaConf.save(OmegaConf.create(kept), temporary)
    temporary.rename(folder / "config.yaml")


def load_config(run: str | Path) -> DictConfig:
    """Reads the configuration of a run.

    Raises:
        AnatomarkError: the folder is no run folder.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise AnatomarkError(f"{path} does not exist; give run= the folder that train.py printed")
    cfg = OmegaConf.load(path)
    if not isinstance(cfg, DictConfig) or "model" not in cfg or "choices" not in cfg:
        raise AnatomarkError(f"{path} is not the configuration of a run: it needs the keys model, data and choices")
    return cfg


def merge_overrides(saved: DictConfig, composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run with what the command line changes.

    Args:
        saved: the run's own configuration.
        composed: the configuration Hydra composed from the run's choices and the command line.
        overrides: the command line's ``key=value`` words.
    """
    merged = saved.copy()
    for word in overrides:
        key = word.split("=", 1)[0].lstrip("+~").split("@")[0].replace("/", ".")
        chosen = saved["choices"].get(key.replace(".", "/"))
        if key in COMMANDS or (chosen is not None and word == choice_word(key, chosen)):
            continue
        OmegaConf.update(merged, key, OmegaConf.select(composed, key), merge=False, force_add=True)
    return merged


def choice_word(group: str, choice: Any) -> str:
    """The command-line word that makes a choice: ``model=saliency`` or ``evaluator=[saliency,landmarks]``."""
    value = f"[{','.join(choice)}]" if not isinstance(choice, str) else choice
    return f"{group}={value}"


def find_checkpoint(run: str | Path, name: str = "best") -> Path:
    """Finds a checkpoint of a run: ``name`` ("best" or "last"), or the last where no validation chose a best one.

    Raises:
        AnatomarkError: the run has no checkpoint.
    """
    folder = Path(run) / "checkpoints"
    for candidate in (folder / f"{name}.ckpt", folder / "last.ckpt"):
        if candidate.is_file():
            return candidate
    raise AnatomarkError(f"{folder} holds no checkpoint; did the training finish its first epoch?")


def load_weights(model: "nn.Module", path: Path) -> None:
    """Loads the weights of a checkpoint into the model it belongs to.

    Raises:
        AnatomarkError: the file is damaged or belongs to another model.
    """
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state = checkpoint["state_dict"]
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AnatomarkError(f"{path} is not a readable checkpoint ({reason}); use another one") from error
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if missing or unexpected or shapes:
        example = (missing or unexpected or sorted(shapes))[0]
        raise AnatomarkError(
            f"{path} belongs to another model: {len(missing)} weights missing, {len(unexpected)} unknown,"
            f" {len(shapes)} of another shape (for example {example}); evaluate it with its own run folder"
        )
    model.load_state_dict(state)


def display_path(path: Path) -> str:
    """The path relative to the working directory where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
