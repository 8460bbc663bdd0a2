"""What a training step costs under Lightning's Trainer beside a plain loop over the same batches."""

import time
import warnings
from functools import partial

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from anatomark.data.datamodules import collate
from anatomark.models.saliency import SaliencyModel
from anatomark.nets.saliency import SaliencyNet
from anatomark.nets.sononet import SonoNetTrunk
from anatomark.types import Sample

N_STEPS = 20
BATCH_SIZE = 8


def main() -> None:
    """Prints ms per step of both, interleaved three times, and the overhead."""
    warnings.filterwarnings("ignore")
    pl.seed_everything(0, verbose=False)
    loader = DataLoader(_samples(), batch_size=BATCH_SIZE, collate_fn=collate)
    plain, lightning = [], []
    for _ in range(3):
        plain.append(_plain(loader) / N_STEPS * 1e3)
        lightning.append(_lightning(loader) / N_STEPS * 1e3)
    a, b = min(plain), min(lightning)
    print(f"plain loop {a:.1f} ms/step, Trainer {b:.1f} ms/step, overhead {b - a:.1f} ms, ratio {b / a:.3f}")


def _samples() -> list[Sample]:
    return [
        {
            "key": str(index),
            "subject": str(index),
            "image": torch.randn(1, 224, 288),
            "spacing_mm": torch.ones(2),
            "fixations": torch.tensor([[100.0, 90.0, 200.0]]),
        }
        for index in range(N_STEPS * BATCH_SIZE)
    ]


def _model() -> SaliencyModel:
    net = SaliencyNet(trunk=SonoNetTrunk(pools=(1, 2)), head="dilated", hidden=64, features="head")
    return SaliencyModel(net=net, reduction=2, optimizer=partial(torch.optim.AdamW, lr=1e-3))


def _plain(loader: DataLoader[Sample]) -> float:
    model = _model()
    model.log = lambda *_, **__: None  # type: ignore[assignment]
    optimizer = model.configure_optimizers()
    start = time.perf_counter()
    for index, batch in enumerate(loader):
        loss = model.training_step(batch, index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def _lightning(loader: DataLoader[Sample]) -> float:
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = time.perf_counter()
    trainer.fit(_model(), loader)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
