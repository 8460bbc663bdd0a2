"""Registers many pairs in worker processes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.progress import track
from torch import Tensor

from anatomark.registration.engine import Engine
from anatomark.types import AnatomarkError


class RegisteredPairs(NamedTuple):
    """Results of many registrations, in the order of the pairs.

    Attributes:
        matrices: maps of source px to target px, ``float64``; the identity where none was found.
        found: whether the engine found a map.
    """

    matrices: Float[Tensor, "p 2 3"]
    found: Bool[Tensor, "p"]


def register_pairs(
    engine: Engine,
    images: Sequence[Float[Tensor, "_ _"]],
    pairs: Int[Tensor, "p 2"],
    *,
    workers: int,
    description: str,
) -> RegisteredPairs:
    """Registers pairs of images and shows a progress bar on standard error.

    The result does not depend on ``workers``.

    Args:
        engine: the engine; it must be picklable.
        images: grey frames; each worker receives them once.
        pairs: indices of source and target in ``images``.
        workers: processes; 0 registers in this one.
        description: label of the progress bar.

    Raises:
        AnatomarkError: ``workers`` is negative, or the engine refuses an image.
    """
    if workers < 0:
        raise AnatomarkError(f"`workers` is {workers}; give 0 for this process alone, or the number of processes")
    matrices = torch.eye(2, 3, dtype=torch.float64).repeat(len(pairs), 1, 1)
    found = torch.zeros(len(pairs), dtype=torch.bool)
    results = _results(engine, images, [(i, j) for i, j in pairs.tolist()], workers)
    bar = track(
        results,
        description,
        total=len(pairs),
        console=Console(stderr=True),
        transient=True,
        disable=not len(pairs),
    )
    for index, matrix in enumerate(bar):
        if matrix is not None:
            matrices[index] = matrix
            found[index] = True
    return RegisteredPairs(matrices, found)


def _results(
    engine: Engine, images: Sequence[Tensor], pairs: list[tuple[int, int]], workers: int
) -> Iterator[Tensor | None]:
    if not workers or not pairs:
        for i, j in pairs:
            yield engine(images[i], images[j])
        return
    # Arrays, not tensors: PyTorch would send each tensor through a shared-memory file of its own.
    arrays = [image.cpu().numpy() for image in images]
    # Spawned: forking a process that runs PyTorch's threads can deadlock.
    with ProcessPoolExecutor(
        min(workers, len(pairs)),
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(engine, arrays),
    ) as pool:
        try:
            for matrix in pool.map(_register, pairs):
                yield None if matrix is None else torch.from_numpy(matrix)
        finally:
            # After an error or Ctrl-C, the pairs that wait must not run first.
            pool.shutdown(wait=False, cancel_futures=True)


_WORKER: list[tuple[Engine, list[Tensor]]] = []
"""The engine and the images of this worker process, set once when it starts."""


def _start_worker(engine: Engine, arrays: list[Float[np.ndarray, "_ _"]]) -> None:
    torch.set_num_threads(1)
    _WORKER[:] = [(engine, [torch.from_numpy(array) for array in arrays])]


def _register(pair: tuple[int, int]) -> Float[np.ndarray, "2 3"] | None:
    engine, images = _WORKER[0]
    matrix = engine(images[pair[0]], images[pair[1]])
    return None if matrix is None else matrix.numpy()
