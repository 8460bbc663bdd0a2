"""Media to findings: frames are read, prepared as the run's evaluation prepares them, and predicted in batches."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities import move_data_to_device
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from anatomark.data.datamodules import check_batch_size, collate
from anatomark.data.media import Media, find_media, name_media, open_media
from anatomark.data.original import WayBack
from anatomark.evaluators.localisation_rules import BoxRules
from anatomark.inference.findings import Finding, FindingReader
from anatomark.inference.folding import fold_batch_norms
from anatomark.inference.output import Layout, open_output
from anatomark.inference.samples import Frame, SampleMaker
from anatomark.instantiation import instantiate, trainer_errors
from anatomark.types import AnatomarkError, Prediction

_USED = ("key", "maps", "map_stride", "logits", "points")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How long it took.

    Attributes:
        n_frames: frames.
        seconds: for all of it: reading, predicting, drawing and writing.
        network_seconds: for predicting alone.
    """

    n_frames: int
    seconds: float
    network_seconds: float

    def __str__(self) -> str:
        whole, network = (self.n_frames / max(seconds, 1e-9) for seconds in (self.seconds, self.network_seconds))
        return f"{self.n_frames} frames at {whole:.1f} frames/s, {network:.1f} frames/s in the network"


class Predictor:
    """A run's model with all that its configuration says about frames.

    Args:
        model: the model with its weights; it is put into evaluation mode and its batch norms are folded.
        cfg: configuration of the run.

    Raises:
        AnatomarkError: frames cannot be prepared without annotations, a number is refused, or the device is missing.
    """

    def __init__(self, model: Any, cfg: DictConfig) -> None:
        check_batch_size(cfg.data.batch_size)
        with trainer_errors():
            fabric = Fabric(accelerator=cfg.trainer.accelerator, devices=1, precision=cfg.trainer.precision)
        self._prepare = SampleMaker(
            transform=instantiate(cfg.data.eval_transform), frustum=cfg.data.get("frustum", "annotated")
        )
        self.batch_size: int = cfg.data.batch_size
        self.classes = tuple(cfg.data.get("classes") or ())
        self.network_seconds = 0.0
        self._device = fabric.device
        fold_batch_norms(model.eval())
        self._model = fabric.setup_module(model)
        self._model.mark_forward_method("predict")
        boxes = _settings(cfg, "localisation")
        self._read = FindingReader(
            classes=self.classes,
            probabilities=model.probabilities,
            rules=BoxRules(
                threshold=boxes.get("threshold", "contrast"), component=boxes.get("component", "all"), n_fractions=1
            ),
            min_distance=cfg.discovery.min_distance,
            threshold=cfg.discovery.threshold,
            saliency_norm=cfg.discovery.saliency_norm,
        )

    def __call__(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Finding]]:
        """Predicts frames in batches.

        Raises:
            AnatomarkError: a frame cannot be prepared or predicted.
        """
        for batch in _batched(frames, self.batch_size):
            yield from zip(batch, self._predict(batch), strict=True)

    def _predict(self, frames: Sequence[Frame]) -> list[Finding]:
        prepared = [self._prepare(frame) for frame in frames]
        batch = collate([one.sample for one in prepared])
        start = time.perf_counter()
        with torch.inference_mode():
            batch["image"] = batch["image"].to(self._device)
            predictions = [_on_cpu(prediction) for prediction in self._model.predict(batch)]
        self.network_seconds += time.perf_counter() - start
        return [
            self._read(one, prediction, WayBack.of(one.sample, frame.pixels.shape[:2]))
            for frame, one, prediction in zip(frames, prepared, predictions, strict=True)
        ]


def predict_media(predictor: Predictor, source: Path, folder: Path, *, overlays: bool, progress: bool) -> Speed:
    """Predicts every frame of a file, or of the files of a folder, and writes what was found.

    Args:
        predictor: the model.
        source: the file or folder.
        folder: where the output shall be; appears whole when all is done.
        overlays: draw every frame.
        progress: show a bar on standard error.

    Raises:
        AnatomarkError: a file cannot be read, or ``folder`` holds something else, such as the input or what was found
            in another one.
    """
    paths = find_media(source)
    if source.resolve().is_relative_to(folder.resolve()):
        raise AnatomarkError(f"output={folder} holds the input, and would be written anew; choose another folder")
    if folder.resolve().is_relative_to(source.resolve()):
        raise AnatomarkError(
            f"the output {folder} lies in the input, and would be input the next time; choose another folder by output="
        )
    media = [open_media(path) for path in paths]
    n_frames, start, console = 0, time.perf_counter(), Console(stderr=True)
    root = source if source.is_dir() else source.parent
    layout = Layout(root=root, names=name_media(paths, root), classes=predictor.classes, overlays=overlays)
    with open_output(folder, source, layout) as output:
        bar = track(
            predictor(_frames(media)),
            "predicting",
            total=sum(file.n_frames for file in media) if all(file.n_frames for file in media) else None,
            console=console,
            transient=True,
            disable=not (progress and console.is_terminal),  # of a log file it would leave an empty line
        )
        for frame, finding in bar:
            output.add(frame.media, frame.number, frame.pixels, finding)
            n_frames += 1
    seconds = time.perf_counter() - start
    return Speed(n_frames=n_frames, seconds=seconds, network_seconds=predictor.network_seconds)


def _frames(media: Iterable[Media]) -> Iterator[Frame]:
    for file in media:
        for number, pixels in enumerate(file.frames()):
            yield Frame(file, number, pixels)


def _settings(cfg: DictConfig, evaluator: str) -> DictConfig:
    """What a run sets for an evaluator, chosen or not."""
    found: DictConfig = (cfg.get("evaluator") or {}).get(evaluator) or DictConfig({})
    return found


def _batched(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _on_cpu(prediction: Prediction) -> Prediction:
    """What findings are made of, where they are made."""
    kept: dict[str, Any] = {name: prediction[name] for name in _USED if name in prediction}  # type: ignore[literal-required]
    return cast(Prediction, move_data_to_device(kept, "cpu"))
