"""Exports a run: ``python export.py run=PATH`` writes an ONNX file that says the same as PyTorch, box included."""

import logging

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anatomark.cli import job_errors, named_path, run_command
from anatomark.errors import AnatomarkError
from anatomark.instantiation import EXECUTION_WHITELIST
from anatomark.multirun import expand_runs, load_configs
from anatomark.runs import require_frames

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="export", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    with job_errors(debug=cfg.debug, option="output="):
        export(cfg)


def export(cfg: DictConfig) -> None:
    """Exports one checkpoint of one run, and checks the graph on the run's test frames, or on random ones."""
    from anatomark.exporting import export_run  # heavy, and needed only once the run is found

    runs = expand_runs(cfg.run) if cfg.run else []
    if len(runs) != 1:
        raise AnatomarkError(f"export.py takes one run, not {len(runs)}; give run= one folder that train.py printed")
    (config,) = load_configs(runs, cfg, HydraConfig.get().overrides.task)
    require_frames(config, runs[0])
    log.info("exporting %s of %s", config.checkpoint, config.choices.model)
    output = named_path(cfg, "output") or runs[0] / "exports" / f"{config.checkpoint or 'as_built'}.onnx"
    export_run(config, runs[0], output)


if __name__ == "__main__":
    run_command(main)
