"""predict.py: what it does not do, and what it then leaves alone."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import pytest
import torch
import yaml

from commands import Commands
from dicom_fixture import write_dicom
from predict_inputs import frame
from refused import assert_refused, contents


def test_the_output_of_another_input_is_not_replaced(commands: Commands, run: Path, tmp_path: Path) -> None:
    """A picture, a folder and a picture of another folder that all make predictions_of/scan."""
    folder = run / "predictions_of" / "scan"
    first, second, third = tmp_path / "scan.png", tmp_path / "scan", tmp_path / "other" / "scan.png"
    for path in (second, third.parent):
        path.mkdir()
    for path in (first, second / "a.png", third):
        iio.imwrite(path, frame(0))
    assert commands("predict.py", f"run={run}", f"input={first}").code == 0
    assert json.loads((folder / "input.json").read_text()) == {"input": str(first), "path": str(first)}
    before = contents(run)
    for other in (second, third):
        words = [f"run={run}", f"input={other}"]
        assert_refused(commands("predict.py", *words), f"holds what was found in {first}, not in {other}", "output=")
        assert contents(run) == before
    assert commands("predict.py", *words, f"output={tmp_path / 'elsewhere'}").code == 0
    assert commands("predict.py", f"run={run}", "input=scan.png").code == 0  # the first in other words
    assert json.loads((folder / "input.json").read_text()) == {"input": "scan.png", "path": str(first)}
    commands.folder = third.parent
    assert_refused(commands("predict.py", f"run={run}", "input=scan.png"), "not in scan.png", "output=")
    (folder / "input.json").write_text("{}")
    assert_refused(commands("predict.py", f"run={run}", f"input={first}"), "input.json is damaged", "output=")


def cut_video(folder: Path) -> list[str]:
    import av

    path = folder / "cut.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(12):
            pixels = frame(number)[..., None].repeat(3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return ["cut.avi", "frame"]


def no_pixels(folder: Path) -> list[str]:
    write_dicom(folder / "empty.dcm", None)
    return ["empty.dcm", "readable pixel data"]


def broken_image(folder: Path) -> list[str]:
    iio.imwrite(folder / "a.png", frame(0))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return ["b.png", "not a readable image"]


def nothing(folder: Path) -> list[str]:
    (folder / "notes.txt").touch()
    return ["holds no frames"]


@pytest.mark.parametrize("spoil", [cut_video, no_pixels, broken_image, nothing])
def test_bad_files_leave_nothing_behind(
    commands: Commands, run: Path, tmp_path: Path, spoil: Callable[[Path], list[str]]
) -> None:
    if spoil is cut_video:
        pytest.importorskip("av")
    folder = tmp_path / "given"
    folder.mkdir()
    parts = spoil(folder)
    before = contents(run)
    assert_refused(commands("predict.py", f"run={run}", f"input={folder}", "data.batch_size=2"), *parts)
    assert contents(run) == before
    assert not list(run.rglob(".*"))


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["run=", "one run folder"]),
        (["run=[<run>,<run>]", "input=<in>"], ["names 2"]),
        (["run=nothing", "input=<in>"], ["nothing/config.yaml does not exist"]),
        (["run=<run>"], ["input="]),
        (["run=<run>", "input=nowhere"], ["nowhere does not exist"]),
        (["run=<run>", "input=<in>/notes.txt"], ["notes.txt", ".txt", ".mp4"]),
        (["run=<run>", "input=<in>", "checkpoint=newest"], ["newest.ckpt"]),
        (["run=<run>", "input=<in>", "output=<in>"], ["holds the input"]),
        (["run=<run>", "input=<in>", "output=<in>/found"], ["lies in the input", "output="]),
        (["run=<run>", "input=<in>", "output=<run>"], ["no output of predict.py", "input.json"]),
        (["run=<run>", "input=<in>", "inputs=x"], ["inputs"]),
        (["run=<run>", "input=[<in>,<in>]"], ["input=[", "a single one"]),
        (["run=<run>", "input=<in>", "output=[a,b]"], ["output=['a', 'b']", "a single one"]),
        (["run=<run>", "input=20261121"], ["20261121 does not exist"]),
        (["run=<run>", "input=<in>", "overlays=no"], ["overlays is no; it must be true or false"]),
        (["run=<run>", "input=<in>", "overlays=0"], ["overlays is 0; it must be true or false"]),
        (["run=<run>", "input=<in>", "data.batch_size=0"], ["data.batch_size is 0", "at least 1"]),
        (["run=<run>", "input=<in>", "data.batch_size=-3"], ["data.batch_size is -3", "at least 1"]),
        (["run=<run>", "input=<in>", "data.batch_size=two"], ["data.batch_size is two", "whole number"]),
        (["run=<run>", "input=<in>", "trainer.precision=9"], ["trainer: Precision 9 is invalid"]),
        (["run=<run>", "input=<in>", "discovery.min_distance=0"], ["min_distance"]),
        (["run=<run>", "input=<in>", "+evaluator.localisation.threshold=2"], ["threshold", "2"]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else None,
)
def test_refusals(commands: Commands, run: Path, images: Path, words: list[str], parts: list[str]) -> None:
    before = contents(run)
    given = [word.replace("<run>", str(run)).replace("<in>", str(images)) for word in words]
    assert_refused(commands("predict.py", *given), *parts)
    assert contents(run) == before
    assert set(commands.folder.iterdir()) == {run, images}


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="has a GPU of another kind")
def test_a_run_of_a_gpu_where_there_is_none(
    commands: Commands, run: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    words = [f"run={run}", f"input={images}", "trainer=gpu"]
    assert_refused(commands("predict.py", *words), "trainer: No supported gpu backend", "trainer.accelerator=auto")


def test_a_video_without_the_extra(
    commands: Commands, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    assert_refused(commands("predict.py", f"run={run}", f"input={tmp_path / 'a.mp4'}"), "a.mp4", ".[video]")


def test_a_foreign_configuration_executes_nothing(commands: Commands, run: Path, images: Path) -> None:
    saved = yaml.safe_load((run / "config.yaml").read_text())
    saved["data"]["eval_transform"] = {"_target_": "os.system", "command": "touch pwned"}
    (run / "config.yaml").write_text(yaml.safe_dump(saved))
    assert_refused(commands("predict.py", f"run={run}", f"input={images}"), "os.system", "whitelist")
    assert not (commands.folder / "pwned").exists()
