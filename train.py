"""Trains a model: ``python train.py model=saliency``. Prints the run folder; returns what sweeps optimise."""

import logging
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from anatomark.cli import job_errors, run_command
from anatomark.errors import AnatomarkError
from anatomark.instantiation import EXECUTION_WHITELIST, instantiate, instantiate_all, instantiate_trained, make_trainer
from anatomark.multirun import finished_earlier, mark_finished, mark_started
from anatomark.runs import display_path, find_checkpoint, load_config, load_weights, merge_overrides, save_config

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="train", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    with job_errors(debug=cfg.debug):
        return train(cfg)


def train(cfg: DictConfig) -> float | None:
    """Trains, tests the checkpoint that evaluate.py takes and returns the monitored metric; None without one."""
    import pytorch_lightning as pl  # heavy, and needed only once the configuration is known

    from anatomark.loggers import close_loggers

    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    cfg, checkpoint = resume(cfg, hydra_cfg.overrides.task) if cfg.resume else (start(cfg), None)
    if not (isinstance(cfg.seed, int) and 0 <= cfg.seed < 2**32):
        raise AnatomarkError(f"seed is {cfg.seed}; it must be a whole number from 0 to {2**32 - 1}")
    if not (isinstance(cfg.epochs, int) and cfg.epochs >= 1):
        raise AnatomarkError(f"epochs is {cfg.epochs}; it must be a whole number of at least 1")
    if hydra_cfg.mode is RunMode.MULTIRUN and (result := finished_earlier(folder, cfg, hydra_cfg.runtime.choices)):
        log.info("trained earlier: %s", display_path(folder))
        return result.objective
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = instantiate(cfg.data)
    log.info("reading %s", cfg.data.root)
    datamodule.setup()
    if (cfg.monitor or "").startswith("val/") and not (datamodule.val_dataloader() and cfg.trainer.limit_val_batches):
        raise AnatomarkError(f"monitor={cfg.monitor} needs validation frames, and there are none; set monitor=null")
    model = instantiate(cfg.model) if checkpoint is None else instantiate_trained(cfg.model)
    if checkpoint is not None:
        load_weights(model, checkpoint)  # Lightning loads it again; this says what is wrong with it
    loggers, callbacks = instantiate_all(cfg.get("logger")), instantiate_all(cfg.get("callbacks"))
    trainer = make_trainer(cfg.trainer, default_root_dir=folder, callbacks=callbacks, logger=loggers)
    mark_started(folder)
    save_config(cfg, folder, hydra_cfg.runtime.choices)
    if checkpoint is None:
        (folder / "metrics.csv").unlink(missing_ok=True)  # of an earlier training, where hydra.run.dir names the folder
    status = "failed"
    try:
        trainer.fit(model, datamodule, ckpt_path=checkpoint, weights_only=True)
        objective = getattr(trainer.checkpoint_callback, "best_model_score", None)
        load_weights(model, find_checkpoint(folder, cfg.checkpoint))
        trainer.test(model, datamodule, verbose=False)
        status = "success"
    finally:
        close_loggers(loggers, status)
    result = mark_finished(folder, None if objective is None else float(objective))
    log.info("trained: %s", display_path(folder))
    return result.objective


def start(cfg: DictConfig) -> DictConfig:
    """Refuses to train into the folder of another run."""
    if cfg.run is not None:
        raise AnatomarkError(f"run={cfg.run} is a run that exists; add resume=true to continue it, or leave run= out")
    return cfg


def resume(cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Finds the configuration and the last checkpoint of the run to continue."""
    if cfg.run is None:
        raise AnatomarkError("resume=true needs the run to continue; add run= and the folder that train.py printed")
    return merge_overrides(load_config(cfg.run), cfg, overrides), find_checkpoint(cfg.run, "last")


if __name__ == "__main__":
    run_command(main)
