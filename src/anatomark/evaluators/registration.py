"""Evaluator: how well do two landmarks align images of one standard plane? (Droste et al. 2020, section
2.3)"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from anatomark.evaluators.discovery import LandmarkDiscovery
from anatomark.evaluators.landmark_frame import LandmarkFrame
from anatomark.evaluators.pair_errors import (
    HC_CENTRE,
    FrameStack,
    all_pairs,
    engine_transforms,
    left_right_transforms,
    no_transforms,
    orientation_differs,
    pair_errors,
    salient_transforms,
    stack_frames,
    summarise,
)
from anatomark.evaluators.plane_pool import pool_planes
from anatomark.evaluators.registration_report import build_tables, draw_figures
from anatomark.geometry.similarity import MIN_DISTANCE_PX
from anatomark.registration.engine import Engine
from anatomark.types import AnatomarkError, Prediction, Report, Sample

UNIT = "percent of the target's HC long axis"
ORIENTED_PREFIX = "left_right_"
BUILT_IN = ("none", "left_right", "salient")


@dataclass(frozen=True, kw_only=True)
class PlaneResult:
    """Everything measured on one plane.

    Attributes:
        names: structures, then the HC centre.
        frames: complete frames with both landmarks found.
        stack: the same as tensors.
        pairs: compared pairs (source, target), (2, p).
        matrices: method -> maps, (p, 2, 3).
        errors: method -> errors, percent of the HC long axis, (p, s + 1).
        found: method -> pairs for which a map was found, (p,).
    """

    names: tuple[str, ...]
    frames: list[LandmarkFrame]
    stack: FrameStack
    pairs: Int[Tensor, "2 p"]
    matrices: dict[str, Float[Tensor, "p 2 3"]]
    errors: dict[str, Float[Tensor, "p s1"]]
    found: dict[str, Bool[Tensor, "p"]]


class RegistrationEvaluator:
    """Registers all pairs of frames of a plane and reports the errors of the carried annotations.

    Frames count when they are *complete*: all structures and the head outline annotated. Those with a
    landmark for both structures, at least 1 px apart, are *aligned*, and *strict* (the paper's selection)
    when both landmarks also lie within 10 % of the HC long axis of the truth. All methods are compared on the
    same pairs of aligned frames, across runs too. Where an engine finds nothing for a pair, the pair keeps its
    starting alignment (as it is, or mirrored) and is counted in ``n_failed``.

    Always measured: ``none``, ``left_right`` (the annotated structures' horizontal order says when to mirror
    the source, as a person would) and ``salient``.

    Args:
        discovery: how landmarks are found; every plane needs exactly two structures.
        engines: further methods by name, such as ``sift``, ``orb`` or ``left_right_intensity``. An engine
            whose name begins with ``left_right_`` gets the source in the orientation that ``left_right``
            gives it.
        max_pairs: compare on a seeded subset of this many pairs per plane, for slow engines; None for all.
            The built-in methods are reported on all pairs besides.
        seed: seed of the subset.
        workers: processes that run the engines; 0 for none but this one.
        n_examples: columns of the registration grid per plane.
    """

    def __init__(
        self,
        *,
        discovery: LandmarkDiscovery,
        engines: Mapping[str, Engine] | None = None,
        max_pairs: int | None = None,
        seed: int = 0,
        workers: int = 0,
        n_examples: int = 4,
    ) -> None:
        for plane, names in discovery.structures.items():
            if len(names) != 2:
                raise AnatomarkError(f"`structures` lists {len(names)} for plane {plane}; registration needs two")
        for name in engines or {}:
            if name in BUILT_IN:
                raise AnatomarkError(f"`engines` holds {name}, which is built in; choose another name")
        if max_pairs is not None and max_pairs < 1:
            raise AnatomarkError(f"`max_pairs` is {max_pairs}; it must be at least 1, or null for all pairs")
        if workers < 0:
            raise AnatomarkError(f"`workers` is {workers}; it must be 0 or more")
        self.discovery = discovery
        self.engines = dict(engines or {})
        self.max_pairs = max_pairs
        self.seed = seed
        self.workers = workers
        self.n_examples = n_examples

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits whose frames the stream has to hold."""
        return self.discovery.splits

    def __call__(self, pairs: Iterable[tuple[Sample, Prediction]]) -> Report:
        """Evaluates a stream of frames.

        Raises:
            AnatomarkError: as :class:`LandmarkDiscovery`; or a frame was predicted by several runs.
        """
        discovery = self.discovery(pairs)
        _check_distinct(discovery.frames)
        planes: dict[str, dict[str, Any]] = {}
        figures: dict[str, Figure] = {}
        for plane, frames in discovery.planes.items():
            result = self._register(plane, frames)
            planes[plane] = _values(result, frames)
            figures |= draw_figures(
                plane,
                result.frames,
                result.pairs,
                result.matrices["salient"],
                result.errors,
                result.names,
                n_examples=self.n_examples,
                unit=UNIT,
            )
        return Report(
            name="registration",
            title="Registration by salient landmarks",
            values={**pool_planes(planes), "planes": planes},
            tables=[table for plane, v in planes.items() for table in build_tables(plane, v)],
            figures=figures,
        )

    def _register(self, plane: str, frames: Sequence[LandmarkFrame]) -> PlaneResult:
        structures = self.discovery.structures[plane]
        aligned = [f for f in frames if f.complete and f.aligned and _give_direction(f)]
        stack = stack_frames(aligned, structures)
        pairs = self._compared(all_pairs(len(aligned)))
        matrices = _built_in(stack, pairs)
        found = {method: torch.ones(pairs.shape[1], dtype=torch.bool) for method in matrices}
        images = [f.image for f in aligned if f.image is not None]
        flips = orientation_differs(stack, pairs)
        for name, engine in self.engines.items():
            matrices[name], found[name] = engine_transforms(
                engine,
                images,
                stack,
                pairs,
                flips & name.startswith(ORIENTED_PREFIX),
                workers=self.workers,
                description=f"{plane}: {name}",
            )
        order = ["none", "left_right", *self.engines, "salient"]
        return PlaneResult(
            names=(*structures, HC_CENTRE),
            frames=aligned,
            stack=stack,
            pairs=pairs,
            matrices=matrices,
            errors={name: pair_errors(matrices[name], stack, pairs) for name in order},
            found=found,
        )

    def _compared(self, pairs: Int[Tensor, "2 all"]) -> Int[Tensor, "2 p"]:
        if self.max_pairs is None or pairs.shape[1] <= self.max_pairs:
            return pairs
        drawn = np.random.default_rng(self.seed).choice(pairs.shape[1], self.max_pairs, replace=False)
        return pairs[:, torch.from_numpy(np.sort(drawn))]


def _give_direction(frame: LandmarkFrame) -> bool:
    first, second = frame.points.values()
    return math.dist(first, second) >= MIN_DISTANCE_PX


def _check_distinct(frames: Sequence[LandmarkFrame]) -> None:
    run_of: dict[str, str] = {}
    for frame in frames:
        other = run_of.setdefault(frame.key, frame.run)
        if other != frame.run:
            raise AnatomarkError(
                f"frame {frame.key} was predicted by the runs {other} and {frame.run}, so it would be"
                " registered with itself; pool runs whose test frames differ, such as the folds of a data set"
            )


def _built_in(stack: FrameStack, pairs: Int[Tensor, "2 p"]) -> dict[str, Float[Tensor, "p 2 3"]]:
    return {
        "none": no_transforms(pairs),
        "left_right": left_right_transforms(stack, pairs),
        "salient": salient_transforms(stack, pairs),
    }


def _values(result: PlaneResult, frames: Sequence[LandmarkFrame]) -> dict[str, Any]:
    n_complete = sum(f.complete for f in frames)
    strict = torch.tensor([f.strict for f in result.frames], dtype=torch.bool)
    strict_pairs = strict[result.pairs[0]] & strict[result.pairs[1]]
    everything = all_pairs(len(result.frames))
    unlimited = {
        method: pair_errors(matrices, result.stack, everything)
        for method, matrices in _built_in(result.stack, everything).items()
    }
    n_strict = int(strict.sum())
    return {
        "n_frames": len(frames),
        "n_images": n_complete,
        "n_images_aligned": len(result.frames),
        "n_images_strict": n_strict,
        "n_pairs": result.pairs.shape[1],
        "n_pairs_all": everything.shape[1],
        "n_pairs_strict": int(strict_pairs.sum()),
        "unit": UNIT,
        "share_aligned": len(result.frames) / n_complete if n_complete else None,
        "share_strict": n_strict / n_complete if n_complete else None,
        "errors": {m: summarise(e, result.names) for m, e in result.errors.items()},
        "errors_strict": {m: summarise(e[strict_pairs], result.names) for m, e in result.errors.items()},
        "errors_all_pairs": {m: summarise(e, result.names) for m, e in unlimited.items()},
        "n_failed": {m: int((~found).sum()) for m, found in result.found.items()},
    }
