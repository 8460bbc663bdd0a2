"""Predicts frames nobody annotated: ``python predict.py run=... input=...``, of images, DICOM files or videos.

Writes the frames and videos with what was found drawn on them, and tables of labels, scores, boxes and landmarks.
"""

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anatomark.cli import job_errors, named_path, run_command
from anatomark.errors import AnatomarkError
from anatomark.instantiation import EXECUTION_WHITELIST
from anatomark.multirun import expand_runs, load_configs
from anatomark.runs import display_path, load_model, require_frames

log = logging.getLogger("anatomark")


@hydra.main(config_path="conf", config_name="predict", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    with job_errors(debug=cfg.debug, option="output="):
        predict(cfg)


def predict(cfg: DictConfig) -> None:
    """Predicts the frames that ``input=`` names with the model of the run that ``run=`` names."""
    run, config = find_run(cfg)
    source, output = named_path(cfg, "input"), named_path(cfg, "output")
    if source is None:
        raise AnatomarkError("predict.py needs input= and an image, a DICOM file, a video or a folder of them")
    if not isinstance(cfg.overlays, bool):  # of no and off Hydra makes words, which would count as true
        raise AnatomarkError(f"overlays is {cfg.overlays}; it must be true or false")
    from anatomark.inference.loop import Predictor, predict_media  # heavy, and needed only once the run is found

    folder = output or run / "predictions_of" / source.resolve().stem
    if "grad_cam" in config.model:
        config.model.grad_cam = False  # maps that only evaluate.py looks at
    predictor = Predictor(load_model(config, run, config.checkpoint), config)
    progress = config.trainer.enable_progress_bar
    speed = predict_media(predictor, source, folder, overlays=cfg.overlays, progress=progress)
    log.info("%s: %s", display_path(folder), speed)


def find_run(cfg: DictConfig) -> tuple[Path, DictConfig]:
    """The run and its configuration with what the command line changes in it."""
    runs = expand_runs(cfg.run) if cfg.run else []
    if len(runs) != 1:
        raise AnatomarkError(f"predict.py predicts with one model, and run= names {len(runs)}; give one run folder")
    (config,) = load_configs(runs, cfg, HydraConfig.get().overrides.task)
    require_frames(config, runs[0])
    return runs[0], config


if __name__ == "__main__":
    run_command(main)
