"""Exports a run: a checkpoint to one ONNX file, which is written only where it says the same as PyTorch."""

import importlib.metadata
import importlib.util
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from anatomark.localiser import FRAME, Localiser, box_of
from anatomark.models.base import BaseModel, require_finite
from anatomark.parity_frames import read_parity_frames
from anatomark.runs import display_path, load_model
from anatomark.types import AnatomarkError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from torch.onnx import ONNXProgram

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""What ONNX Runtime's scores and maps may differ from PyTorch's by, and its boxes from the rule, px."""
BATCH_SIZES = (1, 3)
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


@dataclass(kw_only=True)
class Parity:
    """How far ONNX Runtime is from PyTorch.

    The rule that finds the box compares every pixel with a threshold, so that a map moved by rounding can move a box by
    a whole cell, rightly. What is judged of a box is therefore whether it is the rule's box of the graph's own map.

    Attributes:
        differences: output -> largest difference; of "box" to the rule's box of the graph's map, px.
        n_boxes: boxes compared.
        n_moved: those that differ from PyTorch's.
        moved_px: the largest difference between the two.
    """

    differences: dict[str, float] = field(default_factory=dict)
    n_boxes: int = 0
    n_moved: int = 0
    moved_px: float = 0.0

    def add(self, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
        """Compares the outputs of a batch.

        Args:
            expected: PyTorch's.
            found: ONNX Runtime's.
        """
        for name, value in found.items():
            judged_by = box_of(found["map"]) if name == "box" else expected[name]
            self.differences[name] = max(self.differences.get(name, 0.0), _distance(value, judged_by))
        moved = (found["box"] - expected["box"]).abs().amax(1)
        self.n_boxes += len(moved)
        self.n_moved += int((moved > 0).sum())
        self.moved_px = max(self.moved_px, float(moved.max()))

    def require(self) -> None:
        """Refuses a graph that says something else than PyTorch.

        Raises:
            AnatomarkError: names the output and the difference.
        """
        for name, difference in self.differences.items():
            if difference > TOLERANCE:
                raise AnatomarkError(
                    f"the exported graph differs from PyTorch by {difference:.2g} in its {name}, and {TOLERANCE:g} is"
                    " allowed; nothing was written; export with the versions of constraints.txt"
                )

    def __str__(self) -> str:
        lines = [f"{name}: largest difference {difference:.2g}" for name, difference in self.differences.items()]
        lines[-1] += (
            f" px to the rule on the graph's map; rounding of the map moved {self.n_moved} of {self.n_boxes} boxes"
            + (f", by up to {self.moved_px:g} px" if self.n_moved else "")
        )
        return "\n".join(lines)


def export_run(cfg: DictConfig, folder: Path, output: Path) -> None:
    """Exports a checkpoint of a run.

    Args:
        cfg: configuration of the run, which names the checkpoint.
        folder: its folder.
        output: the ONNX file.

    Raises:
        AnatomarkError: a package is missing, the model cannot be exported, or the graph differs from it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise AnatomarkError(
            f'export needs {" and ".join(missing)}; run: pip install -c constraints.txt -e ".[export]"'
        )
    if output.is_dir():
        raise AnatomarkError(f"output={output} is a folder; name the file to write, such as {output / 'model.onnx'}")
    model: BaseModel = load_model(cfg, folder, cfg.checkpoint)
    localiser = Localiser(model).eval()
    frames, origin = read_parity_frames(cfg.data)
    program = make_graph(localiser, frames)
    program.model.metadata_props.update(describe(model, cfg, folder, frames))
    graph = program.model_proto.SerializeToString()
    parity = compare(localiser, open_session(graph), frames)
    parity.require()
    write(graph, output)
    if cfg.model.get("tta") is not None:
        log.info("the graph predicts in a single pass, without the test-time augmentation of model.tta")
    log.info(
        "%d %s frames, batches of %s, ONNX Runtime beside PyTorch:",
        len(frames),
        origin,
        " and ".join(map(str, BATCH_SIZES)),
    )
    log.info("%s", parity)
    log.info("exported: %s", display_path(output))


def make_graph(localiser: Localiser, frames: Float[Tensor, "b c h w"]) -> "ONNXProgram":
    """The graph of a model, for any number of frames of this size.

    Raises:
        AnatomarkError: the model cannot be exported.
    """
    example = frames[:1].repeat(2, 1, 1, 1)  # of one frame, the number would become a constant
    with torch.no_grad(), _quiet():
        names = list(localiser(example))
        try:
            # By itself the ONNX exporter would fall back on a graph for one number of frames.
            traced = torch.export.export(
                localiser, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
            )
            program = torch.onnx.export(traced, input_names=[FRAME], output_names=names, dynamo=True, verbose=False)
        except (RuntimeError, ValueError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise AnatomarkError(
                f"{type(localiser.model).__name__} cannot be exported ({reason}); use a network of operations that"
                " ONNX knows"
            ) from error
    assert program is not None
    return program


def describe(model: BaseModel, cfg: DictConfig, folder: Path, frames: Float[Tensor, "b c h w"]) -> dict[str, str]:
    """What the graph cannot say of itself, for ``metadata_props``; lists are JSON."""
    return {
        "anatomark_version": importlib.metadata.version("anatomark"),
        "model": cfg.choices.model,
        "run": folder.resolve().name,
        "checkpoint": str(cfg.checkpoint),
        "input_size": json.dumps(list(frames.shape[2:])),
        "preprocessing": json.dumps(OmegaConf.to_container(cfg.data.eval_transform, resolve=True)),
        "classes": json.dumps(list(cfg.data.get("classes") or [])),
        "activation": model.activation,
        "map_stride": str(model.stride),
        "frame": "float32 (batch, channels, height, width): grey values in [0, 1], then the steps of `preprocessing`,"
        " which are not part of the graph",
        "scores": "(batch, classes): probabilities by `activation`; absent where the model tells no classes",
        "map": "(batch, height, width): the map of the most probable class brought to [0, 1], or the model's only map,"
        " interpolated from cells of `map_stride` px to the pixels of the frame",
        "box": "(batch, 4): x0, y0, x1, y1 around what is at least median + 0.3 (maximum - median) of the map;"
        " px of the frame, continuous edges: the whole frame is -0.5, -0.5, width - 0.5, height - 0.5",
    }


def open_session(graph: bytes) -> "InferenceSession":
    """Opens a graph with ONNX Runtime, which gets as many threads as PyTorch has."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def compare(localiser: Localiser, session: "InferenceSession", frames: Float[Tensor, "b c h w"]) -> Parity:
    """Runs frames through PyTorch and ONNX Runtime, in batches of every size of ``BATCH_SIZES``.

    Raises:
        AnatomarkError: PyTorch's outputs are NaN.
    """
    parity = Parity()
    for size in BATCH_SIZES:
        n_drawn = math.ceil(len(frames) / size) * size  # full batches; the first frames come again in the last
        for drawn in (torch.arange(n_drawn) % len(frames)).view(-1, size):
            batch = frames[drawn]
            expected = localiser(batch)
            require_finite(*expected.values())
            found = session.run(list(expected), {FRAME: batch.numpy()})
            parity.add(expected, dict(zip(expected, map(torch.from_numpy, found), strict=True)))
    return parity


def write(graph: bytes, output: Path) -> None:
    """Writes the file, whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f"{output.name}.tmp")
    try:
        temporary.write_bytes(graph)
        temporary.rename(output)
    finally:
        temporary.unlink(missing_ok=True)


def _distance(first: Tensor, second: Tensor) -> float:
    """The largest difference; infinity where one is NaN, or the shapes differ."""
    if first.shape != second.shape:
        return math.inf
    difference = float((first - second).abs().max())
    return math.inf if math.isnan(difference) else difference


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to itself what exporters tell their developers."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.disable(level)
