"""What ``multirun.yaml`` says of a sweep: the parameters that its command names, and the jobs of a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, Transformer
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from anatomark.errors import AnatomarkError
from anatomark.runs import COMMANDS

MULTIRUN = "multirun.yaml"
HOW = (*COMMANDS, "launcher", "hydra", "paths")
"""Keys that say how and where a sweep is run, not what its jobs are."""
_GRID_SWEEPER = "BasicSweeper"
_DAMAGED = (YAMLError, OmegaConfBaseException, HydraException, AttributeError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The command of a sweep.

    Attributes:
        named: keys that it sets, in its order.
        jobs: of a grid, the values of these keys for every job, in the order of the jobs; empty where only the sweeper
            knew them.
        folds: of a study whose trials are cross-validations, those that each of them trains; else empty.
    """

    named: tuple[str, ...] = ()
    jobs: tuple[Mapping[str, Any], ...] = ()
    folds: tuple[int, ...] = ()


def read_plan(sweep: Path) -> Plan:
    """Reads the command of a sweep; an empty plan where its folder holds no ``multirun.yaml``.

    Raises:
        AnatomarkError: the file is damaged.
    """
    path = sweep / MULTIRUN
    if not path.is_file():
        return Plan()
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        loaded = loaded if isinstance(loaded, dict) else {}
        hydra_cfg = loaded.get("hydra") or {}
        sweeper = hydra_cfg.get("sweeper") or {}
        params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
        words = [*params, *((hydra_cfg.get("overrides") or {}).get("task") or [])]
        parsed, folds = parse_words(words), (loaded.get("sweep") or {}).get("folds") or []
        folds = tuple(map(int, folds if isinstance(folds, list) else range(folds)))
    except _DAMAGED as error:
        raise AnatomarkError(f"{path} is damaged ({' '.join(str(error).split())}); restore it") from error
    is_grid = str(sweeper.get("_target_", "")).endswith(_GRID_SWEEPER) and all(parsed.values())
    jobs = tuple(dict(zip(parsed, values, strict=True)) for values in product(*parsed.values())) if is_grid else ()
    return Plan(named=tuple(parsed), jobs=jobs, folds=folds)


def parse_words(words: Sequence[str]) -> dict[str, list[Any]]:
    """Key -> the values that words of the command line give it in turn; none where only their sweeper knows them.

    Keys that say how a sweep is run are left out.

    Raises:
        HydraException: a word cannot be parsed.
    """
    parsed = {}
    for override in OverridesParser.create().parse_overrides(list(words)):
        key = override.get_key_element().lstrip("+~").split("@")[0]
        if key.replace("/", ".").split(".")[0] not in HOW:
            parsed[key] = _values(override)
    return parsed


def _values(override: Override) -> list[Any]:
    if not override.is_sweep_override():
        return [_plain(override.value())]
    try:
        return [_plain(value) for value in override.sweep_iterator(transformer=Transformer.identity)]
    except HydraException:  # an interval, or glob(*), which stands for files of the program that made the sweep
        return []


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    return value
