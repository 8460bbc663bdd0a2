"""Evaluator: does the network predict where people look? (Droste et al. 2020, table 1; Cai et al. 2018)"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from anatomark.evaluators.folds import spread
from anatomark.evaluators.maps import full_size_map, main_map
from anatomark.evaluators.saliency_report import WEIGHTING_TEXT, build_tables, describe_conventions
from anatomark.evaluators.saliency_scores import FrameScores
from anatomark.evaluators.training_attention import TrainingAttention, target_density
from anatomark.geometry.attention import Weighting
from anatomark.geometry.fixations import has_fixation
from anatomark.metrics.auc import auc_borji, auc_shuffled
from anatomark.metrics.saliency import (
    density_scores,
    fixation_scores,
    ig,
    sim,
    to_density,
)
from anatomark.report.map_figures import draw_maps
from anatomark.types import AnatomarkError, Prediction, Report, Sample

TRAIN_SPLIT, TEST_SPLIT = "train", "test"

Frames = Iterable[tuple[Sample, Prediction | None]]
"""Frames of splits that are sampled but not predicted come with None."""


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What frames share that are scored in one batch."""

    run: str
    training: TrainingAttention | None
    image_size: tuple[int, int]
    has_gaze: bool


class SaliencyEvaluator:
    """Scores predicted maps against gaze, beside the mean training attention as prediction for every frame.

    The target is the density of a frame's fixations, or its ``attention`` map where it has no fixations; such
    frames are scored by KLD, CC and SIM only. Training frames of a run build its mean map, the baseline of
    the information gain and the negatives of the shuffled AUC; they need no predictions. Frames that nobody
    looked at are skipped and counted. Scores are means over frames, then over subjects.

    Args:
        sigma: standard deviation of a fixation's Gaussian, px of the sample's image.
        weighting: "duration" weights a fixation by how long it lasted, as the sum over gaze samples does (Droste et
            al.); "equal" counts every fixation once, as a binary fixation map does (Cai et al.).
        baseline_floor: added to every pixel of the mean training attention, whose maximum is 1, so that no
            fixation has zero probability under it.
        sim_min_max: stretch both maps to [0, 1] before SIM, as MIT's code does.
        n_negatives: negatives per frame of AUC-Borji and shuffled AUC.
        seed: seed of these draws.
        batch_size: frames scored at once.
        n_examples: frames in the picture.

    Raises:
        AnatomarkError: there is no such weighting.
    """

    splits = (TEST_SPLIT,)
    sample_splits = (TRAIN_SPLIT,)

    def __init__(
        self,
        *,
        sigma: float = 9.0,
        weighting: Weighting = "duration",
        baseline_floor: float = 1e-6,
        sim_min_max: bool = False,
        n_negatives: int = 10_000,
        seed: int = 0,
        batch_size: int = 16,
        n_examples: int = 6,
    ) -> None:
        if weighting not in WEIGHTING_TEXT:
            raise AnatomarkError(f"gaze_weighting is {weighting}; it must be {' or '.join(WEIGHTING_TEXT)}")
        self.sigma = sigma
        self.weighting: Weighting = weighting
        self.baseline_floor = baseline_floor
        self.sim_min_max = sim_min_max
        self.n_negatives = n_negatives
        self.seed = seed
        self.batch_size = batch_size
        self.n_examples = n_examples

    def __call__(self, pairs: Frames) -> Report:
        """Evaluates a stream of frames.

        Args:
            pairs: per run the frames of split "train", whose predictions are not looked at and may be None, then those
                of split "test"; other splits are ignored.

        Raises:
            AnatomarkError: test frames without training frames of their run, several maps that belong to no class, a
                map that does not cover its image, no frame to score.
        """
        pooled = FrameScores()
        runs: dict[str, FrameScores] = defaultdict(FrameScores)
        examples: list[tuple[Sample, Prediction]] = []
        for kind, frames in self._batches(pairs):
            kept = [frame for frame in frames if _was_watched(frame[0])]
            for collected in (pooled, runs[kind.run]):
                collected.n_skipped += len(frames) - len(kept)
            if not kept:
                continue
            if kind.training is None:
                raise AnatomarkError(
                    f"run {kind.run!r}: no training frame came before test frame {kept[0][0]['key']}; the mean map is"
                    " made of them: give the splits train and test, in this order"
                )
            scores = self._score(kept, kind, kind.training)
            subjects = [sample["subject"] for sample, _ in kept]
            for collected in (pooled, runs[kind.run]):
                collected.add(scores, subjects)
            examples += kept[: self.n_examples - len(examples)]
        if not pooled.n_frames:
            raise AnatomarkError(
                f"no test frame to score: {pooled.n_skipped} came, none with gaze on its image; check its units"
            )
        return self._report(pooled, {run: scores for run, scores in runs.items() if scores.n_frames}, examples)

    def _batches(self, pairs: Frames) -> Iterator[tuple[_Kind, list[tuple[Sample, Prediction]]]]:
        """Yields batches of test frames of one kind."""
        kind: _Kind | None = None
        frames: list[tuple[Sample, Prediction]] = []
        for sample, prediction, training in self._test_frames(pairs):
            run, gaze = prediction.get("run", "run"), "fixations" in sample
            new = _Kind(run=run, training=training, image_size=_image_size(sample), has_gaze=gaze)
            if kind is not None and (new != kind or len(frames) == self.batch_size):
                yield kind, frames
                frames = []
            kind = new
            frames.append((sample, prediction))
        if kind is not None:
            yield kind, frames

    def _test_frames(self, pairs: Frames) -> Iterator[tuple[Sample, Prediction, TrainingAttention | None]]:
        """Yields the test frames, each with the training frames of its run, if any came before."""
        training: TrainingAttention | None = None
        run: str | None = None  # of the latest test frame after these training frames
        for sample, prediction in pairs:
            split = sample.get("split", TEST_SPLIT)
            if split == TRAIN_SPLIT:
                if training is None or run is not None:
                    training, run = TrainingAttention(sigma=self.sigma, weighting=self.weighting), None
                training.add(sample)
            elif split == TEST_SPLIT and prediction is not None:
                name = prediction.get("run", "run")
                if run not in (None, name):
                    training = None  # those were another run's
                run = name
                yield sample, prediction, training

    def _score(
        self, frames: Sequence[tuple[Sample, Prediction]], kind: _Kind, training: TrainingAttention
    ) -> dict[str, dict[str, Float[Tensor, "b"]]]:
        """Scores of the model and of the baseline, by metric."""
        maps = torch.stack([full_size_map(*frame) for frame in frames])
        target = torch.stack(
            [target_density(sample, sigma=self.sigma, weighting=self.weighting) for sample, _ in frames]
        )
        mean = training.mean_density(kind.image_size)[None]
        mean_map = to_density(mean / mean.amax() + self.baseline_floor)
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
        self, pooled: FrameScores, runs: dict[str, FrameScores], examples: list[tuple[Sample, Prediction]]
    ) -> Report:
        conventions = describe_conventions(
            sigma=self.sigma,
            weighting=self.weighting,
            baseline_floor=self.baseline_floor,
            sim_min_max=self.sim_min_max,
            n_negatives=self.n_negatives,
            seed=self.seed,
        )
        folds = [{"run": run, **scores.summary()} for run, scores in runs.items()]
        values = {
            **pooled.summary(),
            "folds": folds,
            **spread([fold["model"] for fold in folds]),
            "subjects": pooled.subjects(),
            "conventions": conventions,
        }
        shown = [(sample, prediction | {"maps": main_map(sample, prediction)[None]}) for sample, prediction in examples]
        return Report(
            name="saliency",
            title="Saliency",
            values=values,
            tables=build_tables(values),
            figures={"Predicted attention and gaze": draw_maps(shown)} if shown else {},
        )


def _image_size(sample: Sample) -> tuple[int, int]:
    height, width = sample["image"].shape[-2:]
    return height, width


def _was_watched(sample: Sample) -> bool:
    if "fixations" in sample:
        return bool(has_fixation(sample["fixations"][None], _image_size(sample)))
    return "attention" in sample and bool(sample["attention"].any())
