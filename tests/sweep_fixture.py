"""Sweep folders as multiruns leave them, written by hand with known numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from anatomark.finished import mark_finished
from anatomark.runs import save_config

GRID = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def write_multirun(
    sweep: Path, *words: str, params: Mapping[str, str] | None = None, sweeper: str = GRID, folds: object = None
) -> Path:
    """The folder with its ``multirun.yaml``."""
    sweep.mkdir(parents=True, exist_ok=True)
    hydra = {"sweeper": {"_target_": sweeper, "params": params}, "overrides": {"task": list(words)}}
    study = {} if folds is None else {"sweep": {"folds": folds}}
    OmegaConf.save(OmegaConf.create({"hydra": hydra, **study}), sweep / "multirun.yaml")
    return sweep


def config(*, lr: float = 0.1, seed: int = 0, fold: int = 0, width: int = 8, model: str = "saliency") -> dict[str, Any]:
    return {
        "name": "sweep",
        "seed": seed,
        "epochs": 3,
        "monitor": "val/kld",
        "monitor_mode": "min",
        "trainer": {"max_epochs": 3},
        "model": {"optimizer": {"lr": lr}, "net": {"width": width}},
        "data": {"fold": fold, "source": {"_target_": "anatomark.phantoms.fetal_head.FetalHead"}},
        "choices": {"model": model, "data": "fetal_head"},
    }


def write_config(run: Path, settings: Mapping[str, Any]) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in settings.items() if key != "choices"}
    save_config(OmegaConf.create(content), run, settings["choices"])
    return run


def write_job(
    run: Path,
    settings: Mapping[str, Any],
    *,
    kld: tuple[float, ...] = (2.0, 1.0, 1.5),
    nss: float | None = 0.5,
    pruned: bool = False,
) -> Path:
    """A job that ended well: its validation metric of every epoch and its test metric."""
    write_config(run, settings)
    lines = ["epoch,step,test/nss,train/loss,val/cc,val/kld"]
    for epoch, value in enumerate(kld):
        lines += [f"{epoch},{epoch},,,{1 / (1 + value)},{value}", f"{epoch},{epoch},,{3 * value},,"]
    if nss is not None and not pruned:
        lines.append(f"{len(kld)},{len(kld)},{nss},,,")
    (run / "metrics.csv").write_text("\n".join(lines) + "\n")
    (run / "train.log").write_text(f"reading data\ntrained: {run}\n")
    mark_finished(run, min(kld), pruned=pruned)
    return run


def write_failure(run: Path, error: str, *, words: list[str] | None = None) -> Path:
    """A job that ended with an error: with its words, as jobs leave them, or with its log alone."""
    run.mkdir(parents=True, exist_ok=True)
    log = f"reading data\nfailed: {run}: {error}\nJob failed\nTraceback (most recent call last):\nError: {error}\n"
    (run / "train.log").write_text(log)
    if words is not None:
        (run / "job.json").write_text(json.dumps({"overrides": words, "error": error}))
    return run


def write_report(run: Path, evaluator: str, values: Mapping[str, Any]) -> None:
    (run / "report").mkdir(exist_ok=True)
    (run / "report" / f"{evaluator}.json").write_text(json.dumps(values))
    (run / "report" / "index.html").write_text("<html></html>")


def saliency_report(cc: Mapping[str, float]) -> dict[str, Any]:
    """What the saliency evaluator leaves: subject -> CC, from which its other metrics follow."""
    subjects = {s: {"ig": v + 1, "cc": v, "nss": 2 * v, "sim": v / 2, "auc_judd": v / 4} for s, v in cc.items()}
    return {"data_set": "fetal_head phantom", "subjects": subjects, "conventions": {"target": "sigma 9"}}


def classification_report(counts: Mapping[str, tuple[int, int, int]]) -> dict[str, Any]:
    """What the classification evaluator leaves where one class is special: subject -> tp, fp, fn."""
    subjects = {subject: dict(zip(("tp", "fp", "fn"), found, strict=True)) for subject, found in counts.items()}
    return {"data_set": "fetal_abdomen phantom", "positive": "plane", "subjects": subjects, "conventions": {}}
