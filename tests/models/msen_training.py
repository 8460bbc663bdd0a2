"""Trains a tiny M-SEN: in a test, or as a program (``python msen_training.py FOLDER [key=value ...]``) to be killed."""

import json
import os
import signal
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from anatomark.callbacks import CleanBatchNorm, PhaseCheckpoint, RandomState, RunCheckpoint
from anatomark.models.msen import MSENModel
from anatomark.nets.msen import Discriminator, Generator
from anatomark.nets.sononet import SonoNetTrunk
from anatomark.types import Batch, Sample

SIDE, STRIDE = 32, 8
PRETRAIN, EPOCHS = 2, 4
LR, ADVERSARIAL_LR = 1e-3, 5e-4


def make_model(**options: Any) -> MSENModel:
    torch.manual_seed(0)
    net = Generator(trunk=SonoNetTrunk(n_blocks=3), attention_stride=STRIDE, adaptation=16)
    discriminator = Discriminator(resolution=16)
    defaults = {"optimizer": partial(torch.optim.Adam, lr=LR), "pretrain_epochs": PRETRAIN, "sigma_px": 5.0}
    return MSENModel(net=net, discriminator=discriminator, **{**defaults, **options})


def make_samples(n: int) -> list[Sample]:
    """Noise; every other frame is a plane: it has a bright blob, which is looked at."""
    generator = torch.Generator().manual_seed(1)
    ys, xs = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    samples: list[Sample] = []
    for index in range(n):
        x, y = (torch.rand(2, generator=generator) * (SIDE - 12) + 6).tolist()
        blob = 4.0 * torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 20)
        image = 0.3 * torch.randn(SIDE, SIDE, generator=generator) + (blob if index % 2 else 0.0)
        sample: Sample = {
            "key": f"f{index}",
            "subject": f"s{index // 2}",
            "image": image[None],
            "spacing_mm": torch.ones(2),
            "label": index % 2,
            "fixations": torch.tensor([[x, y, 100.0]]),
        }
        samples.append(sample)
    return samples


def collate(samples: list[Sample]) -> Batch:
    return {
        "samples": samples,
        "image": torch.stack([s["image"] for s in samples]),
        "fixations": torch.stack([s["fixations"] for s in samples]),
        "has_gaze": torch.ones(len(samples), dtype=torch.bool),
        "label": torch.tensor([s["label"] for s in samples]),
    }


class Rates(pl.Callback):
    """Notes the learning rates of generator and discriminator in every epoch."""

    def __init__(self) -> None:
        self.rates: list[tuple[float, ...]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.fit_loop.epoch_loop.batch_idx == 0:
            self.rates.append(tuple(optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers))


class Stop(pl.Callback):
    """Ends the process, or the training by an exception, in the second batch of an epoch."""

    def __init__(self, *, epoch: int, kill: bool) -> None:
        self.epoch, self.kill = epoch, kill

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == self.epoch and trainer.fit_loop.epoch_loop.batch_idx == 1:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("power cut")


def train(
    folder: Path, *, resume: bool = False, watcher: Stop | Rates | None = None, **trainer: Any
) -> tuple[MSENModel, dict[str, float]]:
    """Trains as train.py does, with its callbacks; the model and the last metrics."""
    pl.seed_everything(3, workers=True, verbose=False)
    folder.mkdir(exist_ok=True)
    callbacks: list[pl.Callback] = [
        RunCheckpoint(dirpath=folder, filename="best", monitor="val/f1", mode="max", enable_version_counter=False),
        RunCheckpoint(dirpath=folder, filename="last", enable_version_counter=False),
        RandomState(),
        CleanBatchNorm(n_batches=2),
        PhaseCheckpoint(dirpath=folder, filename="pretrained", epochs=PRETRAIN),
    ]
    options = {"max_epochs": EPOCHS, "accelerator": "cpu", "deterministic": True, **trainer}
    fitter = pl.Trainer(
        default_root_dir=folder,
        callbacks=[*callbacks, *([watcher] if watcher else [])],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    samples = make_samples(16)
    model = make_model(
        scheduler=partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=PRETRAIN), adversarial_lr=ADVERSARIAL_LR
    )
    fitter.fit(
        model,
        DataLoader(samples[:12], batch_size=4, shuffle=True, collate_fn=collate),
        DataLoader(samples[12:], batch_size=4, collate_fn=collate),
        ckpt_path=folder / "last.ckpt" if resume else None,
        weights_only=True,
    )
    return model, {name: float(value) for name, value in fitter.callback_metrics.items()}


def main() -> None:
    """FOLDER, then words of JSON: kill_in_epoch=N, or keywords of the Trainer."""
    warnings.simplefilter("ignore")
    words = dict(word.split("=", 1) for word in sys.argv[2:])
    kill = words.pop("kill_in_epoch", None)
    watcher = None if kill is None else Stop(epoch=int(kill), kill=True)
    model, metrics = train(
        Path(sys.argv[1]), watcher=watcher, **{name: json.loads(value) for name, value in words.items()}
    )
    learnt = {name: value.detach() for name, value in model.named_parameters()}
    torch.save(learnt, Path(sys.argv[1]) / f"rank{model.trainer.global_rank}.pt")
    if model.trainer.is_global_zero:
        (Path(sys.argv[1]) / "metrics.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
