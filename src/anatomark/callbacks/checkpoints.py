"""Checkpoints of a run folder: whole at any time, and good wherever the folder lies."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from anatomark.files import whole_file, write_whole


class WholeFileIO(TorchCheckpointIO):
    """Writes checkpoints beside their place and moves them there, so that a run killed meanwhile has its last one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes ``path``, which holds the old checkpoint or the new one at any time.

        Raises:
            AnatomarkError: it cannot be written, for want of space, say; the old one stays.
        """
        with whole_file(Path(path)) as unfinished, unfinished.open("wb") as file:
            torch.save(checkpoint, file)


class RunCheckpoint(ModelCheckpoint):
    """One of Lightning's checkpoints in a run folder that may be moved: a resumed run still knows its best epoch."""

    @property
    def state_key(self) -> str:
        """Tells apart the checkpoints of a run, which may monitor the same metric or none."""
        return f"{super().state_key}{self.filename}"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Makes the trainer write whole files only."""
        super().setup(trainer, pl_module, stage)
        trainer.strategy.checkpoint_io = WholeFileIO()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state, with the files where the run folder lies now."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "", Path(path).name)) if path else path

        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in names}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath})


class PhaseCheckpoint(pl.Callback):
    """Keeps a copy of the last checkpoint of a training phase, such as M-SEN's pre-training.

    The copy is made before the first batch of the next phase, when the phase is validated and its checkpoint written,
    so a run that was stopped in between still gets it when it is continued.

    Args:
        dirpath: folder of the checkpoints.
        filename: name of the copy, without suffix.
        epochs: length of the phase; nothing is kept of a phase of 0 epochs or of one that does not end.
    """

    def __init__(self, *, dirpath: str | Path, filename: str, epochs: int) -> None:
        super().__init__()
        self.folder = Path(dirpath)
        self.filename = filename
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the checkpoint of a phase that another phase follows."""
        self._keep(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the checkpoint of a phase that ends with the training."""
        self._keep(trainer)

    def _keep(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero and trainer.current_epoch == self.epochs > 0:
            write_whole(self.folder / f"{self.filename}.ckpt", (self.folder / "last.ckpt").read_bytes())
