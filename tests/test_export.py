"""From a run to an ONNX file: that it says what PyTorch says, and that nothing is written where it does not."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anatomark.data.datamodules import collate
from anatomark.data.frames_writer import RawFrame, write_frames
from anatomark.evaluators.maps import full_size_map
from anatomark.instantiation import instantiate
from anatomark.models.base import MapOutput
from anatomark.runs import load_config, load_model
from anatomark.types import Prediction, Sample
from commands import SCREEN, Commands
from frames_fixture import make_frame
from refused import assert_refused, contents

pytest.importorskip("onnxruntime", reason="needs the export extra")

SIZE = 64
FIT = f"{{_target_:anatomark.data.transforms.Fit,height:{SIZE},width:{SIZE}}}"
TRANSFORM = f"{{_target_:anatomark.data.transforms.Spatial,steps:[{FIT}]}}"
# A backbone of a single convolution.
ONE_LAYER = [
    "model.net.backbone._target_=torch.nn.Conv2d",
    *(f"~model.net.backbone.{key}" for key in ("depth", "weights")),
    *(f"+model.net.backbone.{key}" for key in ("in_channels=1", "out_channels=8", "kernel_size=8", "stride=8")),
    "model.net.adapt_channels=8",
]
CLASSIFIED = [
    "data=frames",
    "data.classes=[background,plane]",
    "data.n_folds=3",
    "data.batch_size=4",
    f"data.train_transform={TRANSFORM}",
    f"data.eval_transform={TRANSFORM}",
    "data.sampling=null",
    "epochs=1",
    "gaze_sigma_px=5",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "callbacks.map_images=null",
    "paths.run_dir=runs",
    *SCREEN,
]
MODELS = {"msen": ["cai.disc_resolution=16"], "soft_proposal": ONE_LAYER}


def classified_run(commands: Commands, model: str) -> Path:
    """A run on the tiny frames with classes."""
    root = commands.folder / "classified"
    write_frames(root, (labelled(make_frame(subject, plane)) for subject in range(6) for plane in ("TV", "TC")))
    ended = commands("train.py", f"data.root={root}", f"model={model}", *CLASSIFIED, *MODELS[model])
    assert ended.code == 0, ended.err
    (run,) = commands.runs()
    return run


def labelled(frame: RawFrame) -> RawFrame:
    label = "plane" if frame.record.plane == "TV" else "background"
    return replace(frame, record=replace(frame.record, label=label))


def predict(run: Path, checkpoint: str) -> list[tuple[Sample, Prediction]]:
    """What evaluate.py sees of the test frames."""
    cfg = load_config(run)
    datamodule = instantiate(cfg.data)
    datamodule.setup()
    dataset = datamodule.evaluation_dataset(["test"])
    samples = [dataset[index] for index in range(len(dataset))]
    model = load_model(cfg, run, checkpoint).eval()
    with torch.no_grad():
        return list(zip(samples, model.predict(collate(samples)), strict=True))


def open_graph(path: Path) -> tuple[Callable[[Tensor], dict[str, np.ndarray]], dict[str, str]]:
    """What runs frames through a file, and the file's metadata."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def ask(frames: Tensor) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"frame": frames.numpy()}), strict=True))

    return ask, session.get_modelmeta().custom_metadata_map


def to_unit(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / (high - low)


def brute_box(values: np.ndarray) -> list[float]:
    """The default rule, pixel by pixel."""
    median = np.median(values)
    threshold = median + np.float32(0.3) * (values.max() - median)
    rows, columns = np.nonzero(values >= threshold)
    return [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]


def check_graph(
    path: Path, run: Path, checkpoint: str, activation: Callable[[Tensor], Tensor] | None
) -> dict[str, str]:
    """Compares a graph with the predictions that evaluate.py makes; returns the graph's metadata."""
    pairs = predict(run, checkpoint)
    ask, metadata = open_graph(path)
    frames = torch.stack([sample["image"] for sample, _ in pairs])
    found = ask(frames)
    maps = torch.stack([full_size_map(*pair) for pair in pairs]).numpy()
    class_maps = len(pairs[0][1]["maps"]) > 1
    np.testing.assert_allclose(found["map"], to_unit(maps) if class_maps else maps, atol=1e-4)
    assert found["box"].tolist() == [brute_box(values) for values in to_unit(found["map"])]
    if activation is None:
        assert set(found) == {"map", "box"}
    else:
        expected = activation(torch.stack([prediction["logits"] for _, prediction in pairs]))
        np.testing.assert_allclose(found["scores"], expected, atol=1e-5)
    for count in (1, 5):  # one file serves any number of frames
        part = ask(frames[torch.arange(count) % len(frames)])
        np.testing.assert_allclose(part["map"], found["map"][np.arange(count) % len(frames)], atol=1e-5)
    config = load_config(run)
    assert json.loads(metadata["preprocessing"]) == config.data.eval_transform
    assert json.loads(metadata["classes"]) == config.data.classes
    assert json.loads(metadata["input_size"]) == list(frames.shape[2:])
    assert int(metadata["map_stride"]) == pairs[0][1]["map_stride"]
    assert "at least median + 0.3 (maximum - median) of the map" in metadata["box"]
    assert (metadata["model"], metadata["checkpoint"]) == (config.choices.model, checkpoint)
    return metadata


@pytest.mark.parametrize(
    ("model", "checkpoint", "activation"),
    [("msen", "last", nn.Softmax(1)), ("soft_proposal", "best", nn.Sigmoid())],
)
def test_a_model_of_classes_is_exported(commands: Commands, model: str, checkpoint: str, activation: nn.Module) -> None:
    run = classified_run(commands, model)
    before = contents(commands.folder)
    ended = commands("export.py", f"run={run}")
    assert (ended.code, ended.err) == (0, "")
    for name in ("scores", "map", "box"):
        assert f"{name}: largest difference " in ended.out
    path = run / "exports" / f"{checkpoint}.onnx"
    written = str(path.relative_to(commands.folder))
    assert {name: data for name, data in contents(commands.folder).items() if name != written} == before
    metadata = check_graph(path, run, checkpoint, activation)
    assert metadata["activation"] == str(activation).lower().removesuffix("(dim=1)").removesuffix("()")


def test_a_saliency_model_is_exported_in_a_single_pass_and_only_where_it_agrees(
    commands: Commands, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anatomark import exporting

    make_graph, programs = exporting.make_graph, []
    monkeypatch.setattr(exporting, "make_graph", lambda *given: programs.append(make_graph(*given)) or programs[0])
    before = contents(run)
    tta = "model.tta={_target_:anatomark.models.tta.TestTimeAugmentation}"
    words = [f"run={run}", "checkpoint=last", "output=new/model.onnx", tta]
    ended = commands("export.py", *words)
    assert (ended.code, ended.err) == (0, "")
    assert "single pass" in ended.out
    assert contents(run) == before
    assert sorted(path.name for path in commands.folder.glob("new/*")) == ["model.onnx"]
    check_graph(commands.folder / "new" / "model.onnx", run, "last", None)

    def of_another_network(localiser: Any, frames: Tensor) -> Any:
        score = localiser.model.net.head.score
        score.weight = nn.Parameter(1.5 * score.weight)
        return programs[0]

    monkeypatch.setattr(exporting, "make_graph", of_another_network)
    before = contents(commands.folder)
    for output in ("new/model.onnx", "other/model.onnx"):
        ended = commands("export.py", *words[:2], f"output={output}")
        assert_refused(ended, "differs from PyTorch by", "in its map", "nothing was written")
        assert contents(commands.folder) == before
    assert not (commands.folder / "other").exists()


def test_a_run_is_exported_without_its_data(commands: Commands, run: Path) -> None:
    ended = commands("export.py", f"run={run}", "data.root=gone")
    assert (ended.code, ended.err) == (0, "")
    assert "gone does not hold the run's data" in ended.out
    assert "8 random frames" in ended.out
    check_graph(run / "exports" / "best.onnx", run, "best", None)
    assert not (commands.folder / "gone").exists()


def test_a_place_that_cannot_be_written_is_named_with_the_option(
    commands: Commands, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anatomark import exporting

    (commands.folder / "taken").touch()
    monkeypatch.setattr(exporting, "export_run", lambda cfg, folder, output: exporting.write(b"graph", output))
    ended = commands("export.py", f"run={run}", "output=taken/model.onnx")
    assert_refused(ended, "taken: file exists; a file is where a folder should be", "another folder by output=")


def test_what_onnx_does_not_know_is_refused(commands: Commands, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anatomark.models.saliency import SaliencyModel

    forward = SaliencyModel.forward

    def depends_on_values(self: SaliencyModel, image: Tensor) -> MapOutput:
        return forward(self, image if float(image.sum()) > 0 else -image)

    monkeypatch.setattr(SaliencyModel, "forward", depends_on_values)
    before = contents(run)
    assert_refused(commands("export.py", f"run={run}"), "SaliencyModel cannot be exported")
    assert contents(run) == before


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["takes one run, not 0", "run="]),
        (["run=nothing"], ["nothing/config.yaml does not exist"]),
        (["run=[RUN,RUN]"], ["takes one run, not 2"]),
        (["run=RUN", "checkpoint=newest"], ["newest.ckpt", "best or last"]),
        (["run=RUN", "output=RUN"], ["is a folder"]),
        (["run=RUN", "output=[a,b]"], ["output=['a', 'b']", "a single one"]),
        (["run=RUN", "data.root=RUN"], ["frames.csv"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_words_are_refused(commands: Commands, run: Path, words: list[str], parts: list[str]) -> None:
    before = contents(commands.folder)
    assert_refused(commands("export.py", *(word.replace("RUN", str(run)) for word in words)), *parts)
    assert contents(commands.folder) == before


def test_a_missing_package_is_named(commands: Commands, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "onnxruntime" else find_spec(name, *rest)
    )
    assert_refused(commands("export.py", f"run={run}"), "needs onnxruntime", ".[export]")
