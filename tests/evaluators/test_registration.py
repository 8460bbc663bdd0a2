import json
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from landmark_streams import HEIGHT, WIDTH, discovery, feature, make_prediction, make_stream
from matplotlib.figure import Figure
from registration_engines import CentroidShift, Fails, FindsNothing

from anatomark.evaluators.registration import RegistrationEvaluator
from anatomark.registration.engine import Engine
from anatomark.registration.keypoints import KeypointRansac
from anatomark.types import AnatomarkError, Prediction, Report, Sample

Stream = list[tuple[Sample, Prediction]]
NAMES = ["csp", "lv", "hc_center"]


def evaluate(stream: Stream, engines: Mapping[str, Engine] | None = None, **options: object) -> Report:
    evaluator = RegistrationEvaluator(
        discovery=discovery(),
        engines=engines,
        n_examples=2,
        **options,  # type: ignore[arg-type]
    )
    return evaluator(stream)


def draw_heads(stream: Stream) -> Stream:
    """Gives every frame an image: a bright disc at the CSP, so that its centre of mass is the CSP."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    for sample, _ in stream:
        cx, cy = sample["points"]["csp"]
        sample["image"] = torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 9.0**2))[None]
    return stream


def means(values: dict[str, dict[str, dict[str, float]]], method: str) -> list[float]:
    return [values[method][name]["mean"] for name in NAMES]


def test_true_landmarks_register_similar_heads_exactly() -> None:
    values = evaluate(make_stream(9)).values["planes"]["TV"]
    assert {k: values[k] for k in ("n_images", "n_images_aligned", "n_images_strict", "n_pairs")} == {
        "n_images": 9,
        "n_images_aligned": 9,
        "n_images_strict": 9,
        "n_pairs": 36,
    }
    assert values["unit"] == "percent of the target's HC long axis"
    assert (values["share_aligned"], values["share_strict"]) == (1.0, 1.0)
    assert list(values["errors"]) == ["none", "left_right", "salient"]
    assert list(values["errors"]["salient"]) == NAMES
    assert max(means(values["errors"], "salient")) < 0.05
    assert min(means(values["errors"], "left_right")) > 1
    assert means(values["errors"], "none")[0] > 2 * means(values["errors"], "left_right")[0]


def test_shares_and_blocks_count_incomplete_aligned_and_strict_frames() -> None:
    stream = make_stream(12)
    del stream[0][0]["ellipse"]
    # Frame 1 keeps one landmark: both of its peaks look like the LV.
    stream[1][1]["features"][1] += stream[1][1]["features"][0]
    stream[1][1]["features"][0] = 0
    # Frames 2 and 3 are aligned by swapped landmarks.
    for _, prediction in stream[2:4]:
        prediction["features"] = prediction["features"][[1, 0, 2, 3, 4, 5]]
    values = evaluate(stream).values["planes"]["TV"]
    assert (values["n_frames"], values["n_images"], values["n_images_aligned"]) == (12, 11, 10)
    assert (values["share_aligned"], values["share_strict"]) == (
        pytest.approx(10 / 11),
        pytest.approx(8 / 11),
    )
    assert (values["n_pairs"], values["n_pairs_strict"]) == (45, 28)
    assert values["errors_strict"]["none"]["csp"]["n"] == 28
    assert max(means(values["errors_strict"], "salient")) < 0.05
    assert max(means(values["errors"], "salient")) > 5


def test_every_method_is_scored_on_the_same_subset_of_pairs() -> None:
    stream = draw_heads(make_stream(8))
    limited = evaluate(stream, {"centroid": CentroidShift()}, max_pairs=10, seed=3).values["planes"]["TV"]
    again = evaluate(stream, {"centroid": CentroidShift()}, max_pairs=10, seed=3).values["planes"]["TV"]
    other = evaluate(stream, {"centroid": CentroidShift()}, max_pairs=10, seed=4).values["planes"]["TV"]
    everything = evaluate(stream).values["planes"]["TV"]
    assert limited == again
    assert limited["errors"]["none"] != other["errors"]["none"]
    assert (limited["n_pairs"], limited["n_pairs_all"]) == (10, 28)
    assert {entry["n"] for by_name in limited["errors"].values() for entry in by_name.values()} == {10}
    assert limited["errors_all_pairs"] == everything["errors"] == everything["errors_all_pairs"]


def test_an_engine_gets_the_images_and_its_map_is_scored() -> None:
    values = evaluate(draw_heads(make_stream(6)), {"centroid": CentroidShift()}).values["planes"]["TV"]
    assert list(values["errors"]) == ["none", "left_right", "centroid", "salient"]
    assert values["errors"]["centroid"]["csp"]["mean"] < 0.2
    assert values["errors"]["centroid"]["lv"]["mean"] > values["errors"]["left_right"]["lv"]["mean"]
    assert values["n_failed"] == {"none": 0, "left_right": 0, "salient": 0, "centroid": 0}


def test_an_oriented_engine_starts_from_the_mirrored_source() -> None:
    stream = draw_heads(make_stream(6))
    engines = {"centroid": CentroidShift(), "left_right_intensity": CentroidShift()}
    errors = evaluate(stream, engines).values["planes"]["TV"]["errors"]
    assert errors["left_right_intensity"]["csp"]["mean"] < 0.2
    # With the CSP in place, only the orientation can bring the LV closer.
    assert errors["left_right_intensity"]["lv"]["mean"] < 0.5 * errors["centroid"]["lv"]["mean"]


def test_pairs_without_a_map_keep_their_start_and_are_counted() -> None:
    stream = draw_heads(make_stream(5))
    stream[-1][0]["image"][0, 0, 0] = 1
    values = evaluate(stream, {"sift": FindsNothing()}).values["planes"]["TV"]
    assert values["n_failed"]["sift"] == 6
    assert values["errors"]["sift"]["csp"]["n"] == values["errors"]["none"]["csp"]["n"] == 10
    never = evaluate(draw_heads(make_stream(5)), {"sift": FindsNothing()})
    errors = never.values["planes"]["TV"]["errors"]
    assert errors["sift"] == errors["none"]
    assert never.values["errors"]["sift"]["csp"]["mean"] == pytest.approx(errors["sift"]["csp"]["mean"])
    json.dumps(never.values, allow_nan=False)


def test_worker_processes_change_nothing() -> None:
    stream, engines = draw_heads(make_stream(4)), {"left_right_intensity": CentroidShift()}
    assert evaluate(stream, engines, workers=1).values == evaluate(stream, engines).values


def test_an_engine_that_refuses_its_input_stops_the_evaluation() -> None:
    with pytest.raises(AnatomarkError, match="not installed"):
        evaluate(draw_heads(make_stream(4)), {"sift": Fails()})


def test_real_engines_find_a_small_shift() -> None:
    stream = make_stream(2)
    rng = torch.Generator().manual_seed(0)
    scene = torch.nn.functional.avg_pool2d(torch.rand(1, HEIGHT + 40, WIDTH + 40, generator=rng), 9, 1, 4)
    for (sample, prediction), shift in zip(stream, (0, 6), strict=True):
        sample["image"] = scene[:, 20 : 20 + HEIGHT, 20 - shift : 20 - shift + WIDTH]
        sample["points"] = {
            "csp": torch.tensor([100.0 + shift, 90.0]),
            "lv": torch.tensor([180.0 + shift, 120.0]),
        }
        sample["ellipse"] = {**stream[0][0]["ellipse"], "centre": torch.tensor([140.0 + shift, 100.0])}
        blobs = [(complex(*sample["points"][n].tolist()), 1.0, feature(n)) for n in ("csp", "lv")]
        prediction |= make_prediction(prediction["key"], blobs, np.random.default_rng(0))
    errors = evaluate(stream, {"sift": KeypointRansac(detector="sift")}).values["planes"]["TV"]["errors"]
    assert errors["none"]["csp"]["mean"] > 2
    assert all(errors["sift"][name]["mean"] < 0.5 for name in NAMES)


def test_planes_are_apart_and_runs_are_pooled() -> None:
    tv = make_stream(5, run="a") + make_stream(4, seed=1, run="b", prefix="g", permutation=[5, 3, 1, 0, 2, 4])
    tc = make_stream(4, seed=2, names=("csp", "cerebellum"), plane="TC", run="a", prefix="h")
    evaluator = RegistrationEvaluator(
        discovery=discovery(structures={"TV": ["csp", "lv"], "TC": ["csp", "cerebellum"]})
    )
    planes = evaluator([*tv, *tc]).values["planes"]
    assert {plane: values["n_pairs"] for plane, values in planes.items()} == {"TC": 6, "TV": 36}
    assert list(planes["TC"]["errors"]["salient"]) == ["csp", "cerebellum", "hc_center"]
    assert all(v["errors"]["salient"][n]["mean"] < 0.05 for v in planes.values() for n in ("csp", "hc_center"))


def test_one_frame_in_two_runs_is_refused() -> None:
    with pytest.raises(AnatomarkError, match="f000 was predicted by the runs a and b"):
        evaluate(make_stream(4, run="a") + make_stream(4, run="b"))


def test_without_pairs_the_report_is_still_whole() -> None:
    stream = make_stream(6)
    for sample, _ in stream[1:]:
        del sample["points"]["lv"]
    report = evaluate(stream)
    values = report.values["planes"]["TV"]
    assert (values["n_images"], values["n_pairs"]) == (1, 0)
    assert values["errors"]["salient"]["csp"]["mean"] is None
    assert report.figures == {}
    json.dumps(report.values, allow_nan=False)


def test_tables_quote_the_paper_and_figures_show_pairs() -> None:
    report = evaluate(make_stream(5))
    table = report.tables[0]
    assert all(len(row) == len(t.columns) for t in report.tables for row in t.rows)
    published = next(row for row in table.rows if row[0] == "salient, Droste 2020 (published)")
    assert [published[i] for i in (1, 3, 5)] == [9.8, 4.1, 7.1]
    ours = next(row for row in table.rows if row[0] == "salient")
    assert ours[1] == report.values["planes"]["TV"]["errors"]["salient"]["csp"]["mean"]
    grid, distribution = report.figures.values()
    assert isinstance(grid, Figure)
    assert (len(grid.axes), len(distribution.axes)) == (4 * 2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_pairs": 0}, "max_pairs"),
        ({"workers": -1}, "workers"),
        ({"engines": {"salient": CentroidShift()}}, "built in"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(AnatomarkError, match=message):
        RegistrationEvaluator(discovery=discovery(), **options)  # type: ignore[arg-type]


def test_three_structures_are_refused() -> None:
    with pytest.raises(AnatomarkError, match="lists 3 for plane TV"):
        RegistrationEvaluator(discovery=discovery(structures={"TV": ["csp", "lv", "cerebellum"]}))
