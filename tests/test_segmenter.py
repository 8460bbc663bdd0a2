"""The network of slices as a segmenter of frames, from the command line, on real head masks."""

import json
from pathlib import Path

import pytest

from commands import FIT, MOVE, Commands, transform


@pytest.mark.real_data
def test_learns_the_head_of_real_frames(commands: Commands, data_dir: Path) -> None:
    words = [
        *("model=shallow_unet", "data=fetal_brain", "recipe=segmenter", f"data.root={data_dir}/fetal_brain"),
        *(f"data.train_transform={transform(FIT, MOVE)}", f"data.eval_transform={transform(FIT)}", "data.cache=true"),
        *("model.net.width=6", "model.optimizer.lr=0.01", "epochs=40", "data.batch_size=4"),
        *("trainer.enable_progress_bar=false", "trainer.precision=32-true", "callbacks.map_images=null"),
    ]
    trained = commands("train.py", *words)
    assert trained.code == 0, trained.err
    (run,) = commands.runs()
    ended = commands("evaluate.py", f"run={run}")
    assert ended.code == 0, ended.err
    report = json.loads((run / "report" / "segmentation.json").read_text())
    # The whole frame taken for the head has about .6.
    assert report["dice"] > 0.75
    assert report["n_frames"] > 0
