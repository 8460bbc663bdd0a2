"""Who was trained on, and that nobody of them is tested."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from anatomark.errors import AnatomarkError
from anatomark.subjects import check_subjects, record_subjects


@dataclass
class Scan:
    subject: str
    key: str = "a scan"
    split: str | None = None


def scans(**splits: str) -> dict[str, list[Scan]]:
    """Scans of subjects of one letter: ``train="aab"`` is two of a and one of b."""
    return {split: [Scan(subject) for subject in subjects] for split, subjects in splits.items()}


DIVIDED = scans(train="aabb", val="c", test="de")


def test_the_file_lists_subjects_and_counts(tmp_path: Path) -> None:
    record_subjects(tmp_path, "heads", DIVIDED)
    assert json.loads((tmp_path / "splits.json").read_text()) == {
        "heads": {
            "train": {"n": 4, "subjects": ["a", "b"]},
            "val": {"n": 1, "subjects": ["c"]},
            "test": {"n": 2, "subjects": ["d", "e"]},
        }
    }
    check_subjects(tmp_path, "heads", DIVIDED)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (scans(train="a", val="c", test="bde"), "was trained on subject b, one of 1 "),
        (scans(train="", val="", test="cba"), "was trained on subject a, one of 2 "),
        (scans(train="ab", val="d", test="ce"), "was validated on subject c, one of 1 "),
    ],
)
def test_nobody_is_tested_who_was_seen(tmp_path: Path, now: dict[str, list[Scan]], message: str) -> None:
    record_subjects(tmp_path, "heads", DIVIDED)
    with pytest.raises(AnatomarkError, match=message) as caught:
        check_subjects(tmp_path, "heads", now)
    assert "\n" not in str(caught.value)
    assert "data.split_seed" in str(caught.value)


def test_new_subjects_and_those_of_other_data_sets_can_be_tested(tmp_path: Path) -> None:
    check_subjects(tmp_path, "heads", DIVIDED)  # of a model that was not trained
    record_subjects(tmp_path, "heads", DIVIDED)
    check_subjects(tmp_path, "heads", scans(train="a", val="", test="dexyz"))
    check_subjects(tmp_path, "abdomens", scans(train="", val="", test="abc"))


def test_a_resumed_run_has_seen_the_subjects_of_all_its_sessions(tmp_path: Path) -> None:
    record_subjects(tmp_path, "heads", DIVIDED)
    record_subjects(tmp_path, "heads", scans(train="af", val="c", test="d"))
    with pytest.raises(AnatomarkError, match="trained on subject b"):
        check_subjects(tmp_path, "heads", scans(train="", val="", test="b"))
    record_subjects(tmp_path, "abdomens", scans(train="x", val="", test="y"))
    with pytest.raises(AnatomarkError, match="trained on subject f"):
        check_subjects(tmp_path, "heads", scans(train="", val="", test="f"))
    content = json.loads((tmp_path / "splits.json").read_text())["heads"]
    assert content["test"]["subjects"] == ["d"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"heads": 1}', '{"heads": {"train": {}}}', '{"heads": {"train": {"subjects": "abc"}}}']
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "splits.json").write_text(text)
    for use in (check_subjects, record_subjects):
        with pytest.raises(AnatomarkError, match=r"splits\.json is damaged"):
            use(tmp_path, "heads", DIVIDED)
