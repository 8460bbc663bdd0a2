"""The saliency evaluator against values computed frame by frame."""

import json
import math

import pytest
import torch

from anatomark.evaluators.saliency import SaliencyEvaluator
from anatomark.geometry.attention import render_density
from anatomark.metrics.auc import auc_judd, auc_shuffled
from anatomark.metrics.saliency import cc, ig, kld, nss, upsample
from anatomark.types import AnatomarkError

SIZE, STRIDE = (32, 48), 8
SIGMA = 4.0


def make_frame(key, subject, split, *, seed, run="r", gaze=True, size=SIZE):
    """A frame whose prediction is near its gaze."""
    rng = torch.Generator().manual_seed(seed)
    scale = torch.tensor([size[1] - 1.0, size[0] - 1.0, 300.0])
    fixations = torch.rand(4 + seed % 3, 3, generator=rng) * scale
    sample = {
        "key": key,
        "subject": subject,
        "split": split,
        "image": torch.rand(1, *size, generator=rng),
        "spacing_mm": torch.full((2,), math.nan),
        "fixations": fixations if gaze else torch.zeros(0, 3),
    }
    near = render_density(fixations[None], size=size, sigma=8.0, stride=STRIDE)
    return sample, {"key": key, "maps": near / near.max(), "map_stride": STRIDE, "run": run}


def make_stream(run="r", offset=0):
    frames = [make_frame(f"t{i}", f"s{i}", "train", seed=offset + i, run=run) for i in range(5)]
    frames += [make_frame(f"v{i}", "val", "val", seed=50 + i, run=run) for i in range(2)]
    tests = [("a", 0), ("b", 1), ("b", 2), ("b", 3)]
    frames += [make_frame(f"e{i}", s, "test", seed=offset + 20 + i, run=run) for s, i in tests]
    return [*frames, make_frame("empty", "c", "test", seed=99, run=run, gaze=False)]


def evaluator(**settings):
    return SaliencyEvaluator(sigma=SIGMA, **settings)


def average(values):
    """Mean over the one frame of subject a and the three of subject b."""
    return (values[0] + sum(values[1:]) / 3) / 2


def test_values_are_means_over_frames_then_subjects():
    stream = make_stream()
    report = evaluator()(iter(stream))
    tests = [(s, p) for s, p in stream if s["split"] == "test" and len(s["fixations"])]
    training = [s["fixations"] for s, _ in stream if s["split"] == "train"]
    mean = torch.stack([render_density(f[None], size=SIZE, sigma=SIGMA)[0] for f in training]).mean(0)
    floored = mean / mean.max() + 1e-6
    mean_map = floored / floored.sum()
    expected = {"model": {}, "baseline": {}}
    rows = {name: {m: [] for m in ("kld", "cc", "nss", "auc_judd", "ig", "auc_shuffled")} for name in expected}
    for sample, prediction in tests:
        f = sample["fixations"][None]
        target = render_density(f, size=SIZE, sigma=SIGMA)
        for name, p in {"model": upsample(prediction["maps"], SIZE), "baseline": mean_map[None]}.items():
            rows[name]["kld"].append(kld(p, target).item())
            rows[name]["cc"].append(cc(p, target).item())
            rows[name]["nss"].append(nss(p, f).item())
            rows[name]["auc_judd"].append(auc_judd(p, f).item())
            rows[name]["ig"].append(ig(p, f, mean_map).item())
            rows[name]["auc_shuffled"].append(auc_shuffled(p, f, torch.cat(training)).item())
    for name, metrics in rows.items():
        for metric, values in metrics.items():
            assert report.values[name][metric] == pytest.approx(average(values), abs=1e-5), (name, metric)
    assert report.values["baseline"]["ig"] == pytest.approx(0, abs=1e-6)
    assert {k: report.values[k] for k in ("n_frames", "n_skipped", "n_subjects")} == {
        "n_frames": 4,
        "n_skipped": 1,
        "n_subjects": 2,
    }


def test_a_map_near_the_gaze_beats_the_mean_map():
    values = evaluator()(make_stream()).values
    for metric, better in {
        "kld": -1,
        "cc": 1,
        "sim": 1,
        "nss": 1,
        "auc_judd": 1,
        "ig": 1,
        "auc_shuffled": 1,
    }.items():
        assert better * values["model"][metric] > better * values["baseline"][metric], metric


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_do_not_matter(batch_size):
    whole, parts = evaluator()(make_stream()).values, evaluator(batch_size=batch_size)(make_stream()).values
    for name in ("model", "baseline"):
        assert parts[name] == pytest.approx(whole[name], abs=1e-6)


def test_every_run_has_its_own_mean_map():
    """Pooled folds: a frame of one run's test split may be a training frame of another."""
    first, second = make_stream("a"), make_stream("b", offset=200)
    pooled = evaluator()(first + second).values
    alone = [evaluator()(stream).values for stream in (first, second)]
    for metric, value in pooled["baseline"].items():
        # Subjects have as many frames in either run, so the pooled mean is the mean of the two.
        assert value == pytest.approx((alone[0]["baseline"][metric] + alone[1]["baseline"][metric]) / 2, abs=1e-6)
    assert pooled["n_frames"] == 8


def test_training_predictions_and_validation_frames_do_not_matter():
    stream = make_stream()
    plain = evaluator()(stream).values
    unpredicted = [(s, p if s["split"] == "test" else None) for s, p in stream if s["split"] != "val"]
    assert evaluator()(unpredicted).values == plain
    assert (evaluator().splits, evaluator().sample_splits) == (("test",), ("train",))


def test_a_prediction_of_several_maps_is_refused():
    stream = make_stream()
    for _, prediction in stream:
        prediction["maps"] = prediction["maps"].repeat(2, 1, 1)
    with pytest.raises(AnatomarkError, match="has 2 maps that belong to no class"):
        evaluator()(stream)


def test_of_a_classifier_the_map_of_the_most_probable_class_counts():
    stream, expected = make_stream(), evaluator()(make_stream()).values
    for _, prediction in stream:
        prediction["maps"] = torch.cat([torch.rand(1, *prediction["maps"].shape[1:]), prediction["maps"]])
        prediction["logits"] = torch.tensor([0.3, 0.9])
    assert evaluator()(stream).values == expected


def test_subjects_and_folds_are_reported_for_a_paired_test():
    first, second = make_stream("a"), make_stream("b", offset=200)
    values = evaluator()(first + second).values
    alone = [evaluator()(stream).values for stream in (first, second)]
    assert [fold["run"] for fold in values["folds"]] == ["a", "b"]
    for fold, single in zip(values["folds"], alone, strict=True):
        assert {key: fold[key] for key in ("model", "baseline", "n_frames", "n_skipped", "n_subjects")} == {
            key: single[key] for key in ("model", "baseline", "n_frames", "n_skipped", "n_subjects")
        }
    assert values["subjects"].keys() == {"a", "b"}
    for metric in ("ig", "cc", "nss", "sim", "auc_judd"):
        means = [subject[metric] for subject in values["subjects"].values()]
        assert values["model"][metric] == pytest.approx(sum(means) / 2)
        of_folds = [single["model"][metric] for single in alone]
        assert values["fold_mean"][metric] == pytest.approx(sum(of_folds) / 2)
        assert values["fold_sd"][metric] == pytest.approx(abs(of_folds[0] - of_folds[1]) / math.sqrt(2))
    assert "fold_mean" not in alone[0]


def test_a_run_without_training_frames_does_not_borrow_those_of_another():
    first = make_stream("a")
    second = [frame for frame in make_stream("b", offset=200) if frame[0]["split"] == "test"]
    with pytest.raises(AnatomarkError, match="run 'b': no training frame came before test frame e0"):
        evaluator()(first + second)


def test_attention_maps_instead_of_fixations():
    stream = make_stream()[:-1]
    from_gaze = evaluator()(stream).values
    for sample, _ in stream:
        density = render_density(sample.pop("fixations")[None], size=SIZE, sigma=SIGMA)
        sample["attention"] = density / density.max()
    values = evaluator()(stream).values
    assert set(values["model"]) == {"kld", "cc", "sim"}
    for metric in ("kld", "cc", "sim"):
        assert values["model"][metric] == pytest.approx(from_gaze["model"][metric], abs=1e-5)


def test_frames_of_several_sizes():
    stream = make_stream()
    stream.insert(3, make_frame("big", "s9", "train", seed=7, size=(64, 96)))
    stream.append(make_frame("large", "d", "test", seed=40, size=(64, 96)))
    values = evaluator()(stream).values
    assert values["n_subjects"] == 3
    assert all(math.isfinite(v) for name in ("model", "baseline") for v in values[name].values())


def test_sim_option_changes_sim_only():
    plain, stretched = evaluator()(make_stream()).values, evaluator(sim_min_max=True)(make_stream()).values
    changed = {m for m in plain["model"] if plain["model"][m] != stretched["model"][m]}
    assert changed == {"sim"}


def test_report_is_plain_and_has_the_published_numbers():
    report = evaluator()(make_stream())
    json.dumps(report.values, allow_nan=False)
    table = report.tables[0]
    assert all(len(row) == len(table.columns) for row in table.rows)
    published = next(row for row in table.rows if row[0].startswith("network, Droste"))
    assert published[1:6] == [2.43, 4.03, 96.7, 31.6, 18.5]
    assert len(report.figures) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda s: [f for f in s if f[0]["split"] != "train"],
            "run 'r': no training frame came before test frame e0",
        ),
        (lambda s: [f for f in s if f[0]["split"] == "train"], "no test frame to score"),
        (
            lambda s: [f for f in s if f[0]["split"] == "train" or f[0]["key"] == "empty"],
            "1 came, none with gaze",
        ),
        (
            lambda s: [(a, b | {"map_stride": 4}) for a, b in s],
            "frame e0: the map covers 16 x 24 px of an image of 32",
        ),
        (
            lambda s: [(a | ({"fixations": torch.zeros(0, 3)} if a["split"] == "train" else {}), b) for a, b in s],
            "gaze",
        ),
    ],
)
def test_bad_streams_are_named_in_one_line(change, problem):
    with pytest.raises(AnatomarkError, match=problem) as error:
        evaluator()(change(make_stream()))
    assert "\n" not in str(error.value)
