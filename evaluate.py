"""Evaluates a run: ``python evaluate.py run=runs/...``; several runs, such as folds, are pooled into one report."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anatomark.cli import readable_errors, run_command
from anatomark.errors import AnatomarkError
from anatomark.runs import (
    EXECUTION_WHITELIST,
    display_path,
    find_checkpoint,
    instantiate,
    instantiate_all,
    load_config,
    load_weights,
    make_trainer,
    merge_overrides,
)

if TYPE_CHECKING:
    from anatomark.predictions import RunPredictions

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="evaluate", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    with readable_errors(debug=cfg.debug):
        evaluate(cfg)


def evaluate(cfg: DictConfig) -> None:
    """Predicts the frames that the evaluators need, runs the evaluators and writes the report."""
    from anatomark.loggers import close_loggers
    from anatomark.predictions import PooledPredictions
    from anatomark.report.page import describe_evaluation
    from anatomark.report.writer import log_reports, name_data_set, print_tables, write_reports

    runs = [Path(run) for run in ([cfg.run] if isinstance(cfg.run, str) else cfg.run or [])]
    if not runs:
        raise AnatomarkError("evaluate.py needs a run; add run= and the folder that train.py printed")
    configs = [merge_overrides(load_config(run), cfg, HydraConfig.get().overrides.task) for run in runs]
    evaluators = instantiate_all(configs[0].get("evaluator"))
    if not evaluators:
        raise AnatomarkError("nothing to evaluate: the data set names no evaluator; add evaluator=[saliency], say")
    splits = [s for s in ("train", "val", "test") if any(s in evaluator.splits for evaluator in evaluators)]
    streams = [predict(run, config, splits) for run, config in zip(runs, configs, strict=True)]
    data_set = ", ".join(dict.fromkeys(stream.data_set for stream in streams))
    log.info("evaluating on %s: %s", data_set, ", ".join(type(evaluator).__name__ for evaluator in evaluators))
    reports = [name_data_set(evaluator(PooledPredictions(streams)), data_set) for evaluator in evaluators]
    folder = Path(HydraConfig.get().runtime.output_dir)
    page = write_reports(
        reports,
        folder / "report",
        title=configs[0].name,
        run_info=describe_evaluation(data_set, [display_path(run) for run in runs], configs[0].seed),
        training_curves=runs[0] / "metrics.csv" if len(runs) == 1 and (runs[0] / "metrics.csv").is_file() else None,
    )
    loggers = instantiate_all(cfg.get("logger"))
    log_reports(reports, loggers)
    close_loggers(loggers, "success")
    print_tables(reports)
    log.info("report: %s", display_path(page))


def predict(run: Path, cfg: DictConfig, splits: list[str]) -> "RunPredictions":
    """Rebuilds data and model of a run, writes its predictions and returns them as a stream with their samples."""
    from anatomark.predictions import PredictionWriter, RunPredictions

    datamodule, model = instantiate(cfg.data), instantiate(cfg.model)
    datamodule.setup()
    load_weights(model, find_checkpoint(run, cfg.checkpoint))
    writer = PredictionWriter(folder=run / "predictions")
    options = {key: cfg.trainer[key] for key in ("accelerator", "precision", "enable_progress_bar")}
    trainer = make_trainer(options, devices=1, logger=False, callbacks=[writer])
    datamodule.predict_splits = splits
    trainer.predict(model, datamodule=datamodule, return_predictions=False)
    return RunPredictions(
        dataset=datamodule.evaluation_dataset(splits),
        folder=writer.folder,
        run=display_path(run),
        data_set=datamodule.source.name,
    )


if __name__ == "__main__":
    run_command(main)
