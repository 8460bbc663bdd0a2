"""Runs train.py and evaluate.py inside the test process, where torch is loaded already."""

import logging
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
# A network small enough for a test, on frames of 96 x 64 px.
SCREEN = ["data.source.gaze.screen.frame_origin_px=[480,220]", "data.source.gaze.screen.frame_scale=10"]
FIT = "{_target_:anatomark.data.transforms.Fit,height:64,width:96}"
MOVE = "{_target_:anatomark.data.transforms.RandomSimilarity,degrees:25,scale:0.25}"


def transform(*steps: str) -> str:
    spatial = f"{{_target_:anatomark.data.transforms.Spatial,steps:[{','.join(steps)}]}}"
    standardise = "{_target_:anatomark.data.transforms.Standardise}"
    return f"{{_target_:anatomark.data.transforms.Compose,steps:[{spatial},{standardise}]}}"


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Commands:
    """Runs the project's commands in a folder of their own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capture = capture
        self._patch = patch

    def __call__(self, script: str, *words: str) -> Ended:
        self._patch.chdir(self.folder)
        self._patch.setattr(sys, "argv", [script, *words])
        self._capture.readouterr()
        code = 0
        with clean_process():
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        out, err = self._capture.readouterr()
        return Ended(code, out, err)

    def train(self, root: Path, *words: str) -> Path:
        """Trains a small model on a frames folder; returns the run folder."""
        before = set(self.runs())
        ended = self("train.py", *small(root), *words)
        assert ended.code == 0, ended.err
        (run,) = set(self.runs()) - before
        return run

    def runs(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("runs/**/config.yaml"))


def small(root: Path) -> list[str]:
    """Words for a training of seconds."""
    return [
        "data=frames",
        f"data.root={root}",
        *SCREEN,
        "data.n_folds=3",
        "data.batch_size=4",
        f"data.train_transform={transform(FIT, MOVE)}",
        f"data.eval_transform={transform(FIT)}",
        "model.net.hidden=8",
        "model.tta=null",
        "epochs=1",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "trainer.log_every_n_steps=1",
        "callbacks.map_images=null",
        "paths.run_dir=runs",
    ]


@contextmanager
def clean_process() -> Iterator[None]:
    """Puts back what a command changes for its own process."""
    handlers, level = logging.root.handlers[:], logging.root.level
    disabled = logging.root.manager.disable
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")  # so that it is removed afterwards
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setenv("PL_SEED_WORKERS", "0")
        state = torch.get_rng_state()
        try:
            yield
        finally:
            torch.set_rng_state(state)
            torch.use_deterministic_algorithms(False)
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            for handler in logging.root.handlers:
                if handler not in handlers:
                    handler.close()
            logging.root.handlers[:], logging.root.level = handlers, level
            logging.root.manager.disable = disabled
