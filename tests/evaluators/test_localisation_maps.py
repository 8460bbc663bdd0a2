"""All rules, all maps and the true class's map in one run of the localisation evaluator."""

import json
import math

import numpy as np
import pytest
import torch
from skimage.measure import label as label_parts

from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.evaluators.localisation import LocalisationEvaluator
from anatomark.types import AnatomarkError, Prediction, Report, Sample

CLASSES = ("head", "spine", "background")
MAPS = ("main", "Grad-CAM", "centre Gaussian")
H, W = 40, 56
RULE_NAMES = ["contrast", "paper", "spn", "contrast+largest", "paper+largest", "spn+largest"]
Frame = tuple[Sample, Prediction]
Box = tuple[float, float, float, float]


def iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - shared)


def box_of(mask: np.ndarray) -> Box:
    rows, columns = np.nonzero(mask)
    return (columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5)


def largest(mask: np.ndarray) -> np.ndarray:
    parts = label_parts(mask, connectivity=2)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


def by_rules(values: np.ndarray) -> dict[str, Box]:
    """The boxes of a map in [0, 1] by the six rules."""
    median = np.median(values)
    contrast = values >= median + 0.3 * (values.max() - median)
    above = values >= 1.3 * median
    if median == 0 or not above.any():
        above = contrast
    masks = {"contrast": contrast, "paper": above, "spn": values >= values.mean()}
    masks |= {f"{name}+largest": largest(mask) for name, mask in masks.items()}
    return {name: box_of(mask) for name, mask in masks.items()}


def make_frames(n: int = 12, *, seed: int = 0) -> list[Frame]:
    """Full-size maps of three classes and Grad-CAM beside them; every third frame is taken for another class."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(n):
        label = i % 2
        called = (label + 1) % 3 if i % 3 == 2 else label
        x0, y0 = rng.integers(0, (W - 20, H - 18))
        maps, cam = rng.random((2, len(CLASSES), H, W)) ** 4 * 0.6
        for values, size in ((maps, 14), (cam, 7)):
            for number in range(len(CLASSES)):
                x, y = (x0, y0) if number == label else rng.integers(0, (W - 14, H - 14))
                values[number, y : y + size, x : x + size] += 0.8
        key = f"{'ab'[i % 2]}{i}"
        sample = Sample(
            key=key,
            subject=key[0],
            image=torch.rand(1, H, W),
            spacing_mm=torch.full((2,), math.nan),
            split="test",
            label=label,
            boxes={"region": torch.tensor([x0 - 0.5, y0 - 0.5, x0 + 17.5, y0 + 15.5], dtype=torch.float32)},
        )
        prediction = Prediction(
            key=key,
            maps=torch.from_numpy(maps).float(),
            logits=torch.eye(len(CLASSES))[called],
            other_maps={"Grad-CAM": torch.from_numpy(cam).float()},
            run="r",
        )
        frames.append((sample, prediction))
    return frames


def evaluate(frames: list[Frame], **settings: object) -> Report:
    return LocalisationEvaluator(**({"classes": CLASSES, "n_fractions": 5} | settings))(iter(frames))  # type: ignore[arg-type]


def numpy_iou(frames: list[Frame], *, method: str, gt_known: bool, rule: str) -> np.ndarray:
    found = []
    for sample, prediction in frames:
        maps = prediction["maps"] if method == "main" else prediction["other_maps"][method]
        values = maps[sample["label"] if gt_known else int(prediction["logits"].argmax())].numpy()
        values = (values - values.min()) / (values.max() - values.min())
        found.append(iou(by_rules(values)[rule], tuple(sample["boxes"]["region"].tolist())))
    return np.array(found)


@pytest.mark.parametrize("method", ["main", "Grad-CAM"])
@pytest.mark.parametrize("gt_known", [False, True])
def test_every_rule_of_every_map_equals_numpy(method: str, gt_known: bool) -> None:
    frames = make_frames()
    values = evaluate(frames, batch_size=5).values
    block = values if method == "main" else values["other_maps"][method]
    block = block["gt_known"] if gt_known else block
    assert list(block["rules"]) == RULE_NAMES
    for rule, scores in block["rules"].items():
        expected = numpy_iou(frames, method=method, gt_known=gt_known, rule=rule)
        of_class = {"head": expected[::2].mean(), "spine": expected[1::2].mean()}
        assert scores["mean_iou"] == pytest.approx(expected.mean(), abs=1e-6)
        assert scores["classes"] == pytest.approx(of_class, abs=1e-6)
        assert scores["mean_iou_over_classes"] == pytest.approx(np.mean(list(of_class.values())), abs=1e-6)
    assert block["mean_iou"] == block["rules"]["contrast"]["mean_iou"]
    assert block["mean_iou_over_classes"] == block["rules"]["contrast"]["mean_iou_over_classes"]


def test_the_control_has_not_seen_the_image() -> None:
    y, x = np.mgrid[:H, :W] + 0.5
    values = np.exp(-((2 * x / W - 1) ** 2 + (2 * y / H - 1) ** 2) / 2)
    values = (values - values.min()) / (values.max() - values.min())
    frames = make_frames()
    found = evaluate(frames).values["other_maps"]["centre Gaussian"]
    for rule in RULE_NAMES:
        box = by_rules(values)[rule]
        expected = np.mean([iou(box, tuple(sample["boxes"]["region"].tolist())) for sample, _ in frames])
        assert found["rules"][rule]["mean_iou"] == pytest.approx(expected, abs=1e-6)
    assert found["gt_known"] is None
    regions = [sample["boxes"]["region"].tolist() for sample, _ in frames]
    hits = [x0 <= (W - 1) / 2 <= x1 and y0 <= (H - 1) / 2 <= y1 for x0, y0, x1, y1 in regions]
    assert found["pointing_game"] == np.mean(hits)
    # The sides are even, and no pixel is in the middle.
    for sample, _ in frames:
        sample["boxes"]["region"] = torch.tensor([W / 2 - 0.75, H / 2 - 0.75, W / 2 - 0.25, H / 2 - 0.25])
    assert evaluate(frames).values["other_maps"]["centre Gaussian"]["pointing_game"] == 1


def test_the_true_class_s_map_is_misled_by_no_mistake() -> None:
    frames = make_frames(24)
    values = evaluate(frames, component="largest").values
    right = [frame for i, frame in enumerate(frames) if i % 3 != 2]
    # Every map is highest within the square of its class.
    assert values["gt_known"]["pointing_game"] == 1 > values["pointing_game"]
    assert values["gt_known"]["mean_iou"] > values["mean_iou"]
    assert values["gt_known"]["max_box_acc"]["0.5"]["value"] == 1 > values["max_box_acc"]["0.5"]["value"]
    assert values["other_maps"]["Grad-CAM"]["gt_known"]["max_box_acc"]["0.5"]["value"] < 1
    only_right = evaluate(right, component="largest").values
    for name in ("mean_iou", "pointing_game", "max_box_acc", "rules", "classes", "structures"):
        assert only_right["gt_known"][name] == only_right[name]


@pytest.mark.parametrize(
    ("settings", "headline"),
    [
        ({}, "contrast"),
        ({"component": "largest"}, "contrast+largest"),
        ({"threshold": "median"}, "paper"),
        ({"threshold": "mean"}, "spn"),
        ({"threshold": "mean", "component": "largest"}, "spn+largest"),
        ({"threshold": 0.5, "component": "largest"}, "0.5+largest"),
    ],
)
def test_the_chosen_rule_heads_the_report_and_the_others_stay(settings: dict[str, object], headline: str) -> None:
    frames = make_frames(6)
    values, default = evaluate(frames, **settings).values, evaluate(frames).values
    assert values["rule"] == headline
    assert values["mean_iou"] == values["rules"][headline]["mean_iou"]
    assert values["subjects"]["a"]["classes"]["head"]["mean_iou"] == values["rules"][headline]["classes"]["head"]
    assert values["rules"] | default["rules"] == values["rules"]
    assert set(values["rules"]) - set(default["rules"]) == ({"0.5", "0.5+largest"} if "0.5" in headline else set())


def test_a_map_per_frame_has_no_true_class() -> None:
    frames = make_frames(4)
    for _, prediction in frames:
        prediction["maps"] = prediction["maps"][:1]
        prediction["other_maps"] = {}
    report = evaluate(frames)
    assert report.values["gt_known"] is None
    assert list(report.values["other_maps"]) == ["centre Gaussian"]
    assert not any("gt_known" in column for table in report.tables for column in table.columns)


def test_tables_show_all_maps_and_rules_side_by_side() -> None:
    report = evaluate(make_frames())
    values = report.values
    json.dumps(values, allow_nan=False)
    boxes, rules, accuracy, _ = report.tables
    assert all(len(row) == len(table.columns) for table in report.tables for row in table.rows)
    column = boxes.columns.index("mean IoU, gt_known")
    lines = {row[0]: row for row in boxes.rows}
    assert list(lines) == ["head", "spine", "mean over classes", "all frames"]
    assert lines["head"][column] == values["gt_known"]["classes"]["head"]["mean_iou"]
    assert lines["mean over classes"][1:4] == [
        values["mean_iou_over_classes"],
        values["gt_known"]["mean_iou_over_classes"],
        NOT_MEASURED,
    ]
    assert [row[:2] for row in rules.rows] == [[m, rule] for m in MAPS for rule in values["rules"]]
    cam = values["other_maps"]["Grad-CAM"]
    assert rules.rows[10][2:] == [
        cam["rules"]["paper+largest"]["mean_iou"],
        cam["rules"]["paper+largest"]["mean_iou_over_classes"],
        cam["gt_known"]["rules"]["paper+largest"]["mean_iou"],
        cam["gt_known"]["rules"]["paper+largest"]["mean_iou_over_classes"],
    ]
    assert [row[0] for row in accuracy.rows] == [
        *("main", "main, gt_known"),
        *("Grad-CAM", "Grad-CAM, gt_known"),
        "centre Gaussian",
    ]
    assert accuracy.rows[3][-1] == pytest.approx(100 * cam["gt_known"]["pointing_game"])


def test_the_picture_shows_each_class_and_mistakes_last() -> None:
    frames = make_frames(30)
    figure = evaluate(frames, n_examples=3).figures["Predicted and annotated boxes"]
    names = [axes.get_ylabel() for axes in figure.axes[::3]]
    assert names == ["head", "spine", "misclassified"]
    titles = [[axes.get_title() for axes in figure.axes[3 * row : 3 * row + 3]] for row in range(3)]
    assert all("taken for" not in title for row in titles[:2] for title in row)
    for title in titles[2]:
        key, mistake, _ = title.split("\n")
        label = int(key[1:]) % 2
        assert mistake == f"{CLASSES[label]} taken for {CLASSES[label + 1]}"
    of_row = [[float(title.split("IoU ")[1]) for title in row] for row in titles]
    assert of_row == [sorted(row, reverse=True) for row in of_row]
    backwards = evaluate(frames[::-1], n_examples=3).figures["Predicted and annotated boxes"]
    assert [axes.get_title() for axes in backwards.axes] == [title for row in titles for title in row]


def test_boxes_are_drawn_where_they_lie() -> None:
    sample, prediction = make_frames(1)[0]
    figure = evaluate([(sample, prediction)]).figures["Predicted and annotated boxes"]
    truth, predicted = (patch.get_bbox().extents.tolist() for patch in figure.axes[0].patches)
    assert truth == sample["boxes"]["region"].tolist()
    values = prediction["maps"][0].numpy()
    box = by_rules((values - values.min()) / (values.max() - values.min()))["contrast"]
    assert predicted == pytest.approx(box)
    assert figure.axes[0].images[1].get_array().shape == (H, W)


def without(name: str) -> object:
    def change(frames: list[Frame]) -> list[Frame]:
        frames[1][1]["other_maps"] = {}
        return frames

    return change


@pytest.mark.parametrize(
    ("change", "settings", "problem"),
    [
        (without("Grad-CAM"), {}, "prediction of frame b1 has no Grad-CAM map, which other frames have"),
        (lambda f: [(f[0][0] | {"label": 3}, f[0][1])], {}, "frame a0 is of class number 3, but `classes` names 3"),
        (
            lambda f: [(f[0][0] | {"label": 5}, f[0][1])],
            {"classes": ()},
            "frame a0 is of class number 5, but its prediction has the maps of 3 classes",
        ),
        (list, {"classes": ("head", "spine")}, "frame a0 has 3 logits for the 2 classes head, spine"),
        (
            lambda f: [(f[0][0], f[0][1] | {"other_maps": {"Grad-CAM": torch.rand(2, H, W)}})],
            {},
            "frame a0 has 2 maps that belong to no class",
        ),
    ],
)
def test_bad_input_is_named_in_one_line(change: object, settings: dict[str, object], problem: str) -> None:
    with pytest.raises(AnatomarkError, match=problem) as error:
        evaluate(change(make_frames(4)), **settings)  # type: ignore[operator]
    assert "\n" not in str(error.value)
