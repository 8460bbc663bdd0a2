import json

import pytest
import torch
from landmark_streams import discovery, make_stream
from matplotlib.figure import Figure

from anatomark.evaluators.landmarks import LandmarksEvaluator
from anatomark.types import Prediction, Report, Sample


def evaluate(stream: list[tuple[Sample, Prediction]], **options: object) -> Report:
    return LandmarksEvaluator(discovery=discovery(**options), n_examples=3)(stream)


def test_rates_equal_a_count_by_hand() -> None:
    stream = make_stream(12)
    # Frame 0: names swapped, both wrong. Frame 1: LV annotated far off. Frame 2: both peaks look like LV.
    stream[0][1]["features"] = stream[0][1]["features"][[1, 0, 2, 3, 4, 5]]
    stream[1][0]["points"]["lv"] = stream[1][0]["points"]["lv"] + 60
    stream[2][1]["features"][1] += stream[2][1]["features"][0]
    stream[2][1]["features"][0] = 0
    # Frame 3 is wrong too, but without a head outline it does not count.
    stream[3][1]["features"] = stream[3][1]["features"][[1, 0, 2, 3, 4, 5]]
    del stream[3][0]["ellipse"]
    values = evaluate(stream).values
    one_right = stream[2][0]["key"] in {i["key"] for i in values["images"] if len(i["landmarks"]) == 1}
    assert one_right
    lost = values["images"][2]["landmarks"]
    truth = stream[2][0]["points"]["lv"].tolist()
    near = 8 * 2 + 1 + (abs(lost["lv"][0] - truth[0]) < 1)
    assert (values["n_frames"], values["n_complete"]) == (12, 11)
    assert values["landmarks_near_structure"] == pytest.approx(near / 21)
    assert values["structures_found"] == pytest.approx(near / 22)
    assert values["planes"]["TV"]["structures_found"] == values["structures_found"]


def test_near_ends_at_a_tenth_of_the_head_axis() -> None:
    for factor, expected in ((0.095, 1.0), (0.105, 0.75)):
        stream = make_stream(8)
        for sample, _ in stream[:4]:
            axis = 2 * float(sample["ellipse"]["semi_axes"][0])
            sample["points"]["csp"][1] += factor * axis
        assert evaluate(stream).values["landmarks_near_structure"] == expected


def test_values_are_plain_and_list_every_image() -> None:
    stream = make_stream(5, run="a") + make_stream(5, seed=1, run="b", prefix="g")
    report = evaluate(stream)
    values = json.loads(json.dumps(report.values, allow_nan=False))
    assert [image["key"] for image in values["images"]] == [s["key"] for s, _ in stream]
    assert [(g["run"], g["k"]) for g in values["groups"]] == [("a", 2), ("b", 2)]
    assert values["k"] == 2
    assert values["silhouette"] == pytest.approx(sum(g["silhouette"] for g in values["groups"]) / 2)
    assert all(g["structures_without_cluster"] == [] for g in values["groups"])
    x, y = values["images"][0]["landmarks"]["csp"]
    assert [x, y] == pytest.approx(stream[0][0]["points"]["csp"].tolist(), abs=0.05)


def test_a_structure_that_no_landmark_shows_is_reported() -> None:
    stream = make_stream(8)
    for sample, _ in stream:
        sample["points"]["lv"] = sample["points"]["lv"] + 70
    values = evaluate(stream).values
    assert values["groups"][0]["structures_without_cluster"] == ["lv"]
    assert values["landmarks_near_structure"] == 1.0
    assert values["structures_found"] == 0.5


def test_tables_and_figures_are_whole() -> None:
    report = evaluate(make_stream(6))
    for table in report.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert report.tables[0].rows[-1][:3] == ["Droste 2020, TV and TC (published)", 88.0, 77.1]
    figure = report.figures["Landmarks, TV"]
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 3 * 3
    labels = {text.get_text() for text in figure.axes[6].texts}
    assert labels == {"csp", "lv"}


def test_without_a_complete_frame_there_are_no_rates_and_no_pictures() -> None:
    train, test = make_stream(8, split="train"), make_stream(4, seed=1, split="test", prefix="t")
    for sample, _ in test:
        del sample["ellipse"]
    report = evaluate([*train, *test], fit_on="train")
    assert report.values["landmarks_near_structure"] is None
    assert report.values["structures_found"] is None
    assert report.figures == {}
    assert len(report.values["images"][0]["landmarks"]) == 2


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fit_on": "train", "assignment": "joint", "naming": "assigned", "k_choice": "named", "contrast": 0.1},
    ],
)
def test_three_structures_of_a_plane_without_a_head(options: dict[str, object]) -> None:
    names = ("csp", "lv", "cerebellum")
    stream = [
        frame
        for split, n in (("train", 10), ("test", 6))
        for frame in make_stream(n, seed=n, names=names, plane="AC", split=split, prefix=split)
    ]
    for _, prediction in stream:
        # As a classifier of two classes gives them.
        prediction["maps"] = torch.cat([prediction["maps"].flip(-1), prediction["maps"]])
        prediction["logits"] = torch.tensor([-1.0, 1.0])
    report = evaluate(stream, structures={"AC": list(names)}, **options)
    assert report.values["planes"].keys() == {"AC"}
    assert report.values["landmarks_near_structure"] == report.values["structures_found"] == 1
    assert [row[0] for row in report.tables[0].rows] == ["AC", "all planes"]
    assert "published" not in report.tables[0].note
    assert {text.get_text() for text in report.figures["Landmarks, AC"].axes[6].texts} == set(names)
