"""Evaluates runs: ``python evaluate.py run=...``; those of one row are pooled, rows are compared.

Without ``run=`` the model is evaluated as it is configured, such as with published weights.
"""

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anatomark.cli import job_errors, run_command
from anatomark.errors import AnatomarkError
from anatomark.evaluation.rows import Row, as_built, group_rows, unfinished_runs
from anatomark.instantiation import EXECUTION_WHITELIST, instantiate_all
from anatomark.multirun import expand_runs, load_configs
from anatomark.runs import display_path, save_config

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="evaluate", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    with job_errors(debug=cfg.debug):
        evaluate(cfg)


def evaluate(cfg: DictConfig) -> None:
    """Predicts the frames that the evaluators need, runs the evaluators and writes the report."""
    from anatomark.evaluation.results import (  # heavy, and needed only once all runs are found
        compare_results,
        evaluate_rows,
    )
    from anatomark.loggers import close_loggers
    from anatomark.report.page import describe_evaluation
    from anatomark.report.writer import check_report_folder, log_reports, print_tables, write_reports

    folder = Path(HydraConfig.get().runtime.output_dir)
    rows = find_rows(cfg, folder)
    unfinished = unfinished_runs(rows)
    check_report_folder(folder / "report")
    results = evaluate_rows(rows)
    first = rows[0].parts[0]
    reports = compare_results(results, reference=first.config.get("reference"), paper=first.config.get("paper"))
    runs = list(dict.fromkeys(part.folder for row in rows for part in row.parts))
    page = write_reports(
        reports,
        folder / "report",
        title=first.config.name,
        run_info=describe_evaluation(
            results[0].data_set,
            named_runs(cfg, folder),
            first.config.seed,
            note="The run did not finish its training." if unfinished else "",
        ),
        training_curves=runs[0] / "metrics.csv" if len(runs) == 1 and (runs[0] / "metrics.csv").is_file() else None,
    )
    loggers = instantiate_all(cfg.get("logger"))
    log_reports(reports, loggers)
    close_loggers(loggers, "success")
    print_tables(reports)
    log.info("report: %s", display_path(page))


def find_rows(cfg: DictConfig, folder: Path) -> list[Row]:
    """The rows of the runs that ``run=`` names, or the model as configured, whose run folder is then ``folder``."""
    hydra_cfg = HydraConfig.get()
    if not cfg.run:
        if "model" not in (word.split("=", 1)[0] for word in hydra_cfg.overrides.task):
            raise AnatomarkError("evaluate.py needs run= and a run folder, or model= for a model as it is built")
        row = as_built(cfg, folder, hydra_cfg.runtime.choices)
        save_config(row.parts[0].config, folder, hydra_cfg.runtime.choices)
        return [row]
    runs = expand_runs(cfg.run)
    return group_rows(runs, load_configs(runs, cfg, hydra_cfg.overrides.task))


def named_runs(cfg: DictConfig, folder: Path) -> list[str]:
    """What ``run=`` names, as the report shows it."""
    named = [cfg.run] if isinstance(cfg.run, str) else cfg.run or [folder]
    return [display_path(Path(str(run))) for run in named]


if __name__ == "__main__":
    run_command(main)
