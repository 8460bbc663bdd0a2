import pytest
from landmark_streams import discovery, make_stream

from anatomark.types import AnatomarkError, Prediction, Sample


def broken(change: str) -> list[tuple[Sample, Prediction]]:
    stream = make_stream(4)
    sample, prediction = stream[1]
    match change:
        case "features":
            del prediction["features"]
        case "maps":
            prediction["maps"] = prediction["maps"].repeat(3, 1, 1)
        case "grid":
            prediction["features"] = prediction["features"][:, ::2, ::2]
        case "nan":
            prediction["features"][0, 0, 0] = float("nan")
        case "plane":
            sample["plane"] = "femur"
        case "twice":
            stream.append(stream[1])
        case "ellipse":
            for each, _ in stream:
                del each["ellipse"]
        case "train":
            for each, _ in stream:
                each["split"] = "train"
    return stream


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("features", "f001 has no `features`"),
        ("maps", "f001 has 3 maps"),
        ("grid", r"f001 has features on a \(14, 18\) grid and a map on \(28, 36\)"),
        ("nan", "f001 is not finite"),
        ("plane", "f001 shows plane femur, but `structures` lists TV"),
        ("twice", "f001 comes twice in run run"),
        ("ellipse", "plane TV: no frame .* an ellipse and a structure annotated"),
        ("train", "no frame outside the training split"),
    ],
)
def test_unusable_input_is_named(change: str, message: str) -> None:
    with pytest.raises(AnatomarkError, match=message):
        discovery()(broken(change))


def test_fit_on_train_without_training_frames_is_refused() -> None:
    with pytest.raises(AnatomarkError, match="run run, plane TV: `fit_on: train` needs predictions"):
        discovery(fit_on="train")(make_stream(4))


@pytest.mark.parametrize(
    "option",
    [
        {"threshold": 0.0},
        {"min_distance": 0},
        {"k_range": (1, 4)},
        {"k_range": (5, 4)},
        {"vote_fraction": 1.5},
        {"n_init": 0},
        {"min_vote_frames": 0},
        {"assignment": "best"},
        {"naming": "best"},
        {"fit_on": "val"},
        {"saliency_norm": "sum"},
        {"structures": {}},
        {"structures": {"TV": ["csp", "csp"]}},
    ],
)
def test_options_out_of_range_are_refused(option: dict[str, object]) -> None:
    with pytest.raises((AnatomarkError, TypeError), match=next(iter(option))):
        discovery(**option)
