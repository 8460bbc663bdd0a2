from pathlib import Path

import pytest

from anatomark.report.folders import check_replaceable, replaced_folder
from anatomark.types import AnatomarkError

UNIQUE = "0123abcd"


def put(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "mark").write_text(text)


def write(folder: Path, text: str) -> None:
    with replaced_folder(folder, mark="mark", kind="report") as fresh:
        (fresh / "mark").write_text(text)


@pytest.mark.parametrize("earlier", [True, False])
def test_what_a_killed_writer_left_is_removed(tmp_path: Path, earlier: bool) -> None:
    folder, others = tmp_path / "report", [tmp_path / ".reports.new-0123abcd", tmp_path / ".report.new-notes"]
    if earlier:
        put(folder, "earlier")
    for left in (tmp_path / f".report.new-{UNIQUE}", tmp_path / f".report.old-{UNIQUE}", *others):
        put(left, "left")
    write(folder, "new")
    assert sorted(tmp_path.iterdir()) == sorted([folder, *others])
    assert (folder / "mark").read_text() == "new"


def test_a_folder_moved_away_by_a_killed_writer_is_put_back(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    put(tmp_path / f".report.old-{UNIQUE}", "earlier")
    put(tmp_path / f".report.new-{UNIQUE}", "unfinished")
    with pytest.raises(RuntimeError, match="power cut"), replaced_folder(folder, mark="mark", kind="report"):
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "mark").read_text() == "earlier"


def test_names_are_no_patterns(tmp_path: Path) -> None:
    folder, other = tmp_path / "report[1]", tmp_path / f".report1.new-{UNIQUE}"
    put(other, "another's")
    put(tmp_path / f".report[1].new-{UNIQUE}", "left")
    write(folder, "new")
    assert sorted(tmp_path.iterdir()) == sorted([folder, other])


def test_what_is_no_report_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(AnatomarkError, match=r"is no report \(no mark\); remove or rename it"):
        write(folder, "new")
    with pytest.raises(AnatomarkError, match=r"is no output \(no mark\); choose another folder by output="):
        check_replaceable(folder, mark="mark", kind="output", option="output=")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
