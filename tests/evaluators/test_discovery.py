import math

import numpy as np
import pytest
import torch
from landmark_streams import (
    CENTRES,
    HEIGHT,
    WIDTH,
    Head,
    discovery,
    feature,
    make_prediction,
    make_sample,
    make_stream,
)

from anatomark.evaluators.discovery import Discovery
from anatomark.types import AnatomarkError, Prediction, Sample

TV_TC = {"TV": ["csp", "lv"], "TC": ["csp", "cerebellum"]}


def points(found: Discovery) -> dict[str, dict[str, tuple[float, float]]]:
    return {frame.key: frame.points for frame in found.frames}


def assert_at_truth(found: Discovery, *, px: float = 0.05) -> None:
    for frame in found.frames:
        assert set(frame.points) == set(frame.structures)
        for name, point in frame.points.items():
            assert math.dist(point, frame.centres[name]) < px


@pytest.mark.parametrize("assignment", ["independent", "joint"])
def test_landmarks_are_found_at_the_truth_to_sub_pixel(assignment: str) -> None:
    found = discovery(assignment=assignment)(make_stream(12))
    assert_at_truth(found)
    assert [g.clustering.k for g in found.groups] == [2]
    assert all(frame.complete and frame.aligned and frame.strict for frame in found.frames)


def test_boxes_serve_as_centres_where_there_is_no_point() -> None:
    stream = make_stream(4)
    for sample, _ in stream:
        x, y = sample["points"].pop("csp").tolist()
        sample["boxes"] = {"csp": torch.tensor([x - 9, y - 4, x + 9, y + 4])}
    assert_at_truth(discovery()(stream))


def test_the_order_of_the_stream_does_not_matter() -> None:
    stream = make_stream(10)
    assert discovery()(stream) is not None
    assert points(discovery()(stream)) == points(discovery()(stream[::-1]))


def test_runs_with_permuted_feature_spaces_agree() -> None:
    first = make_stream(8, run="a", prefix="a")
    second = make_stream(8, seed=1, run="b", prefix="b")
    permuted = make_stream(8, seed=1, run="b", prefix="b", permutation=[3, 0, 5, 4, 1, 2])
    pooled = discovery()([*first, *permuted])
    assert points(pooled) == points(discovery()([*first, *second]))
    assert [g.run for g in pooled.groups] == ["a", "b"]
    assert_at_truth(pooled)


def test_planes_are_matched_apart_or_together() -> None:
    stream = make_stream(8) + make_stream(8, seed=1, names=("csp", "cerebellum"), plane="TC", prefix="g")
    apart = discovery(structures=TV_TC)(stream)
    together = discovery(structures=TV_TC, joint_planes=True)(stream)
    assert [(g.planes, g.clustering.k) for g in apart.groups] == [(("TC",), 2), (("TV",), 2)]
    assert [(g.planes, g.clustering.k) for g in together.groups] == [(("TC", "TV"), 3)]
    assert_at_truth(apart)
    assert_at_truth(together)


def test_a_faint_map_needs_the_division_by_its_maximum() -> None:
    stream = make_stream(6)
    expected = points(discovery()(stream))
    for _, prediction in stream:
        prediction["maps"] = prediction["maps"] * 2.0**-7
    assert points(discovery()(stream)) == expected
    with pytest.raises(AnatomarkError, match="no landmark at all"):
        discovery(saliency_norm="none")(stream)


def test_feature_length_matters_only_without_normalisation() -> None:
    stream = make_stream(10)
    for index, (_, prediction) in enumerate(stream):
        prediction["features"] = prediction["features"] * (1 if index % 2 else 30)
    assert_at_truth(discovery(normalise_features=True)(stream))
    assert not all(frame.aligned for frame in discovery()(stream).frames)


def with_clutter(n: int) -> list[tuple[Sample, Prediction]]:
    """Frames with a third peak, of its own kind, outside the head."""
    rng, stream = np.random.default_rng(5), []
    for index in range(n):
        head = Head(rng)
        centres = {name: head.place(CENTRES[name]) for name in ("csp", "lv")}
        blobs = [(z, 0.8, feature(name)) for name, z in centres.items()] + [(20 + 20j, 1.0, feature("clutter"))]
        sample = make_sample(f"f{index}", centres, ellipse=head.ellipse())
        stream.append((sample, make_prediction(f"f{index}", blobs, rng)))
    return stream


def test_a_cluster_near_nothing_stays_unnamed() -> None:
    found = discovery()(with_clutter(8))
    assert sorted(found.groups[0].names, key=str) == [None, "csp", "lv"]
    assert_at_truth(found)
    for frame in found.frames:
        assert frame.peaks[0].structure is None
        assert len(frame.peaks) == 3


def test_a_structure_that_was_not_annotated_is_no_vote_against_it() -> None:
    stream = make_stream(25)
    for sample, _ in stream[:14]:
        del sample["points"]["csp"]
    found = discovery(naming="majority", vote_fraction=1.0)(stream)
    assert sorted(found.groups[0].names, key=str) == ["csp", "lv"]


def test_two_clusters_of_one_structure_share_its_name() -> None:
    rng, stream = np.random.default_rng(6), []
    for index in range(12):
        head = Head(rng)
        centres = {name: head.place(CENTRES[name]) for name in ("csp", "lv")}
        kind = "csp" if index % 2 else "clutter"
        blobs = [(centres["csp"], 0.8, feature(kind)), (centres["lv"], 0.9, feature("lv"))]
        sample = make_sample(f"f{index:02d}", centres, ellipse=head.ellipse())
        stream.append((sample, make_prediction(f"f{index:02d}", blobs, rng)))
    found = discovery()(stream)
    assert sorted(found.groups[0].names, key=str) == ["csp", "csp", "lv"]
    np.testing.assert_allclose(
        found.groups[0].centroids["csp"], (np.array(feature("csp")) + feature("clutter")) / 2, atol=0.05
    )
    assert_at_truth(found)


def test_features_of_the_other_structure_swap_the_names() -> None:
    stream = make_stream(11)
    stream[3][1]["features"] = stream[3][1]["features"][[1, 0, 2, 3, 4, 5]]
    found = discovery()(stream)
    swapped = found.frames[3]
    assert math.dist(swapped.points["csp"], swapped.centres["lv"]) < 0.05
    assert (swapped.n_near, swapped.aligned, swapped.strict) == (0, True, False)


def test_two_peaks_of_one_structure_keep_the_higher() -> None:
    stream, rng = make_stream(8), np.random.default_rng(1)
    head = Head(rng)
    blobs = [
        (head.place(CENTRES["csp"]), 0.7, feature("csp")),
        (head.place(CENTRES["lv"]), 1.0, feature("csp")),
    ]
    sample = make_sample("x", {}, ellipse=None)
    found = discovery()([*stream, (sample, make_prediction("x", blobs, rng))])
    extra = found.frames[-1]
    assert set(extra.points) == {"csp"}
    assert math.dist(extra.points["csp"], (head.place(CENTRES["lv"]).real, head.place(CENTRES["lv"]).imag)) < 0.05
    assert not extra.aligned


def test_a_frame_without_a_peak_is_reported_without_landmarks() -> None:
    flat = make_prediction("flat", [], np.random.default_rng(0))
    found = discovery()([*make_stream(6), (make_sample("flat", {}, ellipse=None), flat)])
    assert found.frames[-1].key == "flat"
    assert found.frames[-1].points == {}
    assert found.frames[-1].peaks == []


def test_fit_on_train_uses_no_annotation_of_a_reported_frame() -> None:
    train, test = make_stream(10, split="train"), make_stream(5, seed=1, split="test", prefix="t")
    fit = discovery(fit_on="train", assignment="joint")
    assert fit.splits == ("train", "test")
    expected = points(fit([*train, *test]))
    assert_at_truth(fit([*train, *test]))
    assert sorted(expected) == [f"t{i:03d}" for i in range(5)]
    for sample, _ in test:
        sample["points"]["csp"], sample["points"]["lv"] = sample["points"]["lv"], sample["points"]["csp"]
    assert points(fit([*train, *test])) == expected
    for sample, _ in test:
        del sample["points"], sample["ellipse"]
    assert points(fit([*train, *test])) == expected


def test_fit_on_test_skips_training_frames() -> None:
    train, test = make_stream(6, split="train"), make_stream(6, seed=1, split="test", prefix="t")
    for _, prediction in train:
        prediction["features"].fill_(float("nan"))
    assert discovery().splits == ("test",)
    assert points(discovery()([*train, *test])) == points(discovery()(test))


def test_votes_come_from_the_seeded_share_of_annotated_frames() -> None:
    stream = make_stream(30)
    assert discovery(vote_fraction=0.5).__call__(stream).groups[0].n_vote_frames == 15
    assert discovery()(stream).groups[0].n_vote_frames == 10
    assert discovery(min_vote_frames=2)(stream).groups[0].n_vote_frames == 3
    assert discovery()(stream[:4]).groups[0].n_vote_frames == 4


def test_images_are_kept_of_complete_frames_only() -> None:
    stream = make_stream(6)
    del stream[0][0]["ellipse"], stream[1][0]["points"]["lv"]
    stream[2][0]["image"] = torch.linspace(-3, 2, HEIGHT * WIDTH).view(1, HEIGHT, WIDTH).repeat(3, 1, 1)
    frames = discovery()(stream).frames
    assert [frame.complete for frame in frames] == [False, False, True, True, True, True]
    assert [frame.image is not None for frame in frames] == [frame.complete for frame in frames]
    assert frames[2].image is not None
    assert (frames[2].image.min(), frames[2].image.max()) == (0, 255)


def test_a_missing_plane_is_refused_only_where_it_is_ambiguous() -> None:
    stream = make_stream(4)
    for sample, _ in stream:
        del sample["plane"]
    assert_at_truth(discovery()(stream))
    with pytest.raises(AnatomarkError, match="f000 names no plane"):
        discovery(structures=TV_TC)(stream)
