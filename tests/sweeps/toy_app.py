"""A program of milliseconds that is swept as train.py is: each "training" has a known curve.

It is best at a rate of 0.01 in fold 0, and at smaller ones in the others.
"""

import math
import time
from pathlib import Path
from unittest import mock

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anatomark.cli import job_errors, run_command
from anatomark.errors import AnatomarkError
from anatomark.finished import mark_finished, read_result
from anatomark.instantiation import EXECUTION_WHITELIST
from anatomark.sweeps.jobs import prepare_sweep, trial_callbacks


def loss(lr: float, epoch: int, fold: int = 0) -> float:
    return (math.log10(lr) + 2 + fold / 4) ** 2 + 1 / (epoch + 1)


@hydra.main(config_path="toy", config_name="toy", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    with job_errors(debug=False):
        return train(cfg)


def train(cfg: DictConfig) -> float | None:
    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    if (result := read_result(folder)) is not None:
        return result.objective
    trials = trial_callbacks(cfg, hydra_cfg.sweeper)
    if str(hydra_cfg.sweep.subdir) in map(str, cfg.fails):
        raise ZeroDivisionError("a defect") if hydra_cfg.job.num % 2 else AnatomarkError("bad input")
    sign = -1 if cfg.monitor_mode == "max" else 1
    trainer, model = mock.create_autospec(pl.Trainer, instance=True), pl.LightningModule()
    trainer.max_epochs, trainer.current_epoch, trainer.should_stop = cfg.epochs, 0, False
    (folder / "splits.json").write_text("own" if cfg.own_split else f"tests fold {cfg.data.fold}")
    for trial in trials:
        trial.on_train_start(trainer, model)
    with (folder / "epochs.txt").open("a") as file:
        for epoch in range(cfg.epochs):
            time.sleep(cfg.seconds)
            trainer.current_epoch = epoch
            value = sign * loss(cfg.model.optimizer.lr, epoch, cfg.data.fold)
            trainer.callback_metrics = {"val/loss": torch.tensor(value, dtype=torch.float64)}
            file.write(f"{epoch}\n")
            file.flush()
            for trial in trials:
                trial.on_train_epoch_end(trainer, model)
            if trainer.should_stop:
                break
    mark_finished(folder, value, pruned=any(trial.pruned for trial in trials))
    return value


if __name__ == "__main__":
    run_command(main, prepare=prepare_sweep)
