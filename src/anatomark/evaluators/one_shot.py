"""Evaluator: how close come landmarks carried over from one annotated volume? (Wang et al. 2021, table 1)"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float

from anatomark.evaluators.one_shot_alignment import (
    DEMONS,
    INERTIA,
    LINEAR,
    LOCALISATION,
    START,
    AlignedVolume,
    Alignment,
)
from anatomark.evaluators.one_shot_examples import Examples
from anatomark.evaluators.one_shot_patches import PatchRules, ReferencePatch, cut_reference
from anatomark.evaluators.one_shot_reliability import CORRELATION, SIGNALS
from anatomark.evaluators.one_shot_report import CONVENTIONS, build_tables
from anatomark.evaluators.one_shot_trust import TrustRules
from anatomark.evaluators.one_shot_values import Errors, Measured, TargetResult, summarise
from anatomark.markups import MARKUPS, markups_text
from anatomark.registration.demons import DiffeomorphicDemons
from anatomark.registration.volumes import VolumeRegistration
from anatomark.types import AnatomarkError, Report
from anatomark.volume_types import Landmarks, VolumePrediction, VolumeSample

Volumes = Iterable[tuple[VolumeSample, VolumePrediction | None]]
"""The reference comes first, with None."""

TRAIN_SPLIT, TEST_SPLIT = "train", "test"
NOT_FOUND = "the structure was not found"


class OneShotEvaluator:
    """Registers the reference's patch to every target in which the structure was found, and carries its landmarks.

    A linear registration starts from the predicted pose; diffeomorphic demons under a soft mask of the structure
    follow. Errors are measured after every stage where an expert has marked the target, and landmarks written for 3D
    Slicer in any case. A target whose structure was not found, or whose registration fails, is listed as failed; the
    others go on. Beyond the paper, each result is flagged by what can be known without an expert, and its landmarks
    are ranked by reliability. One target is held at a time.

    Args:
        registration: linear registration of patches; also of the whole volumes of the naive baseline.
        demons: deformable registration after it; None to do without.
        naive: also register the whole volumes without localisation.
        spacing_mm: edge of the voxels of the registered patch.
        margin_mm: what the patch shows around the box of the structure's mask.
        region_margin_mm: how far around the mask intensities count: those of a small structure say too little.
        weight_fade_mm: over how many mm more their weight for demons falls to 0.
        naive_spacing_mm: edge of the voxels of the naive baseline.
        min_correlation: least correlation after linear registration of a volume to be trusted.
        mass_ratio: least and most probability summed over the structure of one, of the volume of the reference's mask.
        max_folding: largest share of folding voxels of one.
        reliability: the signal that ranks landmarks: "correlation", "displacement" or "jacobian".
        window_mm: edge of the cube around a landmark in which "correlation" compares intensities.
        n_examples: targets in the pictures; 0 for no pictures of volumes.

    Raises:
        AnatomarkError: an option cannot be.
    """

    splits = (TEST_SPLIT,)
    sample_splits = (TRAIN_SPLIT,)

    def __init__(
        self,
        *,
        registration: VolumeRegistration,
        demons: DiffeomorphicDemons | None = None,
        naive: bool = True,
        spacing_mm: float = 0.25,
        margin_mm: float = 2.0,
        region_margin_mm: float = 1.0,
        weight_fade_mm: float = 1.0,
        naive_spacing_mm: float = 0.5,
        min_correlation: float = 0.5,
        mass_ratio: Sequence[float] = (0.3, 3.0),
        max_folding: float = 0.001,
        reliability: str = CORRELATION,
        window_mm: float = 1.5,
        n_examples: int = 3,
    ) -> None:
        if reliability not in SIGNALS or (demons is None and reliability != CORRELATION):
            choice = CORRELATION if demons is None else ", ".join(SIGNALS)
            raise AnatomarkError(f"reliability is {reliability!r}; choose {choice} (the others are of demons)")
        if not (window_mm > 0 and naive_spacing_mm > 0 and n_examples >= 0 and len(mass_ratio) == 2):
            raise AnatomarkError(
                f"window_mm={window_mm}, naive_spacing_mm={naive_spacing_mm}, n_examples={n_examples},"
                f" mass_ratio={list(mass_ratio)}; give lengths above 0, a number of at least 0 and two ratios"
            )
        self.rules = PatchRules(
            spacing_mm=spacing_mm,
            margin_mm=margin_mm,
            region_margin_mm=region_margin_mm,
            weight_fade_mm=weight_fade_mm,
            naive_spacing_mm=naive_spacing_mm if naive else None,
        )
        self.trust = TrustRules(
            min_correlation=min_correlation, mass_ratio=(mass_ratio[0], mass_ratio[1]), max_folding=max_folding
        )
        self.align = Alignment(registration=registration, demons=demons, window_mm=window_mm)
        self.reliability = reliability
        self.n_examples = n_examples

    def __call__(self, volumes: Volumes) -> Report:
        """Evaluates a stream of volumes.

        Args:
            volumes: the reference (split "train"), then targets (split "test") with what a model predicted; other
                splits are ignored.

        Raises:
            AnatomarkError: no reference came before a target, it has no mask, no landmarks or one outside its patch; a
                target came twice, or has landmarks that the reference does not have; no target came.
        """
        reference: ReferencePatch | None = None
        results: dict[str, TargetResult] = {}
        files: dict[str, str] = {}
        examples = Examples(n=self.n_examples)
        for sample, prediction in volumes:
            if sample["split"] == TRAIN_SPLIT:
                reference = cut_reference(sample, self.rules)
            elif sample["split"] == TEST_SPLIT and prediction is not None:
                key = sample["key"]
                if reference is None:
                    raise AnatomarkError(f"target {key}: no reference came before it; give the splits train and test")
                if key in results:
                    raise AnatomarkError(f"target {key} came twice; evaluate runs with other targets, or one at a time")
                _check_names(sample, reference)
                results[key], aligned = self._measure(reference, sample, prediction)
                if aligned is not None:
                    files[f"landmarks/{_file_name(key)}{MARKUPS}"] = _as_file(aligned, reference, key)
                    examples.offer(reference, sample, prediction, aligned)
        if not results:
            raise AnatomarkError("no target volume came; give at least one volume of split test")
        return self._report(list(results.values()), examples, files)

    @property
    def stages(self) -> tuple[str, ...]:
        """All stages in their order."""
        return START, LOCALISATION, INERTIA, LINEAR, *((DEMONS,) if self.align.demons is not None else ())

    def _measure(
        self, reference: ReferencePatch, sample: VolumeSample, prediction: VolumePrediction
    ) -> tuple[TargetResult, AlignedVolume | None]:
        result = TargetResult(
            key=sample["key"],
            second_rater=_between(sample.get("landmarks", {}), sample.get("second_rater", {})),
        )
        result = self._with_naive(result, reference, sample)
        if not bool(prediction["found"]):
            return replace(result, failure=NOT_FOUND), None
        try:
            aligned = self.align(reference, sample, prediction)
        except AnatomarkError as error:
            return replace(result, failure=str(error)), None
        mass_ratio = float(prediction["masses_mm3"][-1]) / reference.volume_mm3
        measured = Measured(
            errors={stage: _errors(points, reference, sample) for stage, points in aligned.points.items()},
            seconds=aligned.seconds,
            correlation=aligned.correlation,
            mass_ratio=mass_ratio,
            folding=aligned.folding,
            reasons=self.trust.reasons(
                correlation=aligned.correlation,
                mass_ratio=mass_ratio,
                folding=aligned.folding,
                ambiguous=bool(prediction["ambiguous"]),
            ),
            doubts={
                signal: dict(zip(reference.names, doubts.tolist(), strict=True))
                for signal, doubts in aligned.doubts.items()
            },
        )
        return replace(result, measured=measured), aligned

    def _with_naive(self, result: TargetResult, reference: ReferencePatch, sample: VolumeSample) -> TargetResult:
        """Adds the naive baseline where there is something to measure it by."""
        if reference.whole is None or not sample.get("landmarks"):
            return result
        begun = perf_counter()
        try:
            points = self.align.naive(reference, sample)
        except AnatomarkError as error:
            return replace(result, naive_failure=str(error), naive_seconds=perf_counter() - begun)
        seconds = perf_counter() - begun
        return replace(result, naive=_errors(points, reference, sample), naive_seconds=seconds)

    def _report(self, results: Sequence[TargetResult], examples: Examples, files: dict[str, str]) -> Report:
        values = {
            **summarise(results, stages=self.stages, signal=self.reliability),
            "conventions": CONVENTIONS,
        }
        return Report(
            name="one_shot",
            title="One-shot landmarks",
            values=values,
            tables=build_tables(values),
            figures=examples.figures(),
            files=files,
        )


def _check_names(sample: VolumeSample, reference: ReferencePatch) -> None:
    unknown = [name for name in sample.get("landmarks", {}) if name not in reference.names]
    if unknown:
        raise AnatomarkError(
            f"target {sample['key']}: the reference {reference.sample['key']} has no landmark {unknown[0]}; use the"
            " same names in both"
        )


def _errors(points: Float[np.ndarray, "n 3"], reference: ReferencePatch, sample: VolumeSample) -> Errors:
    return _between(
        {name: torch.from_numpy(point) for name, point in zip(reference.names, points, strict=True)},
        sample.get("landmarks", {}),
    )


def _between(landmarks: Landmarks, others: Landmarks) -> Errors:
    return {
        name: float((point.double() - others[name].double()).norm())
        for name, point in landmarks.items()
        if name in others
    }


def _file_name(key: str) -> str:
    """The id as a file name on every system; ids that differ stay different."""
    return re.sub(r'[<>:"/\\|?*%\x00-\x1f]|^\.', lambda found: f"%{ord(found[0]):02X}", key)


def _as_file(aligned: AlignedVolume, reference: ReferencePatch, key: str) -> str:
    last = list(aligned.points.values())[-1]
    found = {name: torch.from_numpy(point) for name, point in zip(reference.names, last, strict=True)}
    return markups_text(found, where=f"landmarks of {key}")
