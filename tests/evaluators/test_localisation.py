"""The localisation evaluator on maps of known boxes and against plain NumPy."""

import json
import math

import numpy as np
import pytest
import torch

from anatomark.evaluators.localisation import LocalisationEvaluator
from anatomark.types import AnatomarkError, Prediction, Report, Sample

SIZE, STRIDE = (48, 64), 8
CELLS = (SIZE[0] // STRIDE, SIZE[1] // STRIDE)
Frame = tuple[Sample, Prediction]


def iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - shared)


def make_frame(key: str, boxes: dict[str, list[float]], maps: torch.Tensor, *, stride: int = STRIDE) -> Frame:
    sample = Sample(
        key=key,
        subject=key[0],
        image=torch.rand(1, *SIZE),
        spacing_mm=torch.full((2,), math.nan),
        split="test",
        boxes={name: torch.tensor(box) for name, box in boxes.items()},
    )
    return sample, Prediction(key=key, maps=maps, map_stride=stride, run="r")


def random_frames(n: int, *, run: str = "r", seed: int = 0) -> list[Frame]:
    rng = torch.Generator().manual_seed(seed)
    frames = []
    for i in range(n):
        x0, y0 = (torch.rand(2, generator=rng) * torch.tensor([40.0, 30.0])).tolist()
        width, height = (5 + 15 * torch.rand(2, generator=rng)).tolist()
        maps = 0.2 * torch.rand(1, *CELLS, generator=rng)
        maps[0, int((y0 + height / 2) // STRIDE) % CELLS[0], int((x0 + width / 2) // STRIDE) % CELLS[1]] = 1
        frames.append(make_frame(f"{'abc'[i % 3]}{i}", {"lesion": [x0, y0, x0 + width, y0 + height]}, maps))
        frames[-1][0]["label"] = i % 2
        frames[-1][1]["run"] = run
    return frames


def full_maps(frames: list[Frame]) -> np.ndarray:
    """Bilinear interpolation written out, stretched to [0, 1]."""
    stretched = []
    for _, prediction in frames:
        cells = prediction["maps"][0].double().numpy()
        rows, columns = (
            np.clip((np.arange(n) + 0.5) / STRIDE - 0.5, 0, c - 1) for n, c in zip(SIZE, CELLS, strict=True)
        )
        low_r, low_c = np.floor(rows).astype(int), np.floor(columns).astype(int)
        high_r, high_c = np.minimum(low_r + 1, CELLS[0] - 1), np.minimum(low_c + 1, CELLS[1] - 1)
        r, c = (rows - low_r)[:, None], (columns - low_c)[None]
        top = cells[low_r][:, low_c] * (1 - c) + cells[low_r][:, high_c] * c
        bottom = cells[high_r][:, low_c] * (1 - c) + cells[high_r][:, high_c] * c
        full = top * (1 - r) + bottom * r
        stretched.append((full - full.min()) / (full.max() - full.min()))
    return np.stack(stretched)


def box_of(mask: np.ndarray) -> list[float]:
    rows, columns = np.nonzero(mask)
    return [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]


def evaluate(frames: list[Frame], **settings: object) -> Report:
    return LocalisationEvaluator(**settings)(iter(frames))  # type: ignore[arg-type]


def test_numbers_equal_a_transcription() -> None:
    frames = random_frames(12)
    values = evaluate(frames, batch_size=5, classes=["left", "right"]).values
    maps = full_maps(frames)
    truth = [sample["boxes"]["lesion"].tolist() for sample, _ in frames]
    levels = [np.median(m) + 0.3 * (m.max() - np.median(m)) for m in maps]
    expected = [iou(box_of(m >= level), t) for m, level, t in zip(maps, levels, truth, strict=True)]
    assert values["mean_iou"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert values["classes"]["left"]["mean_iou"] == pytest.approx(np.mean(expected[::2]), abs=1e-6)
    assert values["classes"]["right"]["n_frames"] == 6
    of_classes = [np.mean(expected[::2]), np.mean(expected[1::2])]
    assert values["mean_iou_over_classes"] == pytest.approx(np.mean(of_classes), abs=1e-6)
    assert values["subjects"]["b"]["mean_iou"] == pytest.approx(np.mean(expected[1::3]), abs=1e-6)
    cells = [np.unravel_index(p["maps"][0].numpy().argmax(), CELLS) for _, p in frames]
    peaks = [(np.array(cell) + 0.5) * STRIDE - 0.5 for cell in cells]
    inside = [t[0] <= x <= t[2] and t[1] <= y <= t[3] for (y, x), t in zip(peaks, truth, strict=True)]
    assert 0 < sum(inside) < 12
    assert values["pointing_game"] == values["structures"]["lesion"]["pointing_game"] == np.mean(inside)


def test_max_box_acc_is_the_best_over_thresholds() -> None:
    frames = random_frames(8, seed=2)
    values = evaluate(frames, n_fractions=10).values["max_box_acc"]
    maps = full_maps(frames)
    truth = [sample["boxes"]["lesion"].tolist() for sample, _ in frames]
    # One blob stands out from 0.25 of the maximum on, so that the largest part is all there is.
    for delta in (0.3, 0.5):
        shares = [
            np.mean([iou(box_of(m >= f), t) >= delta for m, t in zip(maps, truth, strict=True)])
            for f in np.arange(3, 10) / 10
        ]
        assert values[f"{delta:g}"]["value"] == pytest.approx(max(shares))
    assert values["mean"] == pytest.approx(np.mean([values[d]["value"] for d in ("0.3", "0.5", "0.7")]))


def test_a_map_of_the_box_itself_is_perfect() -> None:
    maps = torch.full((1, *SIZE), 0.1)
    maps[0, 10:20, 30:50] = 0.9
    box = [29.5, 9.5, 49.5, 19.5]
    for threshold in ("contrast", "median", "mean", 0.5):
        values = evaluate([make_frame("a", {"lesion": box}, maps, stride=1)], threshold=threshold).values
        assert values["mean_iou"] == values["pointing_game"] == values["max_box_acc"]["mean"] == 1


def test_the_largest_part_leaves_a_second_blob_out() -> None:
    maps = torch.zeros(1, *SIZE)
    maps[0, 10:20, 30:50] = 0.9
    maps[0, 40:44, 2:6] = 1
    frame = make_frame("a", {"lesion": [29.5, 9.5, 49.5, 19.5]}, maps, stride=1)
    largest, everything = (evaluate([frame], component=part).values for part in ("largest", "all"))
    assert largest["mean_iou"] == 1
    assert everything["mean_iou"] == pytest.approx(200 / (34 * 48))
    assert (largest["pointing_game"], largest["max_box_acc"]["0.7"]["value"]) == (0, 1)


def abdomen_frames() -> list[Frame]:
    wall, stomach, spine = [0.0, 0, 60, 47], [5.0, 5, 15, 15], [40.0, 30, 50, 40]
    at_spine = torch.zeros(1, *SIZE)
    at_spine[0, 30:41, 40:51] = 1
    at_gap = torch.zeros(1, *SIZE)
    at_gap[0, 18:25, 20:30] = 1
    return [
        make_frame("a1", {"abdominal_wall": wall, "stomach": stomach, "spine": spine}, at_spine, stride=1),
        make_frame("a2", {"abdominal_wall": wall, "stomach": stomach, "spine": spine}, at_gap, stride=1),
        make_frame("b1", {"abdominal_wall": wall, "spine": spine}, at_spine, stride=1),
        make_frame("b2", {"abdominal_wall": wall}, at_spine, stride=1),
    ]


def test_union_of_the_boxes_and_the_pointing_rate_of_each() -> None:
    values = evaluate(abdomen_frames(), target="union", exclude=["abdominal_wall"]).values
    assert (values["n_frames"], values["n_skipped"], values["n_subjects"]) == (3, 1, 2)
    union, spine = [5.0, 5, 50, 40], [40.0, 30, 50, 40]
    boxes = [[39.5, 29.5, 50.5, 40.5], [19.5, 17.5, 29.5, 24.5]]
    expected = [iou(boxes[0], union), iou(boxes[1], union), iou(boxes[0], spine)]
    assert values["mean_iou"] == pytest.approx(np.mean(expected))
    # The gap lies in the union, but in none of the structures.
    assert (values["pointing_game"], values["pointing_game_any"]) == (1, pytest.approx(2 / 3))
    assert values["structures"] == {
        "spine": {"pointing_game": pytest.approx(2 / 3), "n_frames": 3},
        "stomach": {"pointing_game": 0, "n_frames": 2},
    }


def test_a_named_target_skips_the_frames_without_it() -> None:
    values = evaluate(abdomen_frames(), target="stomach", exclude=["abdominal_wall"]).values
    assert (values["n_frames"], values["n_skipped"], values["mean_iou"]) == (2, 2, 0)


def test_batches_do_not_matter_and_a_flip_neither() -> None:
    frames = random_frames(7)
    whole = evaluate(frames).values
    assert evaluate(frames, batch_size=2).values == whole
    flipped = []
    for sample, prediction in frames:
        x0, y0, x1, y1 = sample["boxes"]["lesion"].tolist()
        box = torch.tensor([SIZE[1] - 1 - x1, y0, SIZE[1] - 1 - x0, y1])
        flipped.append((sample | {"boxes": {"lesion": box}}, prediction | {"maps": prediction["maps"].flip(-1)}))
    mirrored = evaluate(flipped).values
    for metric in ("mean_iou", "pointing_game"):
        assert mirrored[metric] == pytest.approx(whole[metric], abs=1e-6)


def test_folds_are_reported() -> None:
    first, second = random_frames(6, run="a"), random_frames(4, run="b", seed=5)
    values = evaluate(first + second).values
    means = [evaluate(part).values["mean_iou"] for part in (first, second)]
    assert [(f["run"], f["n_frames"]) for f in values["folds"]] == [("a", 6), ("b", 4)]
    assert values["fold_mean"]["mean_iou"] == pytest.approx(np.mean(means))
    assert values["fold_sd"]["mean_iou"] == pytest.approx(np.std(means, ddof=1))


def test_the_report_is_plain_and_drawn() -> None:
    frames = abdomen_frames()
    frames[1][1]["run"] = "s"
    report = evaluate(frames, target="union", exclude=["abdominal_wall"], n_examples=2)
    json.dumps(report.values, allow_nan=False)
    assert all(len(row) == len(table.columns) for table in report.tables for row in table.rows)
    figure = report.figures["Predicted and annotated boxes"]
    assert len(figure.axes) == 2
    assert {len(axes.patches) for axes in figure.axes} <= {2, 4}  # truth, prediction; stomach, spine beside their union
    without = evaluate(frames, target="union", exclude=["abdominal_wall"], n_examples=0)
    assert (without.figures, without.values) == ({}, report.values)


@pytest.mark.parametrize(
    ("frames", "settings", "problem"),
    [
        (abdomen_frames, {}, "frame a1 has the boxes abdominal_wall, spine, stomach; set the localisation's `target`"),
        (abdomen_frames, {"target": "femur"}, "4 came, none with a box femur; annotate some in boxes.csv"),
        (list, {}, "0 came, none with a box"),
        (lambda: [make_frame("a", {"x": [0.0, 0, 9, 9]}, torch.rand(1, 5, 8))], {}, "a: the map covers 40 x 64 px"),
        (lambda: random_frames(4), {"classes": ["one"]}, "frame b1 is of class number 1, but `classes` names 1"),
        (list, {"threshold": 1.5}, "`threshold` of the localisation is 1.5"),
        (list, {"n_fractions": 0}, "`n_fractions` of the localisation is 0"),
    ],
)
def test_bad_input_is_named_in_one_line(frames: object, settings: dict[str, object], problem: str) -> None:
    with pytest.raises(AnatomarkError, match=problem) as error:
        evaluate(frames(), **settings)  # type: ignore[operator]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"threshold": "otsu"}, {"component": "first"}])
def test_unknown_options_are_refused(settings: dict[str, object]) -> None:
    # Under the tests beartype looks first.
    with pytest.raises((AnatomarkError, TypeError), match=next(iter(settings))):
        evaluate([], **settings)
