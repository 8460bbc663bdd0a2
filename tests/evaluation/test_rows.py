"""Runs grouped into the rows of a table."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from anatomark.errors import AnatomarkError
from anatomark.evaluation.rows import Part, Row, as_built, group_rows, unfinished_runs
from anatomark.finished import mark_finished


def grouped(*runs: dict[str, Any]) -> list[Row]:
    """Rows of runs in folders "0", "1", ..., each described by its model, fold and rows."""
    configs = [
        OmegaConf.create(
            {"choices": {"model": run["model"]}, "checkpoint": "best", "data": {"fold": run["fold"]}, "seed": number}
            | {key: run[key] for key in ("row", "rows", "seed") if key in run}
        )
        for number, run in enumerate(runs)
    ]
    return group_rows([Path(str(number)) for number in range(len(runs))], configs)


def described(rows: list[Row]) -> dict[str, list[tuple[str, str | None]]]:
    return {row.name: [(str(part.folder), part.checkpoint) for part in row.parts] for row in rows}


def test_a_run_is_a_row_named_after_its_model() -> None:
    rows = grouped(
        {"model": "net", "fold": 1},
        {"model": "net", "fold": 0},
        {"model": "other", "fold": 0, "rows": None},
        {"model": "other", "fold": 1},
    )
    assert described(rows) == {"net": [("1", "best"), ("0", "best")], "other": [("2", "best"), ("3", "best")]}


def test_a_run_names_its_own_row() -> None:
    rows = grouped(*({"model": "net", "fold": 0, "row": name} for name in ("ResNet18-SP", "VGG13-SP")))
    assert described(rows) == {"ResNet18-SP": [("0", "best")], "VGG13-SP": [("1", "best")]}


def test_one_training_gives_several_rows() -> None:
    declared = {"M-SEN BCE": "pretrained", "M-SEN BCE + GAN": "last", "not wanted": None}
    rows = grouped(*({"model": "msen", "fold": fold, "rows": declared} for fold in (0, 1)))
    assert described(rows) == {
        "M-SEN BCE": [("0", "pretrained"), ("1", "pretrained")],
        "M-SEN BCE + GAN": [("0", "last"), ("1", "last")],
    }


def test_rows_must_have_the_same_folds() -> None:
    with pytest.raises(AnatomarkError, match=r"row 'b' has no run of folds 1, 2"):
        grouped(*({"model": "a", "fold": fold} for fold in (0, 1, 2)), {"model": "b", "fold": 0})
    with pytest.raises(AnatomarkError, match=r"row 'b' has 2 runs of fold 0 \(1, 2\)"):
        grouped({"model": "a", "fold": 0}, {"model": "b", "fold": 0}, {"model": "b", "fold": 0})


def test_one_row_may_pool_seeds_but_no_methods() -> None:
    assert len(grouped({"model": "a", "fold": 0}, {"model": "a", "fold": 0})[0].parts) == 2
    runs = [{"model": "a", "fold": fold, "seed": 3} for fold in (0, 1, 1)]
    assert len(grouped(*runs[:2])[0].parts) == 2
    with pytest.raises(AnatomarkError, match=r"row 'a' would pool 1 and 2, which have the same data and seed"):
        grouped(*runs)


@pytest.mark.parametrize("rows", ["last", ["last"], {}, {"a": 1}, {"a": {"b": "c"}}, {"a": None}])
def test_rows_must_map_names_to_checkpoints(rows: object) -> None:
    with pytest.raises(AnatomarkError, match="must map names to checkpoints"):
        grouped({"model": "a", "fold": 0, "rows": rows})


def test_a_model_as_built_has_no_checkpoint() -> None:
    cfg = OmegaConf.create({"checkpoint": "last", "rows": {"M-SEN": "last"}, "data": {}})
    row = as_built(cfg, Path("run"), {"model": "sononet16"})
    assert described([row]) == {"sononet16": [("run", None)]}
    assert cfg.checkpoint == "last"
    assert described(group_rows([Path("run")], [row.parts[0].config])) == described([row])


def part(folder: Path, *, finished: bool, checkpoint: str | None = "last") -> Part:
    folder.mkdir()
    if finished:
        mark_finished(folder, None)
    return Part(folder=folder, config=OmegaConf.create({"data": {}}), checkpoint=checkpoint)


def test_a_run_that_did_not_finish_is_measured_by_itself_alone(tmp_path: Path) -> None:
    done, stopped = part(tmp_path / "done", finished=True), part(tmp_path / "stopped", finished=False)
    built = part(tmp_path / "built", finished=False, checkpoint=None)
    assert unfinished_runs([Row(name="a", parts=(stopped,))]) == [stopped.folder]
    assert unfinished_runs([Row(name="a", parts=(done,)), Row(name="b", parts=(built,))]) == []
    early = Part(folder=stopped.folder, config=stopped.config, checkpoint="pretrained")
    for rows in ([(done, stopped)], [(done,), (stopped,)], [(early,), (stopped,)]):
        with pytest.raises(
            AnatomarkError, match=rf"{stopped.folder} did not finish .*run={stopped.folder} resume=true"
        ):
            unfinished_runs([Row(name=str(number), parts=parts) for number, parts in enumerate(rows)])
