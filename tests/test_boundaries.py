"""Imports point one way, so that a model can be changed without an evaluator, and an evaluator without data."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "anatomark"
NAMES = ("train.py", "evaluate.py", "export.py", "predict.py", "collect.py")
SCRIPTS = [Path(__file__).parents[1] / name for name in NAMES]

# Layer -> what it may import besides itself.
CONTRACTS = {"errors", "types"}
PURE = CONTRACTS | {"geometry", "nets", "metrics", "registration", "losses"}
REPORTING = {"report"}
ALLOWED = {
    "errors": set[str](),
    "types": {"errors"},
    "files": {"errors"},
    "subjects": {"errors", "files"},
    "markups": {"errors"},
    "geometry": CONTRACTS,
    "volume_types": CONTRACTS | {"geometry"},
    "nets": CONTRACTS,
    "losses": CONTRACTS,
    "metrics": CONTRACTS | {"geometry"},
    "registration": CONTRACTS | {"geometry"},
    "data": CONTRACTS | {"geometry", "markups", "subjects", "volume_types"},
    "models": PURE | {"volume_types"},
    "report": CONTRACTS | {"geometry"},
    "metrics_file": {"files"},
    "callbacks": CONTRACTS | REPORTING | {"files", "metrics_file"},
    "loggers": CONTRACTS | {"metrics_file"},
    "doctor": set[str](),
    "predictions": CONTRACTS | {"data", "subjects", "volume_types"},
    "phantoms": CONTRACTS | {"geometry", "data", "volume_types"},
    "evaluators": (PURE - {"nets", "losses"}) | REPORTING | {"markups", "volume_types"},
    "timm_targets": {"errors"},
    "synced_norms": set[str](),
    "instantiation": {"errors", "synced_norms", "timm_targets"},
    "quoting": set[str](),
    "finished": {"errors", "files", "quoting"},
    "runs": {"errors", "files", "finished", "instantiation"},
    "multirun": {"errors", "files", "finished", "runs"},
    "resuming": {"errors", "files", "finished", "multirun", "runs"},
    "cli": {"errors", "files", "instantiation", "runs", "multirun", "quoting"},
    "sweeps": {"errors", "files", "finished", "instantiation", "runs", "multirun", "cli"},
    "localiser": {"evaluators", "geometry", "metrics", "models"},
    "parity_frames": CONTRACTS | {"data", "instantiation"},
    "exporting": CONTRACTS | {"localiser", "models", "parity_frames", "runs"},
    "inference": CONTRACTS | REPORTING | {"geometry", "metrics", "data", "evaluators", "instantiation"},
    "evaluation": CONTRACTS
    | REPORTING
    | {"metrics", "data", "evaluators", "predictions", "finished", "instantiation", "runs", "subjects"},
    "collecting": CONTRACTS | REPORTING | {"metrics", "evaluators", "evaluation", "finished", "runs", "multirun"},
}
MODULES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layers(names: set[str]) -> set[str]:
    parts = (name.split(".") for name in names)
    return {name[1] for name in parts if name[0] == "anatomark" and len(name) > 1}


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    layer = layer_of(path)
    if layer == "__init__":
        assert not imported(path)
        return
    assert layer in ALLOWED, f"say in this test where the new module {layer} belongs"
    wrong = layers(imported(path)) - ALLOWED[layer] - {layer}
    assert not wrong, f"{layer} must not import {sorted(wrong)}"


def test_the_layers_have_no_cycle() -> None:
    order: list[str] = []
    left = {layer: below - {layer} for layer, below in ALLOWED.items()}
    while left:
        ready = [layer for layer, below in left.items() if below <= set(order)]
        assert ready, f"a cycle among {sorted(left)}"
        order += ready
        left = {layer: below for layer, below in left.items() if layer not in ready}


def test_networks_know_no_lightning() -> None:
    for layer in ("nets", "geometry", "registration"):
        for path in (SOURCE / layer).rglob("*.py"):
            assert not any(name.startswith(("pytorch_lightning", "lightning")) for name in imported(path)), path


def test_only_models_train() -> None:
    trains = [
        path
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "training_step"
    ]
    assert trains
    assert {layer_of(path) for path in trains} == {"models"}


def test_the_scripts_stay_small() -> None:
    for path in SCRIPTS:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 100, path
        # What they run is chosen by the configuration.
        below = {
            "cli",
            "finished",
            "instantiation",
            "runs",
            "resuming",
            "subjects",
            "multirun",
            "evaluation",
            "errors",
            "exporting",
            "loggers",
            "report",
            "inference",
            "collecting",
            "sweeps",
        }
        assert layers(imported(path)) <= below


def test_nothing_needs_torchvision() -> None:
    for path in [*MODULES, *SCRIPTS]:
        assert not any(name.split(".")[0] == "torchvision" for name in imported(path)), path
