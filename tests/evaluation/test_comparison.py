"""Rows side by side, against scores worked out by scikit-learn and by hand."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from anatomark.evaluation.comparison import compare
from anatomark.report.tables import check_table, lay_out
from anatomark.types import AnatomarkError, Report, Table
from row_reports import boxed, classified, listed, recalled, scored

GOOD = {"a": (8, 1, 2, 20), "b": (9, 0, 1, 15), "c": (5, 2, 0, 30), "d": (7, 1, 3, 12)}
POOR = {"a": (5, 3, 5, 18), "b": (6, 2, 4, 13), "c": (4, 5, 1, 27), "d": (2, 1, 8, 12)}


def sklearn_scores(counts: list[tuple[int, int, int, int]]) -> dict[str, float]:
    tp, fp, fn, tn = np.sum(counts, axis=0)
    truth = [1] * (tp + fn) + [0] * (fp + tn)
    said = [1] * tp + [0] * fn + [1] * fp + [0] * tn
    scores = precision_recall_fscore_support(truth, said, average="binary")
    return dict(zip(("precision", "recall", "f1"), map(float, scores[:3]), strict=True))


def classification(*rows: str, reference: str = "good") -> Report:
    made = {"good": GOOD, "poor": POOR}
    return compare([classified(row, made[row]) for row in rows], reference=reference, published={})


def test_pooled_and_per_fold_scores_are_those_of_scikit_learn() -> None:
    found = classification("good", "poor").values["rows"]["poor"]
    pooled = sklearn_scores(list(POOR.values()))
    folds = [sklearn_scores([POOR[s] for s in subjects]) for subjects in ("ab", "cd")]
    for metric, value in pooled.items():
        assert found[metric] == pytest.approx(value)
        per_fold = [fold[metric] for fold in folds]
        assert [fold[metric] for fold in found["folds"]] == pytest.approx(per_fold)
        assert found["fold_mean"][metric] == pytest.approx(np.mean(per_fold))
        assert found["fold_sd"][metric] == pytest.approx(np.std(per_fold, ddof=1))
    assert [(fold["fold"], fold["n_subjects"]) for fold in found["folds"]] == [(0, 2), (1, 2)]
    assert found["report"]["subjects"]["a"] == {"tp": 5, "fp": 3, "fn": 5, "tn": 18}


def test_the_reference_is_tested_against_every_other_row() -> None:
    report = classification("poor", "good")
    assert report.values["reference"] == "good"
    (name, tests), *others = report.values["paired"].items()
    assert (name, others) == ("poor", [])
    good, poor = (sklearn_scores(list(counts.values())) for counts in (GOOD, POOR))
    for metric, test in tests.items():
        assert test["difference"] == pytest.approx(good[metric] - poor[metric])
        assert test["n_subjects"] == 4
    # Of the 16 ways to swap four subjects, only none and all differ as much: p is near 2 / 16.
    assert tests["f1"]["p"] == pytest.approx(1 / 8, abs=0.02)


def resampled(counts: dict[str, tuple[int, int, int, int]], drawn: np.ndarray) -> list[dict[str, float]]:
    return [sklearn_scores([counts["abcd"[subject]] for subject in subjects]) for subjects in drawn]


def test_differences_have_an_interval_over_the_same_subjects_of_both_rows() -> None:
    report = classification("good", "poor")
    tests = report.values["paired"]["poor"]
    every = np.stack(np.meshgrid(*[range(4)] * 4), axis=-1).reshape(-1, 4)  # all 256 equally likely draws
    good, poor = resampled(GOOD, every), resampled(POOR, every)
    for metric, test in tests.items():
        differences = np.sort([a[metric] - b[metric] for a, b in zip(good, poor, strict=True)])
        interval = test["interval"]
        # 10,000 draws find the quantiles of the 256 but for some neighbours in their order.
        assert differences[3] <= interval["low"] <= differences[10]
        assert differences[-11] <= interval["high"] <= differences[-4]
        assert interval["n_unmeasured"] == 0
    table = report.tables[-1]
    assert table.columns[5:] == ["difference in F1, % [95 % interval]", "p"]
    f1 = tests["f1"]
    shown = [100 * number for number in (f1["difference"], f1["interval"]["low"], f1["interval"]["high"])]
    assert table.rows[0][5] == "{:.2f} [{:.2f}, {:.2f}]".format(*shown)
    assert "left out" not in table.note
    same = compare([classified("good", GOOD), classified("twin", GOOD)], reference="good", published={})
    assert same.values["paired"]["twin"]["f1"]["interval"] == {"low": 0, "high": 0, "n_unmeasured": 0}
    assert same.tables[-1].rows[0][1] == "0.00 [0.00, 0.00]"


def test_resamples_without_positives_are_left_out_and_said() -> None:
    rare = {"a": (4, 1, 2, 20), "b": (0, 1, 0, 15), "c": (3, 0, 1, 9), "d": (0, 0, 0, 12)}
    worse = {"a": (3, 1, 3, 20), "b": (0, 2, 0, 14), "c": (2, 1, 2, 8), "d": (0, 0, 0, 12)}
    report = compare([classified("good", rare), classified("poor", worse)], reference="good", published={})
    left_out = {test["interval"]["n_unmeasured"] for test in report.values["paired"]["poor"].values()}
    assert len(left_out) == 1
    assert left_out.pop() / 10_000 == pytest.approx(1 / 16, abs=0.01)  # b and d only
    assert "left out, where a score cannot be measured" in report.tables[-1].note
    check_table(report.tables[-1], "classification")


def test_a_resample_without_the_averaged_classes_is_left_out() -> None:
    only_background = {"head": (0, 0), "spine": (0, 0), "background": (3, 3)}
    right = RIGHT | {"b": only_background, "c": only_background, "d": only_background}
    worse = right | {"a": {"head": (4, 2), "spine": (2, 0), "background": (3, 0)}}
    report = compare([recalled("good", right), recalled("poor", worse)], reference="good", published={})
    interval = report.values["paired"]["poor"]["average_recall"]["interval"]
    assert (interval["low"], interval["high"]) == pytest.approx((0.5, 0.5))
    assert interval["n_unmeasured"] / 10_000 == pytest.approx((3 / 4) ** 4, abs=0.02)


def test_one_subject_has_no_interval() -> None:
    rows = [scored(name, {"a": cc}, folds={0: ["a"]}) for name, cc in (("x", 0.6), ("y", 0.4))]
    report = compare(rows, reference="x", published={})
    assert report.values["paired"]["y"]["cc"]["interval"] is None
    assert report.tables[-1].rows[0][3] == "0.200"


def test_tables_show_percent_and_the_papers_numbers() -> None:
    rows = [classified("good", GOOD), classified("poor", POOR)]
    scores, spread, paired = compare(rows, reference="good", published={"poor": [79.3, 82.1, 80.7]}).tables
    assert scores.columns[1:4] == ["precision, %", "recall, %", "F1, %"]
    assert scores.columns[-1] == "F1, %, published"
    assert scores.rows[0][3] == pytest.approx(100 * sklearn_scores(list(GOOD.values()))["f1"])
    assert scores.rows[1][4:] == [79.3, 82.1, 80.7]
    assert [row[0] for row in paired.rows] == ["poor"]
    assert "2 folds" in spread.title
    for table in (scores, spread, paired):
        check_table(table, "classification")
        assert all(cell.number for cell in lay_out(table)[0][1:])  # a dash is no text column


def test_saliency_is_the_mean_over_subjects_beside_the_mean_map() -> None:
    cc = {"a": 0.6, "b": 0.5, "c": 0.7, "d": 0.4}
    rows = [scored("M-SEN", cc), scored("SS-att", {subject: value - 0.1 for subject, value in cc.items()})]
    report = compare(rows, reference="M-SEN", published={})
    found = report.values["rows"]["M-SEN"]
    assert (found["cc"], found["nss"], found["ig"]) == pytest.approx((0.55, 1.1, 1.55))
    assert [fold["cc"] for fold in found["folds"]] == pytest.approx([0.55, 0.55])
    test = report.values["paired"]["SS-att"]["cc"]
    assert test["difference"] == pytest.approx(0.1)
    assert test["p"] == pytest.approx(1 / 8, abs=0.02)
    assert report.tables[0].rows[-1] == ["mean map", 0.0, 0.1, 0.2, 0.3, 0.5]


RIGHT = {
    "a": {"head": (4, 4), "spine": (2, 1), "background": (3, 0)},
    "b": {"head": (6, 5), "spine": (0, 0), "background": (3, 3)},
    "c": {"head": (5, 4), "spine": (3, 3), "background": (0, 0)},
    "d": {"head": (5, 3), "spine": (5, 2), "background": (1, 1)},
}


def test_recall_per_class_and_its_average_without_the_excluded() -> None:
    worse = {s: {name: (n, correct // 2) for name, (n, correct) in classes.items()} for s, classes in RIGHT.items()}
    rows = [recalled("good", RIGHT), recalled("poor", worse)]
    report = compare(rows, reference="good", published={"poor": [91.2, 92.2, 84.0]})
    found = report.values["rows"]["good"]
    head, spine = 16 / 20, 6 / 10
    assert (found["head"], found["spine"], found["average_recall"]) == pytest.approx((head, spine, (head + spine) / 2))
    assert "background" not in found
    folds = [(9 / 10 + 1 / 2) / 2, (7 / 10 + 5 / 8) / 2]  # of subjects a and b, c and d
    assert [fold["average_recall"] for fold in found["folds"]] == pytest.approx(folds)
    halves = (2 + 2 + 2 + 1) / 20, (0 + 0 + 1 + 1) / 10
    difference = (head + spine - sum(halves)) / 2
    assert report.values["paired"]["poor"]["average_recall"]["difference"] == pytest.approx(difference)
    scores, *others = report.tables
    assert scores.columns[1:4] == ["average, %", "head, %", "spine, %"]
    assert scores.rows[1][4:] == [91.2, 92.2, 84.0]
    assert others[-1].rows == [["good", "good", 0.5], ["poor", "poor", 0.5]]  # the evaluator's own
    assert report.figures == {"good: Confusion": "good", "poor: Confusion": "poor"}
    for table in report.tables:
        check_table(table, "classification")


def test_a_class_without_frames_in_a_fold_is_not_measured_there() -> None:
    only_heads = {s: {**classes, "spine": (0, 0)} if s in "ab" else classes for s, classes in RIGHT.items()}
    found = compare([recalled("x", only_heads)], reference="x", published={}).values["rows"]["x"]
    assert found["folds"][0]["spine"] is None
    assert found["folds"][0]["average_recall"] == pytest.approx(9 / 10)
    assert found["spine"] == pytest.approx(5 / 8)


def test_the_mean_iou_is_over_the_frames_of_a_class_then_over_classes() -> None:
    boxes = {"a": {"head": (3, 0.5), "spine": (1, 0.2)}, "b": {"head": (1, 0.9)}, "c": {"spine": (3, 0.4)}}
    report = compare([boxed("x", boxes)], reference="x", published={})
    assert report.values["rows"]["x"]["mean_iou"] == pytest.approx(((1.5 + 0.9) / 4 + (0.2 + 1.2) / 4) / 2)
    assert report.tables[0].columns == ["row", "mean IoU"]
    unlabelled = {"a": {"": (3, 0.5)}, "b": {"": (1, 0.9)}, "c": {"": (2, 0.3)}}
    report = compare([boxed("x", unlabelled)], reference="x", published={})
    assert report.values["rows"]["x"]["mean_iou"] == pytest.approx((1.5 + 0.9 + 0.6) / 6)


def test_rows_of_one_fold_have_no_spread() -> None:
    cc = {"a": 0.6, "b": 0.5}
    report = compare([scored(name, cc, folds={0: ["a", "b"]}) for name in "xy"], reference="x", published={})
    assert "fold_sd" not in report.values["rows"]["x"]
    assert not any("folds" in table.title for table in report.tables)


def test_a_reference_without_such_a_report_leaves_the_others() -> None:
    report = classification("good", "poor", reference="attention only")
    assert (report.values["reference"], report.values["paired"]) == (None, {})
    assert len(report.tables) == 2


def test_tables_of_other_evaluators_are_stacked() -> None:
    published: list[str | float | int] = ["Cai 2018 (published)", 0.4]
    rows = [listed("x", ["peak", 0.5], published), listed("y", ["peak", 0.3], published)]
    report = compare(rows, reference="x", published={})
    (table,) = report.tables
    assert table.columns == ["row", "method", "IoU"]
    assert table.rows == [["x", "peak", 0.5], ["y", "peak", 0.3], ["all", *published]]
    assert report.values == {"rows": {"x": {"n": 1}, "y": {"n": 1}}}


def test_lines_and_notes_of_one_row_stay_its_own() -> None:
    first, second = listed("x", ["peak", 0.5]), listed("y", ["peak", 0.5])
    (table,) = second.report.tables
    extra = Table(title="Boxes of y", columns=["method", "IoU"], rows=[["peak", 0.2]])
    second.report.tables[:] = [dataclasses.replace(table, note="other"), extra]
    shared, alone = compare([first, second], reference="x", published={}).tables
    assert shared.rows == [["all", "peak", 0.5]]
    assert shared.note == "x: n y: other"
    assert alone.rows == [["y", "peak", 0.2]]


def test_a_fold_without_positives_is_named() -> None:
    none = GOOD | {"c": (0, 2, 0, 30), "d": (0, 1, 0, 12)}
    rows = [classified("good", GOOD), classified("other", none)]
    with pytest.raises(AnatomarkError, match=r"row 'other', fold 1: no frame is of the positive class"):
        compare(rows, reference="good", published={})


def test_a_method_that_calls_nothing_positive_has_no_precision() -> None:
    silent = {subject: (0, 0, tp + fn, tn + fp) for subject, (tp, fp, fn, tn) in GOOD.items()}
    report = compare([classified("good", GOOD), classified("silent", silent)], reference="good", published={})
    found = report.values["rows"]["silent"]
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0, 0)
    assert found["fold_sd"]["precision"] is None
    assert report.values["paired"]["silent"].keys() == {"recall", "f1"}
    for table in report.tables:
        check_table(table, "classification")


def test_rows_scored_differently_are_refused() -> None:
    cc = {"a": 0.6, "b": 0.5, "c": 0.7, "d": 0.4}
    with pytest.raises(AnatomarkError, match=r"'x' and 'y' were scored by other conventions"):
        compare([scored("x", cc), scored("y", cc, sigma=30.0)], reference="x", published={})
    with pytest.raises(AnatomarkError, match=r"fold 1: no frame was scored"):
        compare([scored("x", {"a": 0.6, "b": 0.5})], reference="x", published={})


def test_the_papers_numbers_must_be_complete() -> None:
    rows = [classified("good", GOOD), classified("poor", POOR)]
    with pytest.raises(
        AnatomarkError, match=r"paper\.classification\.poor has 2 numbers; give 3: precision, recall, f1"
    ):
        compare(rows, reference="good", published={"poor": [79.3, 82.1]})
