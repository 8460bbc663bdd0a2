"""Collects a sweep: ``python collect.py sweep=...`` puts all jobs of a multirun into one table and one page.

What varied, how each job ended, its metrics with their spread over seeds and folds, and pooled scores over subjects.
"""

import logging
import re
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from anatomark.cli import job_errors, run_command
from anatomark.errors import AnatomarkError
from anatomark.instantiation import EXECUTION_WHITELIST
from anatomark.runs import display_path

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="collect", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    with job_errors(debug=cfg.debug):
        collect(cfg)


def collect(cfg: DictConfig) -> None:
    """Reads the sweep that ``sweep=`` names, prints its tables and writes its folder ``collected``."""
    if cfg.sweep_folder is None:
        raise AnatomarkError("collect.py needs sweep= and the folder of a multirun")
    from anatomark.collecting.report import (  # heavy, and needed only once there is something to read
        collect_sweep,
        make_report,
        write_collected,
    )
    from anatomark.report.writer import print_tables

    collected = collect_sweep(Path(str(cfg.sweep_folder)), metric=cfg.metric, mode=cfg.metric_mode)
    report = make_report(collected)
    page = write_collected(collected.sweep, report)
    print_tables([report])
    log.info("collected: %s", display_path(page))


if __name__ == "__main__":
    # To Hydra sweep= is a choice among the files of conf/sweep.
    sys.argv[1:] = [re.sub(r"^sweep=", "sweep_folder=", word) for word in sys.argv[1:]]
    run_command(main)
