"""The run folder: save, find, rebuild.

``runs/<name>/<time>/`` holds ``config.yaml`` (resolved), ``splits.json``, ``checkpoints/``, ``metrics.csv``,
``result.json`` once it is trained, ``predictions/<checkpoint>/``, ``report/`` and ``train.log``. A run folder may come
from somebody else, so nothing in it is trusted: only targets on the execution whitelist are instantiated, and
checkpoints are read as plain tensors.
"""

import logging
import os
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from anatomark.errors import AnatomarkError
from anatomark.files import write_whole
from anatomark.finished import finish_command, is_fully_trained
from anatomark.instantiation import instantiate, instantiate_trained

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

FORMAT = 1
"""Number of the run folder's format; a change that earlier versions of anatomark cannot read adds one."""
# Keys of config.yaml that say who wrote it.
_WRITER = ("format", "anatomark")
# Keys of the command line that say which run is meant and what to do, not how it was trained.
COMMANDS = ("run", "resume", "debug", "sweep", "input", "output", "overlays")
_COMMAND_GROUPS = ("hydra", "launcher", "sweep")
# Saved as pointers: evaluators at shared parts such as ${discovery}, so that overriding the part reaches them; the
# others at the run folder, which may be moved.
POINTERS = ("evaluator", "callbacks", "logger")


def describe_config(cfg: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Content of ``config.yaml``: values resolved, and under ``choices`` the option of each group that made them."""
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    kept = {key: value for key, value in resolved.items() if key not in COMMANDS}
    kept |= {key: OmegaConf.to_container(cfg[key], resolve=False) for key in POINTERS if key in cfg}
    kept["choices"] = {group: choice for group, choice in choices.items() if not group.startswith(_COMMAND_GROUPS)}
    return {str(key): value for key, value in kept.items()}


def save_config(cfg: DictConfig, folder: Path, choices: Mapping[str, Any]) -> None:
    """Writes ``config.yaml``."""
    writer = dict(zip(_WRITER, (FORMAT, version("anatomark")), strict=True))
    content = OmegaConf.create(writer | describe_config(cfg, choices))
    write_whole(folder / "config.yaml", OmegaConf.to_yaml(content))


def load_config(run: str | Path) -> DictConfig:
    """Reads the configuration of a run.

    Raises:
        AnatomarkError: the folder is no run folder, or one of a newer anatomark.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise AnatomarkError(f"{path} does not exist; give run= the folder that train.py printed")
    try:
        cfg = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise AnatomarkError(f"{path} is damaged ({' '.join(str(error).split())}); restore it") from error
    if isinstance(cfg, DictConfig):
        _check_writer(cfg, path)
    if not isinstance(cfg, DictConfig) or any(key not in cfg for key in ("model", "data", "choices")):
        raise AnatomarkError(f"{path} is not the configuration of a run: it needs the keys model, data and choices")
    if not isinstance(cfg.choices, DictConfig):
        raise AnatomarkError(f"{path}: choices is no mapping of groups to their options; restore the file")
    for group, choice in cfg.choices.items():
        # They become words of the command line, where others could redirect Hydra to foreign code.
        if not _is_group(group) or not (choice is None or _is_name(choice)):
            raise AnatomarkError(f"{path}: {choice!r} is no choice of the group {str(group)!r}; restore the file")
    return cfg


def _check_writer(cfg: DictConfig, path: Path) -> None:
    """Refuses the run folder of a newer anatomark; removes what says who wrote it."""
    number, writer = (cfg.pop(key, None) for key in _WRITER)
    if number is not None and not isinstance(number, int):  # folders from before there were numbers have none
        raise AnatomarkError(f"{path}: format is {number!r}, no number; restore the file")
    if number is not None and number > FORMAT:
        raise AnatomarkError(
            f"{path} is of anatomark {writer}, whose run folders have format {number}; this is anatomark"
            f" {version('anatomark')}, which reads up to format {FORMAT}: update it"
        )


def _is_group(word: Any) -> bool:
    return _is_name(word) and not word.startswith("hydra")


def _is_name(word: Any) -> bool:
    return isinstance(word, str) and re.fullmatch(r"\w[\w/-]*", word) is not None


def merge_overrides(saved: DictConfig, composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run with what the command line changes.

    A value that points at a changed key follows it, unless the run itself had set it to something else:
    ``epochs=20`` reaches ``trainer.max_epochs``.

    Args:
        saved: the run's own configuration.
        composed: the configuration Hydra composed from the run's choices and the command line.
        overrides: the command line's ``key=value`` words.

    Raises:
        AnatomarkError: the command line changes a choice that a trained run cannot change.
    """
    changed = [key for word in overrides if (key := _changed_key(word, saved["choices"])) is not None]
    before = composed.copy()
    for key in changed:
        if key.replace(".", "/") in saved["choices"] and key not in composed:
            raise AnatomarkError(f"{key}= cannot be changed for a run that exists; train another run")
        OmegaConf.update(before, key, OmegaConf.select(saved, key), merge=False, force_add=True)
    values, old, new = _leaves(saved), _leaves(before), _leaves(composed)
    merged = saved.copy()
    for path, value in new.items():
        if path in old and old[path] != value and values.get(path) == old[path]:
            OmegaConf.update(merged, path, value, merge=False, force_add=True)
    for key in changed:
        OmegaConf.update(merged, key, OmegaConf.select(composed, key), merge=False, force_add=True)
    return merged


def _changed_key(word: str, choices: Mapping[str, Any]) -> str | None:
    key = word.split("=", 1)[0].lstrip("+~").split("@")[0].replace("/", ".")
    chosen = choices.get(key.replace(".", "/"))
    unchanged = chosen is not None and word.lstrip("+") == choice_word(key, chosen)
    return None if key in COMMANDS or unchanged else key


def _leaves(cfg: DictConfig) -> dict[str, Any]:
    """Resolved values by dotted key; lists count as values, and what is kept as pointers is left out."""
    found: dict[str, Any] = {}

    def visit(node: DictConfig, prefix: str) -> None:
        for key in node:
            path = prefix + str(key)
            if path in POINTERS or OmegaConf.is_missing(node, key):
                continue
            value = node[key]
            if isinstance(value, DictConfig):
                visit(value, f"{path}.")
            else:
                found[path] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_list(value) else value

    visit(cfg, "")
    return found


def choice_word(group: str, choice: str) -> str:
    """The command-line word that makes a choice, such as ``model=saliency``."""
    return f"{group}={choice}"


def find_checkpoint(run: str | Path, name: str | None = "best") -> Path:
    """Finds a checkpoint of a run: ``name`` is "best", "last" or another that the model keeps.

    Raises:
        AnatomarkError: the run has no such checkpoint.
    """
    if re.fullmatch(r"\w[\w=.-]*", name or "") is None:  # of somebody's config.yaml, and the name of a folder too
        raise AnatomarkError(f"{run}: {name!r} is no name of a checkpoint; set checkpoint= to best or last")
    folder = Path(run) / "checkpoints"
    path = folder / f"{name}.ckpt"
    if path.is_file():
        return path
    others = sorted(file.stem for file in folder.glob("*.ckpt"))
    if others:
        raise AnatomarkError(f"{path} does not exist; checkpoint= can be {' or '.join(others)}")
    raise AnatomarkError(f"{folder} holds no checkpoint; did the training finish its first epoch?")


def require_frames(cfg: DictConfig, folder: Path) -> None:
    """Refuses a run of volumes where frames are needed.

    Raises:
        AnatomarkError: it is one.
    """
    if "eval_transform" not in cfg.data:
        raise AnatomarkError(
            f"{display_path(folder)} was trained on volumes, and this command is for frames; evaluate.py finds the"
            " landmarks of volumes"
        )


def load_model(cfg: DictConfig, folder: Path, checkpoint: str | None) -> Any:
    """Builds the model of a run with the weights of a checkpoint, and warns where its training did not finish.

    Args:
        cfg: configuration of the run.
        folder: its folder.
        checkpoint: name of the checkpoint; None for the weights that the model is built with.

    Raises:
        AnatomarkError: the run has no such checkpoint, or it cannot be read.
    """
    import torch

    torch.manual_seed(cfg.seed)  # for weights that no file sets
    if checkpoint is None:
        return instantiate(cfg.model)
    if not is_fully_trained(folder):
        command = finish_command([folder])
        log.warning("%s did not finish its training; finish it by: %s", display_path(folder), command)
    model = instantiate_trained(cfg.model)
    load_weights(model, find_checkpoint(folder, checkpoint))
    return model


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint as plain tensors and numbers.

    Raises:
        AnatomarkError: the file is damaged, or holds something else.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about odd files, which are refused below
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(value, torch.Tensor) for value in checkpoint["state_dict"].values()):
            raise TypeError("its weights are no tensors")
    except pickle.UnpicklingError as error:
        raise AnatomarkError(f"{path} is damaged, or holds code beside weights; use another one") from error
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AnatomarkError(f"{path} is not a readable checkpoint ({reason}); use another one") from error
    return checkpoint


def load_weights(model: "nn.Module", path: Path) -> None:
    """Loads the weights of a checkpoint into the model it belongs to.

    Raises:
        AnatomarkError: the file is damaged or belongs to another model.
    """
    state = read_checkpoint(path)["state_dict"]
    shapes_of = {key: value.shape for key, value in state.items()}
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - shapes_of.keys()), sorted(shapes_of.keys() - own.keys())
    shapes = [key for key in own.keys() & shapes_of.keys() if own[key].shape != shapes_of[key]]
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
