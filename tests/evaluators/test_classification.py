"""The classification evaluator against scikit-learn."""

import json

import numpy as np
import pytest
import torch
from classification_stream import CLASSES, arrays, evaluate, make_stream
from scipy.special import softmax
from sklearn import metrics as sk

from anatomark.evaluators.classification import ClassificationEvaluator
from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.types import AnatomarkError, Prediction, Sample


def test_numbers_equal_scikit_learn() -> None:
    stream = make_stream(300)
    values = evaluate(stream, positive="plane").values
    label, logits = arrays(stream)
    predicted = logits.argmax(1)
    precision, recall, f1, n = sk.precision_recall_fscore_support(label, predicted)
    for i, name in enumerate(CLASSES):
        assert values["classes"][name] == pytest.approx(
            {
                "precision": precision[i],
                "recall": recall[i],
                "f1": f1[i],
                "average_precision": sk.average_precision_score(label == i, softmax(logits.astype(float), 1)[:, i]),
                "n": n[i],
            }
        )
    assert values["average_recall"] == pytest.approx(sk.balanced_accuracy_score(label, predicted))
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(label, predicted))
    assert [values[m] for m in ("precision", "recall", "f1")] == pytest.approx([precision[1], recall[1], f1[1]])
    assert values["confusion"]["counts"] == sk.confusion_matrix(label, predicted).tolist()
    np.testing.assert_allclose(values["confusion"]["rows"], sk.confusion_matrix(label, predicted, normalize="true"))


def test_an_excluded_class_leaves_the_averages_and_nothing_else() -> None:
    stream = make_stream(200)
    label, logits = arrays(stream)
    everything, without = evaluate(stream).values, evaluate(stream, exclude=["background"])
    recall = sk.recall_score(label, logits.argmax(1), average=None)
    assert without.values["average_recall"] == pytest.approx(recall[1:].mean())
    assert abs(recall[0] - recall[1:].mean()) > 0.01
    precisions = [
        sk.average_precision_score(label == i, softmax(logits.astype(float), 1)[:, i]) for i in range(len(CLASSES))
    ]
    assert everything["mean_average_precision"] == pytest.approx(np.mean(precisions))
    assert without.values["mean_average_precision"] == pytest.approx(np.mean(precisions[1:]))
    for name in ("accuracy", "classes", "confusion", "n_frames"):
        assert without.values[name] == everything[name]
    average = without.tables[0].rows[-1]
    assert average == [
        "average",
        NOT_MEASURED,
        pytest.approx(100 * recall[1:].mean()),
        NOT_MEASURED,
        average[4],
        (label > 0).sum(),
    ]
    assert "over plane, other" in without.tables[0].note


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_precision_over_recall_by_the_chosen_score(score: str) -> None:
    stream = make_stream(150)
    for i, (_, prediction) in enumerate(stream):
        prediction["logits"] = prediction["logits"] + i % 7  # the same classes and softmax, other sigmoids
    label, logits = arrays(stream)
    scores = softmax(logits.astype(float), 1) if score == "softmax" else 1 / (1 + np.exp(-logits.astype(float)))
    report = evaluate(stream, score=score)
    plain = evaluate(make_stream(150)).values
    assert (report.values["classes"] == plain["classes"]) == (score == "softmax")
    assert report.values["confusion"] == plain["confusion"]
    for i, name in enumerate(CLASSES):
        precision, recall, _ = sk.precision_recall_curve(label == i, scores[:, i])
        # From rising to falling thresholds, without the end point that scikit-learn adds.
        precision, recall = precision[-2::-1], recall[-2::-1]
        expected = [precision[np.argmax(recall >= level)] for level in np.arange(1, 101) / 100]
        np.testing.assert_allclose(report.values["precision_at_recall"][name], expected)
        area = sk.average_precision_score(label == i, scores[:, i])
        assert report.values["classes"][name]["average_precision"] == pytest.approx(area)
        line = report.figures["Precision and recall"].axes[0].lines[i]
        drawn = np.stack([line.get_xdata()[1:], line.get_ydata()[1:]])
        np.testing.assert_allclose(drawn[:, -1], [1, precision[-1]])
        assert {(r, p) for r, p in drawn.T.round(9)} == {(r, p) for r, p in np.stack([recall, precision]).T.round(9)}


def test_average_precision_by_sigmoid_counts_all_classes_a_frame_shows() -> None:
    stream = make_stream(150)
    label, logits = arrays(stream)
    present = np.eye(len(CLASSES), dtype=bool)[label]
    present[::3, 2] = True
    for (sample, _), shown in zip(stream, present, strict=True):
        sample["present"] = torch.from_numpy(shown)
    for score, truth in {"sigmoid": present[:, 2], "softmax": label == 2}.items():
        scores = logits[:, 2] if score == "sigmoid" else softmax(logits.astype(float), 1)[:, 2]
        found = evaluate(stream, score=score).values["classes"]["other"]
        assert found["average_precision"] == pytest.approx(sk.average_precision_score(truth, scores))
        assert found["n"] == (label == 2).sum()


def test_the_drawn_confusion_is_a_share_of_each_row() -> None:
    stream = make_stream(90)
    label, logits = arrays(stream)
    axes = evaluate(stream).figures["Confusion matrix"].axes[0]
    expected = sk.confusion_matrix(label, logits.argmax(1), normalize="true")
    np.testing.assert_allclose(axes.images[0].get_array(), expected)
    assert axes.texts[1].get_text().startswith(f"{100 * expected[0, 1]:.1f} %")


def test_folds_are_scored_alone_and_pooled() -> None:
    folds = [make_stream(n, run=f"fold{n}", seed=n) for n in (40, 90, 60)]
    values = evaluate([frame for fold in folds for frame in fold], positive="plane").values
    alone = [evaluate(fold, positive="plane").values for fold in folds]
    assert [fold["run"] for fold in values["folds"]] == ["fold40", "fold90", "fold60"]
    assert [fold["n_frames"] for fold in values["folds"]] == [40, 90, 60]
    for metric in ("precision", "recall", "f1", "accuracy", "average_recall"):
        of_folds = [fold[metric] for fold in alone]
        assert [fold[metric] for fold in values["folds"]] == of_folds
        assert values["fold_mean"][metric] == pytest.approx(np.mean(of_folds))
        assert values["fold_sd"][metric] == pytest.approx(np.std(of_folds, ddof=1))
    # Pooled over frames, not the mean of the folds.
    assert values["accuracy"] == pytest.approx(np.average([a["accuracy"] for a in alone], weights=[40, 90, 60]))
    assert "fold_mean" not in alone[0]


def test_wrong_frames_are_listed_the_surest_first() -> None:
    stream = make_stream(60)
    label, logits = arrays(stream)
    wrong = {s["key"] for (s, _), a, b in zip(stream, label, logits.argmax(1), strict=True) if a != b}
    listed = evaluate(stream).values["misclassified"]
    assert listed["n"] == len(wrong)
    assert {frame["key"] for frame in listed["frames"]} == wrong
    sureness = [frame["probability"] for frame in listed["frames"]]
    assert sureness == sorted(sureness, reverse=True)
    assert all(frame["label"] != frame["predicted"] for frame in listed["frames"])
    few = evaluate(stream, n_misclassified=3).values["misclassified"]
    assert few == {"n": len(wrong), "frames": listed["frames"][:3]}


def test_a_class_nobody_called_has_no_precision() -> None:
    stream = make_stream(30, n_classes=2)
    for _, prediction in stream:
        prediction["logits"] = torch.tensor([1.0, 0.0])
    report = evaluate(stream, classes=CLASSES[:2], positive="plane")
    values = report.values
    assert (values["precision"], values["recall"], values["f1"]) == (None, 0.0, 0.0)
    assert values["notes"] == ["no frame was called plane, so it has no precision"]
    assert "No frame was called plane" in report.tables[0].note
    json.dumps(values, allow_nan=False)


def test_a_class_nobody_showed_has_no_recall_and_stays_out_of_the_average() -> None:
    stream = make_stream(30)
    shown = [frame for frame in stream if frame[0]["label"] != 2]
    values = evaluate(shown).values
    assert values["classes"]["other"]["recall"] is None
    assert values["confusion"]["rows"][2] is None
    recalls = [values["classes"][name]["recall"] for name in CLASSES[:2]]
    assert values["average_recall"] == pytest.approx(sum(recalls) / 2)


def test_a_fold_without_a_value_leaves_no_mean_over_folds() -> None:
    first, second = make_stream(20, run="a", n_classes=2), make_stream(20, run="b", seed=1, n_classes=2)
    for _, prediction in second:
        prediction["logits"] = torch.tensor([1.0, 0.0])
    values = evaluate([*first, *second], classes=CLASSES[:2], positive="plane").values
    assert values["fold_mean"]["precision"] is values["fold_sd"]["precision"] is None
    assert values["fold_mean"]["recall"] is not None
    assert values["precision"] is not None


def test_the_report_is_plain_and_drawn() -> None:
    report = evaluate([*make_stream(20), *make_stream(20, run="s", seed=1)], positive="plane")
    json.dumps(report.values, allow_nan=False)
    assert all(len(row) == len(table.columns) for table in report.tables for row in table.rows)
    assert [row[0] for row in report.tables[1].rows] == [
        "all frames",
        "r",
        "s",
        "mean over folds",
        "standard deviation",
    ]
    confusion, curves = report.figures["Confusion matrix"], report.figures["Precision and recall"]
    assert len(confusion.axes[0].texts) == 9
    assert len(curves.axes[0].lines) == 3


def drop(name: str, index: int) -> object:
    def change(stream: list[tuple[Sample, Prediction]]) -> list[tuple[Sample, Prediction]]:
        del stream[1][index][name]  # type: ignore[misc]
        return stream

    return change


@pytest.mark.parametrize(
    ("change", "settings", "problem"),
    [
        (drop("label", 0), {}, "frame r001 has no class to compare with.*frames.csv"),
        (drop("logits", 1), {}, "frame r001 has no `logits`.*classification evaluator"),
        (list, {"classes": CLASSES[:2]}, "frame r000 has 3 logits for the 2 classes background, plane"),
        (lambda s: [(s[0][0] | {"label": 3}, s[0][1])], {}, "frame r000 is of class number 3, but `classes` names 3"),
        (lambda s: [(s[0][0], s[0][1] | {"logits": torch.full((3,), torch.nan)})], {}, "r000 are not finite"),
        (lambda s: [], {}, "no test frame"),
        (list, {"classes": []}, "data.classes names 0 classes"),
        (list, {"positive": "femur"}, "`positive` is femur, which is no class; choose one of background, plane, other"),
        (list, {"classes": ("a", "a", "b")}, "its own name"),
        (list, {"exclude": ["femur"]}, "`exclude` names femur, which is no class; choose among background, plane"),
        (list, {"exclude": CLASSES}, "`exclude` names all classes"),
    ],
)
def test_bad_input_is_named_in_one_line(change: object, settings: dict[str, object], problem: str) -> None:
    with pytest.raises(AnatomarkError, match=problem) as error:
        evaluate(change(make_stream(4)), **settings)  # type: ignore[operator]
    assert "\n" not in str(error.value)


def test_an_unknown_score_is_refused() -> None:
    # Under the tests beartype looks first.
    with pytest.raises((AnatomarkError, TypeError), match="score"):
        evaluate([], score="logit")


def test_first_of_two_classes_is_no_positive_one():
    """Scores during training would be the other class's."""
    with pytest.raises(AnatomarkError, match=r"is plane, the first of two.*=\[background,plane\]"):
        ClassificationEvaluator(classes=["plane", "background"], positive="plane")
    assert ClassificationEvaluator(classes=["plane", "background", "other"], positive="plane").positive == "plane"
