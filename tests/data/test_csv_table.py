"""Tables as spreadsheets write them."""

import pandas as pd
import pytest

from anatomark.data.csv_table import parse_csv
from anatomark.types import AnatomarkError

GOOD = "frame_id,x_px,note\n007,1.5,left\n"


def parse(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return parse_csv(path, text=("frame_id", "note"))


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace(",", ", "),
        GOOD.replace(",", " ,"),
        GOOD.replace("\n", "\r\n"),
        GOOD + ",,\n\n  , ,\n",
        'frame_id,"x_px","note"\n"007","1.5",left',
        "\ufeff" + GOOD,
    ],
)
def test_spaces_quotes_line_ends_and_empty_lines_change_nothing(tmp_path, content):
    table = parse(tmp_path / "t.csv", content)
    assert list(table.columns) == ["frame_id", "x_px", "note"]
    assert table.loc[0, ["frame_id", "note"]].tolist() == ["007", "left"]
    assert float(table.at[0, "x_px"]) == 1.5
    assert list(table.index) == [0]


def test_columns_without_name_are_kept_apart_and_lines_counted(tmp_path):
    table = parse(tmp_path / "t.csv", "frame_id,,x_px,\na,u,1,v\n\nb,,2,\n")
    assert list(table["frame_id"]) == ["a", "b"]
    assert list(table["x_px"]) == [1, 2]
    assert list(table.index) == [0, 2]
    assert pd.isna(table.iloc[1, 1])


@pytest.mark.parametrize(
    ("content", "encoding", "says"),
    [
        (GOOD.replace(",", ";"), "utf-8", r"its columns are separated by ';'; save it with commas"),
        (GOOD.replace(",", "\t"), "utf-8", r"its columns are separated by tabs"),
        ("frame_id,x_px\na,1,\n", "utf-8", r"its rows have more cells than its header names; remove the commas"),
        ("frame_id,x_px\na,1,b,c\n", "utf-8", r"its rows have more cells than its header names"),
        ("frame_id,x_px\na,1\nb,2,c\n", "utf-8", r"Expected 2 fields in line 3, saw 3"),
        ("frame_id,x_px, x_px\na,1,2\n", "utf-8", r"lists the column x_px twice; remove one"),
        (GOOD.replace("left", "ä"), "cp1252", r"its text is not UTF-8; save it as CSV UTF-8"),
        (GOOD.replace("note", "größe"), "utf-16", r"its text is not UTF-8; save it as CSV UTF-8"),
        ("", "utf-8", r"is no readable table"),
    ],
)
def test_other_tables_are_refused_with_their_remedy(tmp_path, content, encoding, says):
    with pytest.raises(AnatomarkError, match=says) as caught:
        parse(tmp_path / "t.csv", content, encoding)
    assert str(tmp_path / "t.csv") in str(caught.value)
