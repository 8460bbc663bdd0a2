"""What train.py needs of sweeps: the check of their extras before Hydra starts, and what makes a job a trial."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from anatomark.errors import AnatomarkError
from anatomark.instantiation import instantiate

if TYPE_CHECKING:
    from anatomark.sweeps.pruning import TrialPruning

# Word of the command line -> the plugin it needs.
_NEEDED = {
    "sweep=optuna": "hydra_optuna_sweeper",
    "launcher=joblib": "hydra_joblib_launcher",
    "launcher=slurm": "hydra_submitit_launcher",
    "launcher=submitit_local": "hydra_submitit_launcher",
    "launcher=submitit_slurm": "hydra_submitit_launcher",
    "launcher=ray": "hydra_ray_launcher",
}
_EXTRA = 'the extra [sweep]: pip install -c constraints.txt -e ".[sweep]" installs it'
_RAY = "Ray, which is no part of any extra: pip install hydra-ray-launcher==1.4.0rc3 installs it"
_MULTIRUN = {"-m", "--multirun", "hydra.mode=MULTIRUN"}


def prepare_sweep(words: Sequence[str]) -> None:
    """Checks what the words of the command line ask for, and makes the sweeper known to Hydra.

    Raises:
        AnatomarkError: the words name a sweeper or launcher whose extra is not installed, or a sweep without ``-m``.
    """
    for word in words:
        plugin = _NEEDED.get(word.removeprefix("hydra/"))
        if plugin is not None and not _installed(plugin):
            raise AnatomarkError(f"{word} needs {_RAY if plugin == 'hydra_ray_launcher' else _EXTRA}")
    several = not _MULTIRUN.isdisjoint(words)
    alone = next((word for word in words if word.startswith("sweep=") and word != "sweep=null"), None)
    if alone and not several:
        raise AnatomarkError(f"{alone} trains many models; add -m: python train.py -m {alone}")
    if several and _installed("hydra_optuna_sweeper"):
        from hydra.core.plugins import Plugins

        from anatomark.sweeps.sweeper import StudySweeper  # loads Optuna

        Plugins.instance().register(StudySweeper)


def _installed(plugin: str) -> bool:
    try:
        return find_spec(f"hydra_plugins.{plugin}") is not None
    except ModuleNotFoundError:  # not even a plugin of another kind is there
        return False


def trial_callbacks(cfg: DictConfig, sweeper: Any) -> "list[TrialPruning]":
    """The callback that reports to the study; none where the job is no trial, or a fold of one, which reports itself.

    Args:
        cfg: configuration of the job, with ``sweep.trial``, ``sweep.folds`` and ``sweep.pruner`` in a study.
        sweeper: Hydra's ``hydra.sweeper``.
    """
    if cfg.get("sweep") is None or cfg.sweep.folds is not None:
        return []
    from anatomark.sweeps.pruning import TrialPruning  # loads Optuna, an extra

    options = {"storage": sweeper.storage, "study": sweeper.study_name, "trial": cfg.sweep.trial}
    return [TrialPruning(**options, pruner=instantiate(cfg.sweep.pruner), monitor=cfg.monitor)]
