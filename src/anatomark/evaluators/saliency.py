"""Evaluator: does the network predict where people look? (Droste et al. 2020, table 1; Cai et al. 2018)"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from anatomark.evaluators.saliency_report import build_table, describe_conventions
from anatomark.evaluators.training_attention import TrainingAttention, target_density
from anatomark.metrics.auc import auc_borji, auc_shuffled
from anatomark.metrics.saliency import (
    density_scores,
    fixation_scores,
    has_fixation,
    ig,
    mean_over_subjects,
    sim,
    to_density,
    upsample,
)
from anatomark.report.map_figures import draw_maps
from anatomark.types import AnatomarkError, Pairs, Prediction, Report, Sample

TRAIN_SPLIT, TEST_SPLIT = "train", "test"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What frames share that are scored in one batch."""

    run: str
    image_size: tuple[int, int]
    has_gaze: bool


class SaliencyEvaluator:
    """Scores predicted maps against gaze, beside the mean training attention as prediction for every frame.

    The target is the density of a frame's fixations, or its ``attention`` map where it has no fixations; such
    frames are scored by KLD, CC and SIM only. Training frames of a run build its mean map, the baseline of
    the information gain and the negatives of the shuffled AUC; their predictions are not looked at. Frames
    that nobody looked at are skipped and counted. Scores are means over frames, then over subjects.

    Args:
        sigma: standard deviation of a fixation's Gaussian, px of the sample's image.
        baseline_floor: added to every pixel of the mean training density, which sums to 1, so that no
            fixation has zero probability under it.
        sim_min_max: stretch both maps to [0, 1] before SIM, as MIT's code does.
        n_negatives: negatives per frame of AUC-Borji and shuffled AUC.
        seed: seed of these draws.
        batch_size: frames scored at once.
        n_examples: frames in the picture.
    """

    splits = (TRAIN_SPLIT, TEST_SPLIT)

    def __init__(
        self,
        *,
        sigma: float = 9.0,
        baseline_floor: float = 1e-6,
        sim_min_max: bool = False,
        n_negatives: int = 10_000,
        seed: int = 0,
        batch_size: int = 16,
        n_examples: int = 6,
    ) -> None:
        self.sigma = sigma
        self.baseline_floor = baseline_floor
        self.sim_min_max = sim_min_max
        self.n_negatives = n_negatives
        self.seed = seed
        self.batch_size = batch_size
        self.n_examples = n_examples

    def __call__(self, pairs: Pairs) -> Report:
        """Evaluates a stream of frames.

        Args:
            pairs: per run the frames of split "train", then those of split "test"; other splits are ignored.

        Raises:
            AnatomarkError: test frames without training frames of their run, a map that does not cover its
                image, no frame to score.
        """
        training: dict[str, TrainingAttention] = {}
        scores = {"model": _Scores(), "baseline": _Scores()}
        examples: list[tuple[Sample, Prediction]] = []
        n_frames = n_skipped = 0
        subjects: set[str] = set()
        for kind, frames in self._batches(pairs, training):
            kept = [frame for frame in frames if _was_watched(frame[0])]
            n_skipped += len(frames) - len(kept)
            if not kept:
                continue
            if kind.run not in training:
                raise AnatomarkError(
                    f"run {kind.run!r}: no training frame came before test frame {kept[0][0]['key']}; the"
                    " mean map is made of them: predict the splits train and test, in this order"
                )
            names = [sample["subject"] for sample, _ in kept]
            for method, values in self._score(kept, kind, training[kind.run]).items():
                scores[method].add(values, names)
            n_frames += len(kept)
            subjects.update(names)
            examples += kept[: self.n_examples - len(examples)]
        if not n_frames:
            raise AnatomarkError(
                f"no test frame to score: {n_skipped} came, none with gaze on its image; check its units"
            )
        counts = {"n_frames": n_frames, "n_skipped": n_skipped, "n_subjects": len(subjects)}
        return self._report({method: s.means() for method, s in scores.items()}, counts, examples)

    def _batches(
        self, pairs: Pairs, training: dict[str, TrainingAttention]
    ) -> Iterator[tuple[_Kind, list[tuple[Sample, Prediction]]]]:
        """Yields batches of test frames of one kind; adds training frames to their run's on the way."""
        kind: _Kind | None = None
        frames: list[tuple[Sample, Prediction]] = []
        for sample, prediction in pairs:
            run, split = prediction.get("run", ""), sample.get("split", TEST_SPLIT)
            if split == TRAIN_SPLIT:
                training.setdefault(run, TrainingAttention(sigma=self.sigma)).add(sample)
            if split != TEST_SPLIT:
                continue
            new = _Kind(run=run, image_size=_image_size(sample), has_gaze="fixations" in sample)
            if kind is not None and (new != kind or len(frames) == self.batch_size):
                yield kind, frames
                frames = []
            kind = new
            frames.append((sample, prediction))
        if kind is not None:
            yield kind, frames

    def _score(
        self, frames: Sequence[tuple[Sample, Prediction]], kind: _Kind, training: TrainingAttention
    ) -> dict[str, dict[str, Float[Tensor, "b"]]]:
        """Scores of the model and of the baseline, by metric."""
        maps = torch.stack([_full_size_map(*frame) for frame in frames])
        target = torch.stack([target_density(sample, sigma=self.sigma) for sample, _ in frames])
        mean_map = to_density(training.mean_density(kind.image_size)[None] + self.baseline_floor)
        scores = {}
        for method, predicted in {"model": maps, "baseline": mean_map.expand_as(maps)}.items():
            scores[method] = density_scores(predicted, target)
            scores[method]["sim"] = sim(predicted, target, min_max=self.sim_min_max)
            if kind.has_gaze:
                fixations = pad_sequence([sample["fixations"] for sample, _ in frames], batch_first=True)
                pool = training.fixations(kind.image_size)
                scores[method] |= self._gaze_scores(predicted, fixations, mean_map[0], pool)
        return scores

    def _gaze_scores(
        self,
        maps: Float[Tensor, "b h w"],
        fixations: Float[Tensor, "b n 3"],
        mean_map: Float[Tensor, "h w"],
        pool: Float[Tensor, "p 3"],
    ) -> dict[str, Float[Tensor, "b"]]:
        draws = {"n_negatives": self.n_negatives, "seed": self.seed}
        scores = fixation_scores(maps, fixations)
        scores["ig"] = ig(maps, fixations, mean_map)
        scores["auc_borji"] = auc_borji(maps, fixations, **draws)
        if len(pool):
            scores["auc_shuffled"] = auc_shuffled(maps, fixations, pool, **draws)
        return scores

    def _report(
        self,
        means: dict[str, dict[str, float]],
        counts: dict[str, int],
        examples: list[tuple[Sample, Prediction]],
    ) -> Report:
        conventions = describe_conventions(
            sigma=self.sigma,
            baseline_floor=self.baseline_floor,
            sim_min_max=self.sim_min_max,
            n_negatives=self.n_negatives,
            seed=self.seed,
        )
        note = (
            f"{counts['n_frames']} frames of {counts['n_subjects']} subjects, {counts['n_skipped']} without"
            " fixation skipped; means over frames, then subjects."
        )
        return Report(
            name="saliency",
            title="Saliency",
            values={**means, **counts, "conventions": conventions},
            tables=[build_table(means, note)],
            figures={"Predicted attention and gaze": draw_maps(examples)} if examples else {},
        )


class _Scores:
    """Collects values per metric with the subject of every frame."""

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = defaultdict(list)
        self._subjects: dict[str, list[str]] = defaultdict(list)

    def add(self, scores: dict[str, Float[Tensor, "b"]], subjects: Sequence[str]) -> None:
        for metric, values in scores.items():
            self._values[metric].append(values)
            self._subjects[metric] += subjects

    def means(self) -> dict[str, float]:
        means = {}
        for metric, values in self._values.items():
            number = {subject: i for i, subject in enumerate(sorted(set(self._subjects[metric])))}
            groups = torch.tensor([number[subject] for subject in self._subjects[metric]])
            means[metric] = mean_over_subjects(torch.cat(values)[:, None].double(), groups).item()
        return means


def _image_size(sample: Sample) -> tuple[int, int]:
    height, width = sample["image"].shape[-2:]
    return height, width


def _was_watched(sample: Sample) -> bool:
    if "fixations" in sample:
        return bool(has_fixation(sample["fixations"][None], _image_size(sample)))
    return "attention" in sample and bool(sample["attention"].any())


def _full_size_map(sample: Sample, prediction: Prediction) -> Float[Tensor, "h w"]:
    cells, size = prediction["maps"], _image_size(sample)
    if len(cells) != 1:
        raise AnatomarkError(
            f"the prediction of frame {sample['key']} has {len(cells)} maps; saliency is one map per frame, use a model"
            " with one output map"
        )
    stride = prediction.get("map_stride", 1)
    covered = (cells.shape[1] * stride, cells.shape[2] * stride)
    if covered != size:
        raise AnatomarkError(
            f"frame {sample['key']}: the map covers {covered[0]} x {covered[1]} px of an image of"
            f" {size[0]} x {size[1]} px (height x width); evaluate with the data the map was predicted on"
        )
    return upsample(cells.float(), size)[0]
