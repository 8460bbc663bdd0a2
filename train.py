"""Trains a model: ``python train.py model=saliency``. Prints the run folder; returns what sweeps optimise."""

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from anatomark.cli import job_errors, run_command
from anatomark.errors import AnatomarkError
from anatomark.finished import mark_finished, mark_started
from anatomark.instantiation import EXECUTION_WHITELIST, instantiate, instantiate_all, instantiate_trained, make_trainer
from anatomark.multirun import finished_earlier
from anatomark.resuming import find_job, find_run, prepare_folder
from anatomark.runs import describe_config, display_path, find_checkpoint, load_weights, save_config
from anatomark.subjects import check_subjects, record_subjects
from anatomark.sweeps.jobs import prepare_sweep, trial_callbacks

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="train", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    with job_errors(debug=cfg.debug):
        return train(cfg)


def train(cfg: DictConfig) -> float | None:
    """Trains, tests the checkpoint that evaluate.py takes and returns the monitored metric; None without one."""
    import pytorch_lightning as pl  # heavy, and needed only once the configuration is known

    from anatomark.loggers import close_loggers, log_settings

    hydra_cfg = HydraConfig.get()
    folder = Path(hydra_cfg.runtime.output_dir)
    is_job = hydra_cfg.mode is RunMode.MULTIRUN
    cfg, checkpoint = (cfg, None) if is_job else find_run(cfg, hydra_cfg.overrides.task)
    if not (isinstance(cfg.seed, int) and 0 <= cfg.seed < 2**32):
        raise AnatomarkError(f"seed is {cfg.seed}; it must be a whole number from 0 to {2**32 - 1}")
    if not (isinstance(cfg.epochs, int) and cfg.epochs >= 1):
        raise AnatomarkError(f"epochs is {cfg.epochs}; it must be a whole number of at least 1")
    if is_job:
        if result := finished_earlier(folder, cfg, hydra_cfg.runtime.choices):
            log.info("trained earlier: %s", display_path(folder))
            return result.objective
        checkpoint = find_job(cfg, folder, hydra_cfg.runtime.choices)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = instantiate(cfg.data)
    log.info("reading %s", cfg.data.root)
    datamodule.setup()
    if (cfg.monitor or "").startswith("val/") and not (datamodule.records["val"] and cfg.trainer.limit_val_batches):
        raise AnatomarkError(f"monitor={cfg.monitor} needs validation frames, and there are none; set monitor=null")
    model = instantiate(cfg.model) if checkpoint is None else instantiate_trained(cfg.model)
    if checkpoint is not None:
        load_weights(model, checkpoint)  # Lightning loads it again; this says what is wrong with it
        check_subjects(folder, datamodule.source.name, datamodule.records)
    trials = trial_callbacks(cfg, hydra_cfg.sweeper)
    loggers, callbacks = instantiate_all(cfg.get("logger")), [*instantiate_all(cfg.get("callbacks")), *trials]
    trainer = make_trainer(cfg.trainer, default_root_dir=folder, callbacks=callbacks, logger=loggers)
    if is_job and trainer.world_size > 1:  # whose processes would each start the whole multirun
        raise AnatomarkError(f"trainer.devices={cfg.trainer.devices}: a job of a multirun has one device; leave -m out")
    mark_started(folder)
    prepare_folder(folder, checkpoint)
    save_config(cfg, folder, hydra_cfg.runtime.choices)
    record_subjects(folder, datamodule.source.name, datamodule.records)
    status = "failed"
    try:
        log_settings(loggers, describe_config(cfg, hydra_cfg.runtime.choices), hydra_cfg.overrides.task)
        trainer.fit(model, datamodule, ckpt_path=checkpoint, weights_only=True)
        objective = getattr(trainer.checkpoint_callback, "best_model_score", None)
        if not (pruned := any(trial.pruned for trial in trials)):
            load_weights(model, find_checkpoint(folder, cfg.checkpoint))
            trainer.test(model, datamodule, verbose=False)
        status = "success"
    finally:
        close_loggers(loggers, status)
    result = mark_finished(folder, None if objective is None else float(objective), pruned=pruned)
    log.info("trained: %s", display_path(folder))
    return result.objective


if __name__ == "__main__":
    run_command(main, prepare=prepare_sweep)
