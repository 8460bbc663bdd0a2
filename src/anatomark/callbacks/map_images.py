"""Pictures of what a network predicts while it is trained."""

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl

from anatomark.callbacks.predictor import Predictor
from anatomark.files import write_whole
from anatomark.report.dashboards import log_picture
from anatomark.report.map_figures import draw_maps
from anatomark.report.pictures import encode_png
from anatomark.types import AnatomarkError, Batch, Prediction, Sample


class MapImages(pl.Callback):
    """Draws the first validation frames with what the network predicts and what it should have predicted.

    One column per frame: the frame, the predicted map over it, and the target over it: the attention map
    where the data set has maps, else the fixations, with an area in proportion to their duration. The picture
    goes to every logger that takes pictures (TensorBoard, wandb, MLflow); where there is none, to
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
            write_whole(folder / f"epoch_{trainer.current_epoch:03d}.png", encode_png(figure))

    def _draws_now(self, trainer: pl.Trainer) -> bool:
        trial = trainer.sanity_checking or bool(getattr(trainer, "fast_dev_run", False))
        return not trial and trainer.current_epoch % self.every_n_epochs == 0
