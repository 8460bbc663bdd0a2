"""The parameters that a sweep varied, found by comparing the configurations of its jobs.

No file holds the words that made a job. Its ``config.yaml`` holds every value, though, and ``multirun.yaml`` the keys
that the sweep's command names, so that what differs between jobs is shown under the names its author gave.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from anatomark.collecting.plan import HOW
from anatomark.runs import POINTERS

Config = Mapping[str, Any]

_ABSENT = object()


def varied_keys(configs: Sequence[Config], named: Sequence[str]) -> list[str]:
    """The keys by which the configurations differ.

    First those that the command names; then, for jobs that these do not tell apart, choices; then single values,
    without those that equal another's in every job, as ``trainer.max_epochs`` does ``epochs``.

    Args:
        configs: content of the jobs' ``config.yaml``.
        named: keys that the command of the sweep names.
    """
    kept = [key for key in dict.fromkeys(named) if len(_partition(configs, [key])) > 1]
    for group in dict.fromkeys(group for config in configs for group in config["choices"]):
        if group.split("/")[0] not in HOW and _tells_apart(configs, kept, group):
            kept.append(group)
    leaves = dict.fromkeys(key for config in configs for key in _leaves(config))
    shown = {_column(configs, key) for key in kept}
    for key in [key for key in sorted(leaves, key=lambda key: key.count(".")) if _tells_apart(configs, kept, key)]:
        column = _column(configs, key)
        if column not in shown:
            kept.append(key)
            shown.add(column)
    return kept


def value_at(config: Config, key: str) -> Any:
    """The value of a key, or the option chosen of a group; None where the configuration has no such key."""
    found = _find(config, key)
    return None if found is _ABSENT else found


def same(value: Any) -> str:
    """A text that is equal for equal values: 1 and 1.0 are one value, 1 and "1" are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _find(config: Config, key: str) -> Any:
    if key in config["choices"]:
        return config["choices"][key]
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return _ABSENT
        node = node[part]
    return node


def _column(configs: Sequence[Config], key: str) -> tuple[str, ...]:
    return tuple(same(str(found) if (found := _find(config, key)) is _ABSENT else found) for config in configs)


def _partition(configs: Sequence[Config], keys: Sequence[str]) -> set[tuple[str, ...]]:
    """Which combinations of values there are."""
    columns = [_column(configs, key) for key in keys]
    return set(zip(*columns, strict=True)) if columns else {()}


def _tells_apart(configs: Sequence[Config], kept: Sequence[str], key: str) -> bool:
    return len(_partition(configs, [*kept, key])) > len(_partition(configs, kept))


def _leaves(config: Config) -> list[str]:
    """Dotted keys of single values; a list is one."""
    found: list[str] = []

    def visit(node: Config, prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, Mapping) and value:
                visit(value, f"{prefix}{key}.")
            else:
                found.append(f"{prefix}{key}")

    visit({key: value for key, value in config.items() if key not in (*POINTERS, *HOW, "choices")}, "")
    return found
