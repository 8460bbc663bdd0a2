"""Trains a model: ``python train.py model=saliency``. Prints the run folder; returns the metric that sweeps optimise."""

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anatomark.cli import run_command
from anatomark.runs import (
    EXECUTION_WHITELIST,
    display_path,
    find_checkpoint,
    instantiate,
    instantiate_all,
    load_config,
    load_weights,
    merge_overrides,
    save_config,
)

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="train", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return train(cfg)


def train(cfg: DictConfig) -> float | None:
    """Trains, tests the best checkpoint and returns the monitored metric, or None where nothing is monitored."""
    import pytorch_lightning as pl  # heavy, and needed only once the configuration is known

    from anatomark.loggers import close_loggers

    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    resumed = cfg.resume
    if resumed:
        cfg = merge_overrides(load_config(cfg.run), cfg, hydra_cfg.overrides.task)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = instantiate(cfg.data)
    datamodule.setup()
    model = instantiate(cfg.model)
    save_config(cfg, folder, dict(hydra_cfg.runtime.choices))
    loggers = instantiate_all(cfg.logger)
    trainer = pl.Trainer(
        **cfg.trainer, default_root_dir=folder, callbacks=instantiate_all(cfg.callbacks), logger=loggers
    )
    status = "failed"
    try:
        trainer.fit(model, datamodule, ckpt_path=find_checkpoint(folder, "last") if resumed else None, weights_only=True)
        objective = trainer.callback_metrics.get(cfg.monitor) if cfg.monitor else None
        load_weights(model, find_checkpoint(folder))
        trainer.test(model, datamodule, verbose=False)
        status = "success"
    finally:
        close_loggers(loggers, status)
    log.info("trained: %s", display_path(folder))
    return None if objective is None else float(objective)


if __name__ == "__main__":
    run_command(main)
