"""Lightning callbacks."""

from collections import deque
from pathlib import Path
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from anatomark.report.map_figures import draw_maps
from anatomark.report.pictures import encode_png, log_picture
from anatomark.types import AnatomarkError, Batch, Prediction, Sample


class Predictor(Protocol):
    """What :class:`MapImages` needs of a model."""

    def predict(self, batch: Batch) -> list[Prediction]:
        """Predicts every frame of a batch."""
        ...


class MapImages(pl.Callback):
    """Draws the first validation frames with what the network predicts and what it should have predicted.

    One column per frame: the frame, the predicted map over it, and the target over it: the attention map
    where the data set has maps, else the fixations, with an area in proportion to their duration. The picture
    goes to every logger that takes pictures (TensorBoard, wandb); where there is none, to
    ``maps/epoch_000.png`` in the run folder.
    """

    def __init__(self, *, n_images: int = 8, every_n_epochs: int = 1) -> None:
        """Makes the callback.

        Args:
            n_images: number of frames.
            every_n_epochs: draw after the first of every so many epochs.

        Raises:
            AnatomarkError: a number is below 1.
        """
        super().__init__()
        for name, value in {"n_images": n_images, "every_n_epochs": every_n_epochs}.items():
            if value < 1:
                raise AnatomarkError(f"MapImages: {name} is {value}; it must be at least 1")
        self.n_images = n_images
        self.every_n_epochs = every_n_epochs
        self._shown: list[tuple[Sample, Prediction]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the frames of the last epoch."""
        self._shown = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predicts the frames of the batch that are still wanted."""
        wanted = self.n_images - len(self._shown)
        if dataloader_idx > 0 or wanted == 0 or not self._draws_now(trainer):
            return
        # Every entry of a batch, list or tensor, has one item per frame.
        first = cast(Batch, {name: value[:wanted] for name, value in batch.items()})
        predictions = cast(Predictor, pl_module).predict(first)
        self._shown += zip(first["samples"], predictions, strict=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sends the picture to the loggers, or to a file."""
        run_folder = trainer.log_dir  # asks every rank, so it comes before the others leave
        if not self._shown or not trainer.is_global_zero:
            return
        figure = draw_maps(self._shown)
        taken = [log_picture(logger, "maps", figure, step=trainer.global_step) for logger in trainer.loggers]
        if not any(taken):
            folder = Path(run_folder or trainer.default_root_dir) / "maps"
            _write_bytes(folder / f"epoch_{trainer.current_epoch:03d}.png", encode_png(figure))

    def _draws_now(self, trainer: pl.Trainer) -> bool:
        trial = trainer.sanity_checking or bool(getattr(trainer, "fast_dev_run", False))
        return not trial and trainer.current_epoch % self.every_n_epochs == 0


class WholeFileIO(TorchCheckpointIO):
    """Writes checkpoints beside their place and moves them there, so that a run killed meanwhile has its last one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes ``path``, which holds the old checkpoint or the new one at any time."""
        unfinished = Path(f"{path}.tmp")
        super().save_checkpoint(checkpoint, unfinished, storage_options)
        unfinished.replace(path)


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
            _write_bytes(self.folder / f"{self.filename}.ckpt", (self.folder / "last.ckpt").read_bytes())


class CleanBatchNorm(pl.Callback):
    """Estimates at the end of every epoch, without dropout, what batch norms go by in evaluation.

    Dropout widens what the batch norms after it see in training. In a deep network with dropout at every layer that
    adds up, until the evaluation, which drops nothing, fails a network that has learnt well (Li et al. 2019,
    "Understanding the disharmony between dropout and batch normalization").

    Args:
        n_batches: the last training batches of the epoch, which the estimate is made from.

    Raises:
        AnatomarkError: ``n_batches`` is below 1.
    """

    def __init__(self, *, n_batches: int = 8) -> None:
        super().__init__()
        if n_batches < 1:
            raise AnatomarkError(f"CleanBatchNorm: n_batches is {n_batches}; it must be at least 1")
        self._batches: deque[Batch] = deque(maxlen=n_batches)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keeps the batch, and after the last one makes the estimate."""
        self._batches.append(batch)
        if trainer.is_last_batch:
            self._estimate(pl_module)
            self._batches.clear()

    @torch.no_grad()
    def _estimate(self, model: pl.LightningModule) -> None:
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        modes = {module: module.training for module in model.modules()}
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # all batches weigh the same
            norm.train()
        for batch in self._batches:
            cast(Predictor, model).predict(batch)
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class RandomState(pl.Callback):
    """Keeps the state of the random numbers in checkpoints, so that a resumed run ends like an uninterrupted one."""

    def state_dict(self) -> dict[str, Any]:
        """The state after the last completed epoch."""
        return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state; a run that moves to other devices starts theirs from its seed."""
        torch.set_rng_state(state_dict["cpu"])
        if len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state_dict["cuda"])


def _write_bytes(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
