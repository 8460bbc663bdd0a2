"""The segmentation evaluator on maps of known overlap and against plain NumPy."""

import json
import math

import numpy as np
import pytest
import torch

from anatomark.data.polar import ToPolar
from anatomark.evaluators.landmark_frame import NOT_MEASURED
from anatomark.evaluators.segmentation import SegmentationEvaluator
from anatomark.evaluators.segmentation_examples import SegmentationExamples
from anatomark.report.mask_figures import MaskPanel
from anatomark.types import AnatomarkError, Prediction, Report, Sample

SIZE = (24, 32)
Frame = tuple[Sample, Prediction]


def make_frame(key: str, mask: torch.Tensor | None, maps: torch.Tensor, *, stride: int = 1, run: str = "r") -> Frame:
    sample = Sample(
        key=key,
        subject=key[0],
        image=torch.rand(1, *SIZE),
        spacing_mm=torch.full((2,), math.nan),
        split="test",
    )
    if mask is not None:
        sample["mask"] = mask.float()[None]
    return sample, Prediction(key=key, maps=maps, map_stride=stride, run=run)


def box(top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    mask = torch.zeros(SIZE)
    mask[top:bottom, left:right] = 1
    return mask


def random_frames(n: int, *, seed: int = 0) -> list[Frame]:
    rng = torch.Generator().manual_seed(seed)
    masks, noise = torch.rand(2, n, *SIZE, generator=rng)
    return [
        make_frame(f"{'abbccc'[i % 6]}{i}", mask > 0.6, (0.6 * (mask > 0.6) + 0.7 * blur)[None], run=f"run {i % 2}")
        for i, (mask, blur) in enumerate(zip(masks, noise, strict=True))
    ]


def evaluate(frames: list[Frame], **settings: object) -> Report:
    return SegmentationEvaluator(**settings)(iter(frames))  # type: ignore[arg-type]


def overlaps(frames: list[Frame], threshold: float = 0.5) -> np.ndarray:
    rows = []
    for sample, prediction in frames:
        p, t = prediction["maps"][0].numpy() >= threshold, sample["mask"][0].numpy() > 0
        rows.append([2 * (p & t).sum() / (p.sum() + t.sum()), (p & t).sum() / (p | t).sum()])
    return np.array(rows)


def test_numbers_equal_a_transcription() -> None:
    frames = random_frames(18)
    report = evaluate(frames, threshold=0.65)
    values, expected = report.values, overlaps(frames, 0.65)
    subjects = np.array([sample["subject"] for sample, _ in frames])
    per_subject = np.array([expected[subjects == name].mean(0) for name in "abc"])
    assert [values["dice"], values["iou"]] == pytest.approx(per_subject.mean(0))
    assert [frame["dice"] for frame in values["frames"]] == pytest.approx(expected[:, 0])
    assert [frame["iou"] for frame in values["frames"]] == pytest.approx(expected[:, 1])
    assert values["subjects"]["b"]["iou"] == pytest.approx(per_subject[1, 1])
    assert (values["n_frames"], values["n_subjects"], values["n_skipped"], values["n_empty"]) == (18, 3, 0, 0)
    assert {fold["run"] for fold in values["folds"]} == {"run 0", "run 1"}
    assert values["fold_mean"]["dice"] == pytest.approx(np.mean([fold["dice"] for fold in values["folds"]]))
    assert report.name == "segmentation"
    json.dumps(values, allow_nan=False)
    (table,) = report.tables
    assert table.rows[0][1] == pytest.approx(100 * per_subject[:, 0].mean())
    assert [row[0] for row in table.rows] == ["all frames", "run 0", "run 1", "mean over folds", "standard deviation"]


def test_the_interval_is_that_of_means_over_drawn_subjects() -> None:
    # Ten subjects with one frame each, whose overlaps are 0, 0.1, ... 0.9.
    truth = box(0, 0, 10, 10)
    frames = [make_frame(f"{n}", truth, torch.where(box(0, 0, n, 10) > 0, 0.9, 0.1)[None]) for n in range(10)]
    values = evaluate(frames).values
    assert [frame["iou"] for frame in values["frames"]] == pytest.approx([n / 10 for n in range(10)])
    rng = np.random.default_rng(1)
    drawn = rng.integers(10, size=(20_000, 10)).mean(1) / 10
    assert values["intervals"]["iou"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), abs=0.011)
    assert values["intervals"]["dice"][0] < values["dice"] < values["intervals"]["dice"][1]
    alone = evaluate(frames[:1])
    assert alone.values["intervals"] is None
    assert alone.tables[0].rows[0][2] == NOT_MEASURED


def test_frames_without_a_mask_are_counted_and_empty_ones_score() -> None:
    nothing, something = torch.zeros(1, *SIZE), box(2, 2, 9, 9)[None]
    frames = [
        make_frame("a1", torch.zeros(SIZE), nothing),
        make_frame("a2", torch.zeros(SIZE), something),
        make_frame("b1", box(2, 2, 9, 9), something),
        make_frame("b2", None, something),
    ]
    values = evaluate(frames).values
    assert [frame["dice"] for frame in values["frames"]] == [1, 0, 1]
    assert (values["n_frames"], values["n_skipped"], values["n_empty"]) == (3, 1, 2)
    assert values["dice"] == values["iou"] == pytest.approx(0.75)


def test_a_mirrored_set_and_another_order_give_the_same_numbers() -> None:
    frames = random_frames(12)
    mirrored = []
    for sample, prediction in reversed(frames):
        flipped: Sample = {**sample, "mask": sample["mask"].flip(-1)}
        mirrored.append((flipped, Prediction(**{**prediction, "maps": prediction["maps"].flip(-1)})))
    first, second = evaluate(frames).values, evaluate(mirrored).values
    for key in ("dice", "iou"):
        assert first[key] == pytest.approx(second[key])
    assert first["subjects"] == {name: pytest.approx(scores) for name, scores in second["subjects"].items()}


def test_maps_with_a_stride_are_brought_to_the_size_of_the_image() -> None:
    cells = torch.zeros(1, 3, 4)
    cells[0, 1, 1:3] = 1
    values = evaluate([make_frame("a", box(8, 8, 16, 24), cells, stride=8)]).values
    assert values["iou"] > 0.7  # only the corners are rounded off
    with pytest.raises(AnatomarkError, match=r"frame a: the map covers 12 x 16 px of an image of 24 x 32"):
        evaluate([make_frame("a", box(8, 8, 16, 24), cells, stride=4)])


def test_the_map_of_the_most_probable_class_counts() -> None:
    maps = torch.stack([box(0, 0, 5, 5), box(8, 8, 16, 24)])
    sample, prediction = make_frame("a", box(8, 8, 16, 24), maps)
    prediction["logits"] = torch.tensor([0.0, 1.0])
    assert evaluate([(sample, prediction)]).values["dice"] == 1
    with pytest.raises(AnatomarkError, match="has 2 maps that belong to no class"):
        evaluate([make_frame("a", box(8, 8, 16, 24), maps)])


def test_a_polar_frame_is_compared_in_the_frame_before() -> None:
    sample, _ = make_frame("a", None, torch.zeros(1, *SIZE))
    sample["frustum"] = {
        "apex": torch.tensor([16.0, -8.0]),
        "radii": torch.tensor([6.0, 34.0]),
        "half_angle": 0.7,
        "tilt": 0.0,
    }
    sample["mask"] = box(6, 10, 18, 22)[None]
    polar = ToPolar(height=96, width=96)(sample)
    perfect = Prediction(key="a", maps=polar["mask"])
    values = evaluate([(polar, perfect)]).values
    assert values["iou"] > 0.9
    everywhere = Prediction(key="a", maps=torch.ones(1, 96, 96))
    polar["cartesian"]["mask"] = torch.ones(1, *SIZE)
    assert 0.3 < evaluate([(polar, everywhere)]).values["iou"] < 0.95  # nothing is found outside the sector


def test_what_cannot_be_evaluated_is_refused() -> None:
    frame = make_frame("a", None, torch.zeros(1, *SIZE))
    with pytest.raises(AnatomarkError, match=r"no test frame to segment: 1 came, none with a mask; name mask files"):
        evaluate([frame])
    with pytest.raises(AnatomarkError, match="no test frame to segment: 0 came"):
        evaluate([])
    with pytest.raises(AnatomarkError, match=r"the map of frame a is not finite; training diverged, lower the"):
        evaluate([make_frame("a", box(0, 0, 5, 5), torch.full((1, *SIZE), math.nan))])
    for threshold in (0.0, 1.1, math.nan):
        with pytest.raises(AnatomarkError, match=r"threshold is .*; it must be above 0 and at most 1"):
            SegmentationEvaluator(threshold=threshold)
    with pytest.raises(AnatomarkError, match=r"n_examples is -1; it must be 0 \(no picture\) or more"):
        SegmentationEvaluator(n_examples=-1)


def panel(key: str) -> MaskPanel:
    zeros = np.zeros((2, 2))
    return MaskPanel(title=key, image=zeros.astype(np.float32), truth=zeros > 0, predicted=zeros > 0)


def test_the_picture_shows_the_best_the_middle_and_the_worst() -> None:
    examples = SegmentationExamples(n=2)
    for number in np.random.default_rng(0).permutation(51).tolist():
        examples.offer(f"{number}", number / 50, panel(f"{number}"))
    rows = {name: [shown.title for shown in row] for name, row in examples.rows().items()}
    assert rows == {"best": ["50", "49"], "median": ["25", "24"], "worst": ["1", "0"]}
    few = SegmentationExamples(n=2)
    for number in range(3):
        few.offer(f"{number}", number / 2, panel(f"{number}"))
    assert {name: [shown.title for shown in row] for name, row in few.rows().items()} == {
        "best": ["2", "1"],
        "worst": ["0"],
    }


def test_outlines_run_around_the_masks_and_close_at_the_border() -> None:
    frames = [
        make_frame("a", box(6, 8, 16, 24), box(0, 0, 24, 12)[None]),
        make_frame("b", torch.zeros(SIZE), torch.zeros(1, *SIZE)),
    ]
    (figure,) = evaluate(frames).figures.values()
    empty, shown = (axes for axes in figure.axes if axes.images)
    truth, predicted = (np.concatenate([p.vertices for p in c.get_paths()]) for c in shown.collections)
    assert [truth.min(0).tolist(), truth.max(0).tolist()] == [[7.5, 5.5], [23.5, 15.5]]
    assert [predicted.min(0).tolist(), predicted.max(0).tolist()] == [[-0.5, -0.5], [11.5, 23.5]]
    assert not empty.collections
    assert not evaluate(frames, n_examples=0).figures
