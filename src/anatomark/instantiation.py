"""What a configuration may execute, and objects made of it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from anatomark.errors import AnatomarkError
from anatomark.timm_targets import CREATE, timm_targets

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

# Never torch.*, which holds torch.load and torch.hub.load.
EXECUTION_WHITELIST = [
    "anatomark.*",
    "torch.optim.*",
    "torch.nn.*",
    "torchmetrics.*",
    "pytorch_lightning.callbacks.*",
    "pytorch_lightning.loggers.*",
    "pytorch_lightning.strategies.*",
    "optuna.pruners.*",
]
# Keys of a network that say what it starts from, and their values for nothing.
STARTS = {"weights": None, "pretrained": False, "checkpoint_path": None}

# What Lightning says of an accelerator that this machine lacks, or that does not exist.
_NO_DEVICE = re.compile(r"No supported \w+ backend|`accelerator\b|torch_xla")


def register_resolvers() -> None:
    """Makes known to Hydra ``run_folder``, ``count`` (of a list) and ``of_sweep``.

    ``run_folder`` is the folder of a given run, else a new one, which may be another where several runs are pooled.
    ``of_sweep`` is in every job of a sweep what it is in the sweep itself, though the job may be named otherwise.
    """

    def run_folder(run: Any, new: str, pooled: str | None = None) -> str:
        return run if isinstance(run, str) else pooled if run and pooled else new

    def of_sweep(value: str) -> str:
        return value

    OmegaConf.register_resolver("run_folder", run_folder, replace=True)
    OmegaConf.register_resolver("count", len, replace=True)
    OmegaConf.register_resolver("of_sweep", of_sweep, use_cache=True, replace=True)  # Hydra hands the cache on to jobs


def instantiate(node: Any) -> Any:
    """Builds what a configuration node describes; targets outside the whitelist are refused, never executed."""
    from hydra.utils import instantiate as hydra_instantiate

    allowed = [*EXECUTION_WHITELIST, *(timm_targets() if CREATE in str(node) else [])]
    return hydra_instantiate(node, _convert_="all", _execution_whitelist_=allowed)


def instantiate_trained(model: Any) -> Any:
    """As :func:`instantiate`, for a model whose checkpoint is loaded next: the files it started from may be gone."""
    model = model.copy() if isinstance(model, DictConfig) else model
    nodes = [model] if isinstance(model, DictConfig) else []
    for node in nodes:
        if str(node.get("_target_")).startswith(("anatomark.nets.", CREATE)):
            node.update({key: nothing for key, nothing in STARTS.items() if key in node})
        nodes += [child for child in node.values() if isinstance(child, DictConfig)]
    return instantiate(model)


def chosen(nodes: DictConfig | None) -> dict[str, Any]:
    """The entries of a group by name.

    An entry set to null is left out, and so is one without a target: settings that a data set or experiment makes for
    an entry that was not chosen.
    """
    return {str(name): node for name, node in (nodes or {}).items() if node is not None and "_target_" in node}


def instantiate_all(nodes: DictConfig | None) -> list[Any]:
    """Builds every chosen entry of a group, such as all loggers."""
    return [instantiate(node) for node in chosen(nodes).values()]


def make_trainer(options: DictConfig | Mapping[str, Any], **parts: Any) -> "Trainer":
    """Makes a Trainer from the ``trainer`` group and what a script adds to it.

    ``sync_batchnorm`` means :class:`~anatomark.synced_norms.SyncedNorms`.

    Raises:
        AnatomarkError: Lightning refuses an option, such as a GPU where there is none.
    """
    import pytorch_lightning as pl

    from anatomark.synced_norms import SyncedNorms

    keywords: dict[str, Any] = {str(key): value for key, value in options.items()}
    norms = SyncedNorms() if keywords.pop("sync_batchnorm", False) else None
    with trainer_errors():
        return pl.Trainer(**keywords, **parts, plugins=norms)


@contextmanager
def trainer_errors() -> Iterator[None]:
    """Says which group the options belong to that Lightning refuses, and what to do where a device is missing.

    Raises:
        AnatomarkError: Lightning refuses an option, or a device fails to start.
    """
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except (MisconfigurationException, RuntimeError, TypeError, ValueError, ImportError) as error:
        remedy = "; give trainer.accelerator=auto" if _NO_DEVICE.search(str(error)) else ""
        raise AnatomarkError(f"trainer: {error}{remedy}") from error
