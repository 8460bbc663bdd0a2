"""Rows by frame are those of the table, whatever its order, and no frame can change another's."""

import pickle

import pandas as pd
import pytest
import torch

from anatomark.data.frame_rows import FrameRows

TABLE = pd.DataFrame(
    {
        "frame_id": ["b", "a", "b", "c", "a", "b"],
        "name": ["csp", "csp", "lv", "lv", "cerebellum", "third"],
        "x_px": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "y_px": [10.5, 20.5, 30.5, 40.5, 50.5, 60.5],
    }
)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_frame_gets_its_rows(seed: int | None) -> None:
    table = TABLE if seed is None else TABLE.sample(frac=1, random_state=seed)
    rows = FrameRows(table, ("x_px", "y_px"))
    for frame, part in table.groupby("frame_id"):
        expected = {name: [x, y] for name, x, y in zip(part["name"], part["x_px"], part["y_px"], strict=True)}
        found = rows.of(str(frame))
        assert {name: value.tolist() for name, value in found.items()} == expected
        assert list(found) == list(expected)  # in the order of the table
        assert len(found) == len(expected)
    assert "lv" not in rows.of("a")
    with pytest.raises(KeyError):
        rows.of("a")["lv"]


def test_a_frame_without_rows_and_an_empty_table_have_none() -> None:
    assert dict(FrameRows(TABLE, ("x_px",)).of("d")) == {}
    empty = FrameRows(TABLE.iloc[:0], ("x_px", "y_px"))
    assert dict(empty.of("a")) == {}


def test_rows_are_copies_and_can_be_sent_to_other_processes() -> None:
    rows = FrameRows(TABLE, ("x_px", "y_px"))
    rows.of("a")["csp"].zero_()
    assert rows.of("a")["csp"].tolist() == [2.0, 20.5]
    assert rows.of("a")["csp"].dtype == torch.float32
    sent = pickle.loads(pickle.dumps(rows.of("b")))
    assert {name: value.tolist() for name, value in sent.items()}["lv"] == [3.0, 30.5]
